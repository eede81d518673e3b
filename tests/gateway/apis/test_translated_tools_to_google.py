"""Tools and formats of answers fitted to Gemini's models: names, schemas, what is refused."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from gateway.apis.generate.request import config_from, contents_from
from gateway.core.calls import Delta, ProviderCall
from gateway.core.seen import SeenOutput
from tests.fake_provider.vendors import connected
from tests.gateway.apis.gemini_calls import FLASH_25, GEMMA, PRO_3, call, refusal, result, turn
from tests.gateway.translating import TIME, USER, fit

JSON_FORMAT: Any = {"type": "json_object"}


NAMES: Final = ("1st", "-x", "get weather", "wetter_für", "a" * 128, "a b", "a_b", "a.b:c-d", "ü")


def named(*names: str) -> list[Any]:
    return [{"type": "function", "function": {"name": name}} for name in names]


def declared(made: ProviderCall) -> list[dict[str, Any]]:
    (tools,) = config_from(made)["tools"]
    found: list[dict[str, Any]] = tools["function_declarations"]
    return found


def test_rejected_names_of_tools_are_replaced_everywhere() -> None:
    choice = {"type": "function", "function": {"name": "get weather"}}
    messages = [USER, call("a", name="get weather"), result("a")]
    made = fit(FLASH_25, messages=messages, tools=named(*NAMES), tool_choice=choice)
    sent = [each["name"] for each in declared(made)]
    assert len({*sent}) == len(NAMES)
    assert all(name.isascii() and len(name) <= 128 and " " not in name for name in sent)
    assert all(name[0].isalpha() or name[0] == "_" for name in sent)
    assert [name for name in NAMES if name in sent] == ["a" * 128, "a_b", "a.b:c-d"]
    assert [made.tool_names.get(name, name) for name in sent] == [*NAMES]
    alias = sent[NAMES.index("get weather")]
    calling = config_from(made)["tool_config"]["function_calling_config"]
    assert calling["allowed_function_names"] == [alias]
    _, asked, answered = contents_from(made)
    assert asked["parts"][0]["function_call"]["name"] == alias
    assert answered["parts"][0]["function_response"]["name"] == alias


def test_replaced_name_that_is_taken_becomes_another() -> None:
    alias = declared(fit(FLASH_25, tools=named("1st")))[0]["name"]
    sent = [each["name"] for each in declared(fit(FLASH_25, tools=named("1st", alias)))]
    assert sent[1] == alias
    assert sent[0] != alias


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_answer_has_callers_own_names(streamed: bool) -> None:
    made = fit(FLASH_25, tools=named("1st", "second"))
    alias = declared(made)[0]["name"]
    calls: list[Any] = [{"name": name, "arguments": {}} for name in (alias, "second")]
    async with connected() as wire:
        wire.fake.answers(tool_calls=calls)
        provider = await wire.providers.get(wire.providers.vendors["google"])
        if streamed:
            pieces = [piece async for piece in provider.stream(made, SeenOutput())]
            found = [p.tool_call.name for p in pieces if isinstance(p, Delta) and p.tool_call]
        else:
            found = [each.name for each in (await provider.complete(made)).tool_calls]
    assert found == ["1st", "second"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tools": named("a", "a")}, 'tools: function "a" must have a name of its own'),
        (
            {"messages": [USER, call("a", name=""), result("a")]},
            "messages: every tool call must have a name",
        ),
    ],
)
def test_tools_that_no_name_can_mean_are_refused(fields: dict[str, Any], sentence: str) -> None:
    assert refusal(**fields).startswith(sentence)


def test_tools_of_old_gemma_are_refused() -> None:
    assert refusal(GEMMA, tools=[TIME]).startswith("tools are not supported")


def with_parameters(schema: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": "f", "parameters": schema}}]


THING: Final = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (
            {"$ref": "#/$defs/T", "$defs": {"T": THING}},
            {"$ref": "#/$defs/T", "$defs": {"T": THING}},
        ),
        ({"anyOf": [THING]}, {"anyOf": [THING]}),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"type": "object", "additionalProperties": {"type": "integer"}},
        ),
        (
            {"type": "object", "patternProperties": {"^x": {"type": "string"}}},
            {"type": "object", "patternProperties": {"^x": {"type": "string"}}},
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/T", "description": "d"}}, "$defs": {"T": THING}},
            {
                "properties": {"a": {"description": "d", "anyOf": [{"$ref": "#/$defs/T"}]}},
                "$defs": {"T": THING},
            },
        ),
        (
            {"type": "object", "$ref": "#/$defs/T", "anyOf": [{}], "$defs": {"T": {}}},
            {
                "type": "object",
                "anyOf": [{"$ref": "#/$defs/T"}],
                "allOf": [{"anyOf": [{}]}],
                "$defs": {"T": {}},
            },
        ),
        (
            {"properties": {"a": {"type": "array", "items": [{"const": 1}]}}},
            {"properties": {"a": {"type": "array", "prefixItems": [{"enum": [1]}]}}},
        ),
        ({"type": "object", "properties": {}}, None),
        ({}, None),
    ],
    ids=[
        *("reference", "anyOf", "map", "patterns", "beside a reference", "anyOf beside one"),
        *("items of a place", "no properties", "nothing"),
    ],
)
def test_schema_is_never_dropped(schema: Any, sent: Any) -> None:
    (found,) = declared(fit(FLASH_25, tools=with_parameters(schema)))
    assert found.get("parameters_json_schema") == sent


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "array", "items": {}}, "must describe an object"),
        ({"type": ["object", "null"]}, "must describe an object"),
        ({"properties": []}, "must have an object as properties"),
        ({"properties": {"a": {"type": "any"}}}, "must have as type one of"),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}}, "must have a schema of its own"),
        ({"properties": {"a": {"$ref": "https://a.b/c"}}}, "must have a schema of its own"),
        ({"properties": {"a": {"anyOf": {}}}}, "must have a list as anyOf"),
        ({"properties": {"a": 1}}, "must have objects as schemas"),
    ],
)
def test_parameters_that_are_none_are_refused(schema: Any, sentence: str) -> None:
    assert sentence in refusal(tools=with_parameters(schema))


def formatted(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


@pytest.mark.parametrize(
    "thing",
    [
        {"properties": {"a": {"$ref": "#/$defs/A"}}},
        {
            "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/A"}}},
            "required": ["a"],
        },
        {
            "properties": {"a": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}},
            "required": ["a"],
        },
    ],
    ids=["optional", "in a list", "or null"],
)
def test_schema_that_may_contain_itself_is_sent(thing: Any) -> None:
    schema = {"$ref": "#/$defs/A", "$defs": {"A": thing}}
    made = fit(PRO_3, response_format=formatted(schema), tools=with_parameters(schema))
    assert config_from(made)["response_json_schema"] == schema
    assert declared(made)[0]["parameters_json_schema"] == schema


def test_schema_that_requires_itself_is_refused() -> None:
    node = {"properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]}
    schema = {"$ref": "#/$defs/A", "$defs": {"A": node}}
    for fields in ({"response_format": formatted(schema)}, {"tools": with_parameters(schema)}):
        assert "must not require" in refusal(**fields)


@pytest.mark.parametrize("wanted", [JSON_FORMAT, formatted(THING)], ids=["object", "schema"])
def test_format_beside_tools_is_instruction_on_older_models(wanted: Any) -> None:
    fields: Any = {"messages": [turn("system", "Be brief"), USER], "tools": [TIME]}
    made = fit(FLASH_25, response_format=wanted, **fields)
    config = config_from(made)
    assert "response_mime_type" not in config
    assert len(declared(made)) == 1
    system = config["system_instruction"]
    assert "one JSON" in system
    assert "Be brief" in system
    assert (json.dumps(THING, separators=(",", ":")) in system) == (wanted is not JSON_FORMAT)
    assert len(made.adjustments) == 1
    newer = fit(PRO_3, response_format=wanted, **fields)
    assert config_from(newer)["response_mime_type"] == "application/json"
    assert newer.adjustments == ()


def test_tools_that_may_not_be_called_give_way_to_format() -> None:
    made = fit(FLASH_25, response_format=JSON_FORMAT, tools=[TIME], tool_choice="none")
    config = config_from(made)
    assert config["response_mime_type"] == "application/json"
    assert not {"tools", "tool_config"} & config.keys()
    assert len(made.adjustments) == 1
