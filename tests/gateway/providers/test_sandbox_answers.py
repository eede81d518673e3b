"""The sandbox calls tools and fills in schemas, within its cap and bound."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.apis.chat.usage_bound import usage_bound_of
from gateway.core import bounds
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import OutputCap
from gateway.providers.adapters.sample_values import TEXT_MAX_CHARS, VALUES_MAX, sample_of
from gateway.providers.adapters.sandbox import Sandbox
from gateway.providers.vendors import sandbox
from gateway.upstream.http_client import HttpClient
from tests.gateway.translating import CALLED, PICTURE, RESULTS, TIME, USER, WEATHER, asked, model_of

SANDBOX = "sandbox-small"

MADE = Sandbox(sandbox(is_on=True), HttpClient())


async def answered(**fields: Any) -> Completion:
    return await MADE.complete(asked(SANDBOX, **fields))


async def test_tool_is_called_only_if_required() -> None:
    free = await answered(tools=[WEATHER])
    must = await answered(tools=[WEATHER], tool_choice="required")
    assert (free.content, free.tool_calls) == ("Weather in Paris?", ())
    (call,) = must.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": USER["content"]})
    assert (must.content, must.finish_reason) == ("", "tool_calls")


async def test_next_uncalled_tool_is_called() -> None:
    fields: Any = {"tools": [WEATHER, TIME], "tool_choice": "required"}
    once = {**CALLED, "tool_calls": [CALLED["tool_calls"][0]]}
    talks: list[Any] = [[USER], [USER, once, RESULTS[0]], [USER, CALLED, *RESULTS]]
    called = [(await answered(messages=talk, **fields)).tool_calls[0].name for talk in talks]
    assert called == ["get_weather", "get_time", "get_time"]
    again = await answered(messages=[USER, CALLED, *RESULTS, USER], **fields)
    assert again.tool_calls[0].name == "get_weather"


async def test_arguments_are_truncated_at_cap() -> None:
    cut = await answered(tools=[WEATHER], tool_choice="required", cap=OutputCap(2, is_written=True))
    assert cut.finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.output_tokens == 2


async def test_streamed_call_equals_whole_call() -> None:
    call: ProviderCall = asked(SANDBOX, tools=[WEATHER], tool_choice="required")
    whole = await MADE.complete(call)
    *deltas, end = [piece async for piece in MADE.stream(call, SeenOutput())]
    pieces = [piece.tool_call for piece in deltas if isinstance(piece, Delta) and piece.tool_call]
    assert len(pieces) == len(deltas)
    assert [piece.name for piece in pieces if piece.name] == ["get_weather"]
    assert "".join(piece.arguments for piece in pieces) == whole.tool_calls[0].arguments
    assert end == replace(whole, content="", tool_calls=())


async def test_stop_sequences_and_json_are_supported() -> None:
    assert (await answered(stop=["Paris"])).content == "Weather in "
    any_json = await answered(response_format={"type": "json_object"})
    assert json.loads(any_json.content) == {"answer": "Weather in Paris?"}


_LEAVES: Any = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 3, "maxLength": 5},
        {"type": "string", "format": "date-time"},
        {"type": "integer", "minimum": 2},
        {"type": "integer", "exclusiveMaximum": -3},
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "boolean"},
        {"type": ["null", "string"]},
        {"enum": ["a", 1]},
        {"const": {"a": 1}},
        {"$ref": "#/$defs/name"},
    ]
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda fields, n: {
                "type": "object",
                "properties": fields,
                "required": sorted(fields)[:n],
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
            st.integers(0, 4),
        ),
        st.builds(
            lambda items, n: {"type": "array", "items": items, "minItems": n},
            inner,
            st.integers(0, 3),
        ),
        st.builds(lambda either: {"anyOf": either}, st.lists(inner, min_size=1, max_size=2)),
    ),
    max_leaves=8,
)


@given(schema=_SCHEMAS, text=st.text(max_size=10))
def test_sample_is_valid_for_schema(schema: dict[str, Any], text: str) -> None:
    rooted = {**schema, "$defs": {"name": {"type": "string"}}}
    assert jsonschema_rs.is_valid(rooted, sample_of(rooted, text=text))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"type": "object", "required": [7, "a"]},
        {"type": [], "minItems": -1},
        {"type": "array", "minItems": 10**9, "items": {"$ref": "#"}},
        {"type": "object", "properties": {c: {"$ref": "#"} for c in "abcdefghij"}},
        {"anyOf": [7]},
        {"type": "string", "minLength": 10**9},
        {"type": "string", "format": ["date"]},
        {"type": "string", "format": {}},
        {"type": "integer", "exclusiveMinimum": 2**64 - 1},
        {"type": "integer", "exclusiveMaximum": -(2**63)},
    ],
)
def test_sample_of_any_schema_is_small(schema: dict[str, Any]) -> None:
    most = VALUES_MAX * (TEXT_MAX_CHARS + 50)
    assert len(orjson.dumps(sample_of(schema, text="x" * 10**6))) < most


_TURNS = st.lists(
    st.sampled_from([USER, CALLED, *RESULTS, {"role": "user", "content": ["Hé", PICTURE]}]),
    max_size=6,
)


@given(
    turns=_TURNS,
    tools=st.lists(st.sampled_from([WEATHER, TIME]), max_size=3),
    as_json=st.booleans(),
)
async def test_usage_never_exceeds_bound(turns: list[Any], tools: list[Any], as_json: bool) -> None:
    body: dict[str, Any] = {"model": SANDBOX, "messages": [CALLED, *turns], "tools": tools}
    if as_json:
        schema = WEATHER["function"]["parameters"]
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": schema},
        }
    usage_bound = usage_bound_of(body)
    held = bounds.input_tokens_at_most(
        usage_bound, model_of(SANDBOX), text_bytes=bounds.text_bytes(usage_bound)
    )
    answer = await MADE.complete(asked(**body))
    assert answer.usage is not None
    assert 0 < answer.usage.input_tokens <= held


def test_earlier_format_and_tools_are_in_bound() -> None:
    plain = usage_bound_of({"messages": [USER]})
    talk = usage_bound_of({"messages": [USER, CALLED]})
    wanted = usage_bound_of({"messages": [USER], "response_format": {"type": "json_object"}})
    text = usage_bound_of({"messages": [USER], "response_format": {"type": "text"}})
    assert plain.overhead_tokens == text.overhead_tokens == 0
    assert talk.overhead_tokens > 1024
    assert wanted.overhead_tokens == 256
