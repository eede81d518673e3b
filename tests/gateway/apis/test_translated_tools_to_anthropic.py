"""Tools and formats of answers fitted to Claude: names, forced calls, schemas.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from gateway.apis.chat.usage_bound import usage_bound_of
from gateway.apis.messages.request import request_from
from gateway.core.errors import Refused
from tests.gateway.translating import CLAUDE, TIME, USER, WEATHER, fit
from tests.vendor_rules.anthropic.body import faults

OPUS_5_5: Final = "claude-opus-5-5"
SONNET_4: Final = "claude-sonnet-4-20250514"
OBJECT: Any = {"type": "object"}
OPEN: Any = {"type": "object", "additionalProperties": {"type": "integer"}}


def asked(model: str = CLAUDE, **fields: Any) -> dict[str, Any]:
    """Return the request, which the checker of the vendor's rules accepts."""
    request = request_from(fit(model, **fields))
    assert faults(request) == []
    return request


def refusal(model: str = CLAUDE, **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        fit(model, **fields)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    return refused.value.message


def tool(parameters: Any = None, name: str = "look", **more: Any) -> dict[str, Any]:
    function = {"name": name, "parameters": parameters, **more}
    return {"type": "function", "function": function}


def of(schema: Any, **more: Any) -> dict[str, Any]:
    """Return the schema of an object with one property of a schema."""
    return {"type": "object", "properties": {"a": schema}, "required": ["a"], **more}


def input_schema(parameters: Any) -> dict[str, Any]:
    (sent,) = asked(tools=[tool(parameters)])["tools"]
    return dict(sent["input_schema"])


def wanted(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


# --- names and choice -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["get.weather", "get weather", "wetter_für", "ns/look"])
def test_name_that_anthropic_rejects_is_refused(name: str) -> None:
    assert refusal(tools=[tool(name=name)]) == (
        f'tools: function "{name}" must have a name of up to 128 letters, digits, _ and -, '
        'for model claude-opus-4-6 of provider "anthropic"'
    )


def test_two_tools_of_one_name_are_refused() -> None:
    assert "must have a name of its own" in refusal(tools=[TIME, WEATHER, TIME])


@pytest.mark.parametrize(
    "model", [OPUS_5_5, "claude-sonnet-5-5", "claude-fable-5-1", "claude-mythos-preview"]
)
def test_forced_tool_is_asked_for_where_it_cannot_be_forced(model: str) -> None:
    request = asked(model, tools=[TIME, WEATHER], tool_choice="required", parallel_tool_calls=False)
    assert request["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert request["system"].startswith("Answer with a call of one of the tools")
    named = {"type": "function", "function": {"name": "get_time"}}
    request = asked(model, tools=[TIME, WEATHER], tool_choice=named)
    assert [each["name"] for each in request["tools"]] == ["get_time"]
    assert request["system"].startswith("Answer with a call of the tool get_time")
    assert "tool_choice" not in request


@pytest.mark.parametrize("model", [CLAUDE, "claude-haiku-5-5", "claude-fable-5", "claude-opus-5"])
def test_tool_is_forced_where_it_can_be(model: str) -> None:
    call = fit(model, tools=[TIME], tool_choice="required")
    assert request_from(call)["tool_choice"] == {"type": "any"}
    assert call.adjustments == ()


# --- parameters -------------------------------------------------------------------------------


def test_union_at_top_is_merged_and_described() -> None:
    city = {"type": "string", "description": "City"}
    by_name = {"properties": {"city": city, "unit": {"const": "C"}}, "required": ["city", "unit"]}
    by_place = {"$ref": "#/$defs/place"}
    place = {"type": "object", "properties": {"lat": {"type": "number"}, "unit": {"const": "F"}}}
    found = input_schema(
        {
            "description": "Where",
            "oneOf": [by_name, by_place],
            "allOf": [{"required": ["unit"]}, {"properties": {"day": {"type": "string"}}}],
            "$defs": {"place": place},
        }
    )
    assert found["type"] == "object"
    assert found["properties"] == {
        "city": city,
        "unit": {"anyOf": [{"const": "C"}, {"const": "F"}]},
        "lat": {"type": "number"},
        "day": {"type": "string"},
    }
    assert found["required"] == ["unit"]
    where, unions = found["description"].split("\n\n")
    assert where == "Where"
    assert json.loads(unions)["oneOf"] == [by_name, by_place]


def test_merged_union_is_within_bound() -> None:
    variants = [
        {"properties": {f"p{n}": {"type": "string"}}, "required": [f"p{n}"]} for n in range(99)
    ]
    unions: list[Any] = [
        {"anyOf": variants},
        {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": variants}}},
        {"anyOf": []},
    ]
    for parameters in unions:
        fields = {"model": CLAUDE, "messages": [USER], "tools": [tool(parameters)]}
        bound = usage_bound_of(fields)
        counted = sum(len(text.encode()) for text in bound.texts) + bound.overhead_tokens
        assert len(json.dumps(input_schema(parameters))) <= counted


def test_references_that_overlap_are_refused() -> None:
    # Each variant would repeat what is below it.
    nested: Any = {"type": "string", "description": "x" * 9000}
    for _ in range(30):
        nested = {"type": "object", "properties": {"p": nested, "q": {"type": "null"}}}
    places = ["#/$defs/a" + "/properties/p" * depth for depth in range(30)]
    variants = [{"$ref": place} for place in places]
    unlike = {"anyOf": variants, "$defs": {"a": nested}}
    assert "references do not overlap" in refusal(tools=[tool(unlike)])


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        (None, {"type": "object", "properties": {}}),
        ({"properties": {}}, {"type": "object", "properties": {}}),
        ({"type": ["object", "null"]}, {"type": "object", "properties": {}}),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": of({"type": "null"})}},
            of({"type": "null"}, **{"$defs": {"a": of({"type": "null"})}}),
        ),
        (of({"type": "any"}), of({})),
        (of({"type": ["string", "file"]}), of({})),
        (
            of({"items": [{"type": "string"}], "additionalItems": False}),
            of({"prefixItems": [{"type": "string"}], "items": False}),
        ),
        (of({"minimum": 1, "exclusiveMinimum": True}), of({"exclusiveMinimum": 1})),
        (of({"maximum": 1, "exclusiveMaximum": False}), of({"maximum": 1})),
        (of({"type": "string", "required": True}), of({"type": "string"})),
    ],
)
def test_parameters_become_schema_of_object(parameters: Any, found: Any) -> None:
    assert input_schema(parameters) == found


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"type": "array", "items": {}}, "a JSON schema of type object"),
        ({"type": "string"}, "a JSON schema of type object"),
        ({"$ref": "#"}, "without a reference to itself or to elsewhere"),
        ({"$ref": "https://example.com/a.json"}, "without a reference to itself or to elsewhere"),
        ({"$ref": {"a": 1}}, "without a reference to itself or to elsewhere"),
        ({"properties": []}, "whose properties are an object"),
        (  # https://github.com/anthropics/claude-code/issues/79418
            {"properties": {"two words": {}}},
            "names of up to 64 letters, digits, _, . and -",
        ),
        ({"properties": {"x" * 65: {}}}, "names of up to 64 letters, digits, _, . and -"),
    ],
)
def test_parameters_without_counterpart_are_refused(parameters: Any, reason: str) -> None:
    sentence = refusal(tools=[tool(parameters)])
    assert sentence.startswith('tools: function "look" must have as parameters a JSON schema')
    assert reason in sentence


# --- what is enforced -------------------------------------------------------------------------

LOOP: Any = {"$ref": "#/$defs/a"}
NOT_ENFORCED: Any = {
    "map": OPEN,
    "any names": {"type": "object", "additionalProperties": True, "properties": {"x": OPEN}},
    "object without names": of({"type": "object"}),
    "names by pattern": of({"type": "object", "patternProperties": {"^x": {"type": "null"}}}),
    "recursion": of(LOOP, **{"$defs": {"a": of({"anyOf": [LOOP, {"type": "null"}]})}}),
    "recursion of the whole": of({"anyOf": [{"$ref": "#"}, {"type": "null"}]}),
    "external reference": of({"$ref": "https://example.com/a.json"}),
    "missing reference": of({"$ref": "#/$defs/missing"}),
    "joined references": of({"allOf": [LOOP, LOOP]}, **{"$defs": {"a": {"type": "string"}}}),
    "enum of objects": of({"enum": [{"x": 1}]}),
    "empty enum": of({"type": "string", "enum": []}),
    "no type": of({}),
    "unknown type": of({"type": "any"}),
    "many optional": {"properties": {f"p{n}": {"type": "null"} for n in range(25)}, **OBJECT},
    "many unions": {
        "type": "object",
        "properties": {f"p{n}": {"type": ["string", "null"]} for n in range(17)},
        "required": [f"p{n}" for n in range(17)],
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", NOT_ENFORCED)
def test_schema_that_cannot_be_enforced_becomes_instruction(kind: str) -> None:
    schema = NOT_ENFORCED[kind]
    call = fit(response_format=wanted(schema))
    request = request_from(call)
    assert faults(request) == []
    assert "output_config" not in request
    only, matching, shown = request["system"].split("\n")
    assert only.startswith("Answer with one JSON value and nothing else")
    assert matching == "It must match this JSON schema:"
    assert json.loads(shown) == schema
    assert call.adjustments == (
        "The schema of the answer was sent as an instruction: the model cannot enforce it",
    )


@pytest.mark.parametrize("kind", NOT_ENFORCED)
def test_tool_whose_schema_cannot_be_enforced_is_not_strict(kind: str) -> None:
    call = fit(tools=[tool(NOT_ENFORCED[kind], strict=True), tool(of({"type": "null"}), "b")])
    request = request_from(call)
    assert faults(request) == []
    assert not any(each.get("strict") for each in request["tools"])
    assert ("Tools are not strict where the model cannot enforce their schemas") in call.adjustments


def test_enforced_schemas_of_one_request_are_counted_together() -> None:
    optional = {"type": "object", "properties": {f"p{n}": {"type": "null"} for n in range(13)}}
    one = asked(tools=[tool(optional, strict=True)])
    assert one["tools"][0]["strict"] is True
    two = asked(tools=[tool(optional, strict=True), tool(optional, "b", strict=True)])
    assert not any("strict" in each for each in two["tools"])
    both = asked(tools=[tool(optional, strict=True)], response_format=wanted(optional))
    assert "strict" not in both["tools"][0]
    assert both["output_config"]["format"]["schema"]["additionalProperties"] is False


def test_model_before_4_5_gets_schema_as_instruction() -> None:
    request = asked(SONNET_4, response_format=wanted(of({"type": "null"})))
    assert "output_config" not in request
    assert '"required":["a"]' in request["system"]


def test_single_reference_in_all_of_becomes_reference() -> None:
    described = {"allOf": [LOOP], "description": "One"}  # as pydantic describes a field
    schema = of(described, **{"$defs": {"a": of({"type": "string", "minLength": 1})}})
    sent = asked(response_format=wanted(schema))["output_config"]["format"]["schema"]
    assert sent["properties"]["a"] == LOOP
    limited = sent["$defs"]["a"]["properties"]["a"]
    assert limited == {"type": "string", "description": "{minLength: 1}"}


def test_format_is_kept_from_prefill() -> None:
    # https://platform.claude.com/docs/en/build-with-claude/structured-outputs#feature-compatibility
    talk = [USER, {"role": "assistant", "content": "{"}]
    request = asked("claude-opus-4-5", messages=talk, response_format=wanted(of({"type": "null"})))
    assert request["messages"][-1] == {"role": "user", "content": "Continue."}
