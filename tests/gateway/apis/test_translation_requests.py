"""A call translated to Anthropic's and Google's formats."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.apis.generate.request import config_from, contents_from
from gateway.apis.json_schema import for_anthropic, for_google
from gateway.apis.messages.request import headers_from, request_from
from gateway.core.calls import ProviderCall
from gateway.core.messages import Message, ToolCall
from gateway.core.usage_bound import OutputCap
from tests.gateway.translating import (
    CALLED,
    CLAUDE,
    GEMINI,
    GEMINI_3,
    PICTURE,
    PIXEL,
    SCHEMA,
    TALK,
    TIME,
    USER,
    WEATHER,
    asked,
    fit,
)

CLOSED: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
WANTED: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}


# --- Anthropic --------------------------------------------------------------------------------


def test_anthropic_gets_tool_results_in_one_turn_before_next_text() -> None:
    then = {"role": "user", "content": [{"type": "text", "text": "And this?"}, PICTURE]}
    request = request_from(fit(messages=[*TALK, then], tools=[WEATHER, TIME]))
    assert request["system"] == "Be brief"
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert request["messages"] == [
        {"role": "user", "content": "Weather in Paris?"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1", "name": "get_weather",
                 "input": {"city": "Paris"}},
                {"type": "tool_use", "id": "call_2", "name": "get_time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "Sunny"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "Noon"},
                {"type": "text", "text": "And this?"},
                {"type": "image", "source": source},
            ],
        },
    ]  # fmt: skip


def test_anthropic_gets_tools_and_choice() -> None:
    request = request_from(fit(tools=[WEATHER, TIME]))
    assert request["tools"] == [
        {
            "name": "get_weather",
            "description": "The weather of a city",
            "input_schema": WEATHER["function"]["parameters"],
        },
        {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in request


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "get_time"}}},
            {"type": "tool", "name": "get_time"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_anthropic_tool_choice_is_translated(
    fields: dict[str, Any], choice: dict[str, Any]
) -> None:
    assert request_from(fit(tools=[TIME], **fields))["tool_choice"] == choice


def test_anthropic_gets_tools_of_earlier_calls() -> None:
    request = request_from(fit(messages=TALK))
    assert [tool["name"] for tool in request["tools"]] == ["get_time", "get_weather"]
    assert request["tool_choice"] == {"type": "none"}


def test_anthropic_strict_tools_are_strict_if_supported() -> None:
    function = {"strict": True, "parameters": CLOSED}
    strict = {"type": "function", "function": {"name": "a", **function}}
    many = [{"type": "function", "function": {"name": f"a{i}", **function}} for i in range(21)]
    (tool,) = request_from(fit(tools=[strict]))["tools"]
    assert tool["strict"] is True
    assert tool["input_schema"] == for_anthropic(CLOSED)
    (tool,) = request_from(fit("claude-sonnet-4-20250514", tools=[strict]))["tools"]
    assert tool == {"name": "a", "input_schema": CLOSED}
    assert not any("strict" in tool for tool in request_from(fit(tools=many))["tools"])


def test_anthropic_schema_is_output_format_and_other_json_is_prompted() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": CLOSED}}
    request = request_from(fit(response_format=wanted, reasoning_effort="minimal"))
    assert request["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": for_anthropic(CLOSED)},
    }
    any_json = request_from(fit(response_format={"type": "json_object"}))
    assert any_json["system"].startswith("Answer with one JSON object")
    assert "output_config" not in any_json


@pytest.mark.parametrize(
    ("model", "effort", "fields"),
    [
        (CLAUDE, "none", {}),
        (CLAUDE, "xhigh", {"effort": "high", "thinking": "adaptive"}),
        ("claude-opus-4-5", "medium", {"effort": "medium"}),
        ("claude-opus-4-7", "xhigh", {"effort": "xhigh", "thinking": "adaptive"}),
        ("claude-opus-5", "none", {"thinking": "disabled"}),
        ("claude-sonnet-5-5", "none", {"thinking": "between_tools"}),
        ("claude-sonnet-5", "low", {"effort": "low", "thinking": "adaptive"}),
    ],
)
def test_anthropic_gets_thinking_budget(model: str, effort: str, fields: dict[str, str]) -> None:
    request = request_from(fit(model, reasoning_effort=effort))
    assert request.get("output_config", {}).get("effort") == fields.get("effort")
    assert request.get("thinking", {}).get("type") == fields.get("thinking")


def test_anthropic_sampling_settings_use_older_version() -> None:
    call = fit(top_p=0.5, stop=["a", "b"])
    assert headers_from(call) == {"anthropic-version": "2023-06-01"}
    assert headers_from(fit(stop=["a", "b"])) == {}
    request = request_from(call)
    assert request["top_p"] == 0.5
    assert request["stop_sequences"] == ["a", "b"]


def test_anthropic_tool_ids_have_allowed_characters() -> None:
    messages = json.loads(json.dumps(TALK).replace("call_1", "functions.get:0"))
    turns = request_from(fit(messages=messages, tools=[WEATHER]))["messages"]
    assert turns[1]["content"][0]["id"] == "functions_get_0"
    assert turns[2]["content"][0]["tool_use_id"] == "functions_get_0"


@pytest.mark.parametrize("written", ['{"a": 1', "[1]", "NaN", '{"a": NaN}', '{"a": 1, "a": 2}'])
def test_non_object_arguments_are_kept(written: str) -> None:
    message = Message("assistant", "", tool_calls=(ToolCall(id="a", name="b", arguments=written),))
    call = ProviderCall(model=CLAUDE, messages=(message,), timeout_s=1)
    assert request_from(call)["messages"][0]["content"][0]["input"] == {"arguments": written}
    (part,) = contents_from(call)[0]["parts"]
    assert part["function_call"]["args"] == {"arguments": written}


# --- Google -----------------------------------------------------------------------------------


def test_google_gets_tool_results_in_one_turn_and_text_in_next() -> None:
    seen = {"role": "tool", "tool_call_id": "call_1", "content": [PICTURE]}
    contents = contents_from(asked(GEMINI, messages=[*TALK, seen, USER]))
    picture = {"inline_data": {"data": base64.b64decode(PIXEL), "mime_type": "image/png"}}
    assert contents == [
        {"role": "user", "parts": [{"text": "Weather in Paris?"}]},
        {
            "role": "model",
            "parts": [
                {"function_call": {"id": "call_1", "name": "get_weather",
                                   "args": {"city": "Paris"}}},
                {"function_call": {"id": "call_2", "name": "get_time", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"function_response": {"id": "call_1", "name": "get_weather",
                                       "response": {"output": "Sunny"}}},
                {"function_response": {"id": "call_2", "name": "get_time",
                                       "response": {"output": "Noon"}}},
                {"function_response": {"id": "call_1", "name": "get_weather",
                                       "response": {"output": ""}}},
            ],
        },
        {"role": "user", "parts": [picture]},
        {"role": "user", "parts": [{"text": "Weather in Paris?"}]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.com/a.webp?x=1", "image/webp"),
        ("https://example.com/film.mp4", "image/jpeg"),
        ("https://example.com/", "image/jpeg"),
    ],
)
def test_google_gets_image_url_as_file(url: str, kind: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    contents = contents_from(asked(GEMINI, messages=[{"role": "user", "content": [part]}]))
    assert contents[0]["parts"] == [{"file_data": {"file_uri": url, "mime_type": kind}}]


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "none"}, {"mode": "NONE"}),
        ({"tool_choice": "required"}, {"mode": "ANY"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "get_time"}}},
            {"mode": "ANY", "allowed_function_names": ["get_time"]},
        ),
    ],
)
def test_google_tool_choice_is_translated(fields: dict[str, Any], choice: object) -> None:
    config = config_from(asked(GEMINI, tools=[WEATHER, TIME], **fields))
    assert config.get("tool_config", {}).get("function_calling_config") == choice
    (tools,) = config["tools"]
    weather, time = tools["function_declarations"]
    assert weather["parameters_json_schema"]["required"] == ["city"]
    assert time == {"name": "get_time", "description": None}


def test_google_gets_settings() -> None:
    fields: dict[str, Any] = {"temperature": 1, "top_p": 0.5, "stop": "END"}
    fields |= {"response_format": WANTED, "reasoning_effort": "low"}
    config = config_from(fit(GEMINI, cap=OutputCap(2000, is_written=True), **fields))
    assert config == {
        "max_output_tokens": 2000,
        "temperature": 1.0,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "response_mime_type": "application/json",
        "response_json_schema": for_google(SCHEMA),
        "thinking_config": {"thinking_budget": 1024},
    }
    newer = config_from(fit(GEMINI_3, reasoning_effort="none"))
    assert newer["thinking_config"] == {"thinking_level": "MINIMAL"}
    any_json = config_from(asked(GEMINI, response_format={"type": "json_object"}))
    assert any_json["response_mime_type"] == "application/json"
    assert "response_json_schema" not in any_json


@pytest.mark.parametrize(("effort", "budget"), [("low", 1024), ("medium", 8192), ("high", 24_576)])
def test_google_thinks_within_cap(effort: str, budget: int) -> None:
    for cap, sent in ((budget, -1), (budget + 1, budget)):
        call = asked(GEMINI, cap=OutputCap(cap, is_written=True), reasoning_effort=effort)
        assert config_from(call)["thinking_config"] == {"thinking_budget": sent}
    uncapped = asked(GEMINI, cap=OutputCap(65_536, is_written=False), reasoning_effort=effort)
    assert config_from(uncapped)["thinking_config"] == {"thinking_budget": budget}


@pytest.mark.parametrize("kept", ["bWluZQ==", "bWluZQ"])
def test_google_gets_returned_signature_or_placeholder(
    kept: str,
) -> None:
    talk = json.loads(json.dumps(TALK))
    first, second = talk[2]["tool_calls"]
    lost = contents_from(asked(GEMINI_3, messages=talk))[1]["parts"]
    assert [part.get("thought_signature") for part in lost] == [
        b"skip_thought_signature_validator",
        None,
    ]
    assert not any("thought_signature" in p for p in contents_from(asked(GEMINI))[0]["parts"])
    first["extra_content"] = {"google": {"thought_signature": kept}}
    second["extra_content"] = {"google": {"thought_signature": "__--"}}
    shown = contents_from(asked(GEMINI_3, messages=talk))[1]["parts"]
    assert [part.get("thought_signature") for part in shown] == [
        b"mine" if kept.endswith("=") else b"skip_thought_signature_validator",
        base64.b64decode("//++"),
    ]


# --- either ----------------------------------------------------------------------------------


@given(
    turns=st.lists(
        st.sampled_from([USER, CALLED, *TALK[3:], {"role": "assistant", "content": "Yes"}]),
        max_size=12,
    )
)
def test_no_turn_is_lost_in_any_order(turns: list[dict[str, Any]]) -> None:
    fields: Any = {"messages": [CALLED, *turns], "tools": [WEATHER, TIME]}
    call = asked(**fields)
    anthropic, google = json.dumps(request_from(fit(**fields))), str(contents_from(call))
    results = sum(turn["role"] == "tool" for turn in turns)
    calls = 2 * (1 + sum(turn is CALLED for turn in turns))
    assert google.count("function_response") == results
    assert anthropic.count('"tool_result"') == anthropic.count('"tool_use"') == calls
    assert google.count("function_call") == calls
    texts = [turn["content"] for turn in turns if turn["role"] in ("user", "assistant")]
    for text in {text for text in texts if text}:
        assert anthropic.count(text) == google.count(text) == texts.count(text)
