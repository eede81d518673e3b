"""A chat completion's body becomes a call to the vendor, or is refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import Refused
from gateway.core.messages import Image, Message, ResponseFormat, Tool, ToolCall
from gateway.core.usage_bound import OutputCap
from tests.gateway.translating import (
    CALLED,
    CLAUDE,
    GEMINI,
    PICTURE,
    PIXEL,
    RESULTS,
    TALK,
    TIME,
    USER,
    WEATHER,
    asked,
)


def refusal(model: str = CLAUDE, **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        asked(model, **fields)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    return refused.value.message


def test_each_role_is_translated() -> None:
    messages = asked(
        messages=[
            {"role": "developer", "content": "Be brief"},
            {"role": "user", "content": "Hi", "name": "Ann"},
            {"role": "assistant", "content": "Hello"},
            {"role": "assistant", "content": None, "refusal": "I will not"},
        ]
    ).messages
    assert messages == (
        Message("system", "Be brief"),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("assistant", "I will not"),
    )


def test_tool_calls_and_results_keep_their_ids() -> None:
    messages = asked(messages=TALK).messages
    assert messages[2].tool_calls == (
        ToolCall(id="call_1", name="get_weather", arguments='{"city": "Paris"}'),
        ToolCall(id="call_2", name="get_time", arguments=""),
    )
    assert messages[3:] == (
        Message("tool", "Sunny", tool_call_id="call_1", tool_name="get_weather"),
        Message("tool", "Noon", tool_call_id="call_2", tool_name="get_time"),
    )


def test_single_text_part_becomes_text() -> None:
    one = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    two = {"role": "user", "content": [{"type": "text", "text": "Hi"}, PICTURE]}
    assert asked(messages=[one]).messages == (Message("user", "Hi"),)
    assert asked(messages=[two]).messages == (
        Message("user", "", ("Hi", Image(media_type="image/png", data=PIXEL))),
    )


@pytest.mark.parametrize(
    ("url", "image"),
    [
        ("https://example.com/a.png", Image(url="https://example.com/a.png")),
        (f"data:image/jpg;base64,{PIXEL}", Image(media_type="image/jpeg", data=PIXEL)),
        (f"data:IMAGE/PNG;x=y;base64,{PIXEL}\n", Image(media_type="image/png", data=PIXEL)),
    ],
)
def test_images_can_be_data_or_url(url: str, image: Image) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    assert asked(messages=[{"role": "user", "content": [part]}]).messages[0].parts == (image,)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/a.png", "must be an https:// URL or a base64 data URL"),
        ("file:///etc/passwd", "must be an https:// URL or a base64 data URL"),
        ("data:image/png,plain", "must be an https:// URL or a base64 data URL"),
        (f"data:video/mp4;base64,{PIXEL}", 'must be an image, not "video/mp4"'),
        ("data:image/png;base64,not base64!", "must contain valid base64"),
        (7, "must be a string"),
    ],
)
def test_invalid_image_is_refused(url: object, reason: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    sentence = refusal(messages=[{"role": "user", "content": [part]}])
    assert sentence.startswith("messages[0].content[0].image_url")
    assert reason in sentence


@pytest.mark.parametrize(
    ("choice", "name", "required"),
    [
        (None, None, None),
        ("auto", "auto", None),
        ("none", "none", None),
        ("required", "required", None),
        ({"type": "function", "function": {"name": "get_time"}}, "required", "get_time"),
    ],
)
def test_tool_choice_is_kept(choice: object, name: str | None, required: str | None) -> None:
    call = asked(tools=[WEATHER, TIME], tool_choice=choice, parallel_tool_calls=False)
    assert (call.tool_choice, call.required_tool) == (name, required)
    assert call.parallel_tool_calls is False
    assert call.tools == (
        Tool(
            name="get_weather",
            description="The weather of a city",
            parameters=WEATHER["function"]["parameters"],
        ),
        Tool(name="get_time"),
    )


def test_only_allowed_tools_are_sent() -> None:
    allowed = {"mode": "required", "tools": [TIME]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    call = asked(tools=[WEATHER, TIME], tool_choice=choice)
    assert [tool.name for tool in call.tools] == ["get_time"]
    assert (call.tool_choice, call.required_tool) == ("required", None)


def test_settings_are_kept() -> None:
    call = asked(
        temperature=0.5,
        top_p=1,
        stop="END",
        reasoning_effort="high",
        cap=OutputCap(7, is_written=True),
    )
    assert (call.temperature, call.top_p, call.stop) == (0.5, 1.0, ("END",))
    assert (call.reasoning_effort, call.max_output_tokens) == ("high", 7)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, ResponseFormat()),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
            ResponseFormat(schema={"type": "object"}),
        ),
    ],
)
def test_response_format_is_kept(given: object, expected: object) -> None:
    assert asked(response_format=given).response_format == expected


def test_only_written_cap_is_sent() -> None:
    unasked = OutputCap(128_000, is_written=False)
    assert asked(GEMINI, cap=unasked).max_output_tokens is None
    assert asked(CLAUDE, cap=OutputCap(7, is_written=True)).max_output_tokens == 7


def test_fields_without_effect_on_answer_are_omitted() -> None:
    harmless: dict[str, Any] = {
        "user": "ann",
        "metadata": {"a": "b"},
        "store": True,
        "service_tier": "auto",
        "safety_identifier": "a",
        "prompt_cache_key": "b",
        "stream": True,
        "stream_options": {"include_usage": True},
        "n": 1,
        "logprobs": False,
        "logit_bias": {},
        "modalities": ["text"],
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "parallel_tool_calls": True,
        "web_search_options": None,
        "anything": None,
    }
    named = asked(parallel_tool_calls=True, user="a")
    assert asked(**harmless) == named


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("n", True),
        ("n", "1"),
        ("logprobs", 0),
        ("frequency_penalty", False),
        ("best_of", 2),
        ("logprobs", True),
        ("top_logprobs", 2),
        ("logit_bias", {"50256": -100}),
        ("audio", {"voice": "alloy", "format": "mp3"}),
        ("modalities", ["text", "audio"]),
        ("prediction", {"type": "content", "content": "x"}),
        ("web_search_options", {}),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -0.5),
        ("verbosity", "low"),
        ("functions", [{"name": "a"}]),
        ("function_call", {"name": "a"}),
        ("moderation", {"model": "m"}),
        ("top_k", 5),
    ],
)
def test_unsupported_fields_that_change_answer_are_refused(field: str, value: object) -> None:
    fields: dict[str, Any] = {field: value}
    assert refusal(**fields) == (
        f'{field} is not supported by model claude-opus-4-6 of provider "anthropic"; remove it'
    )


@pytest.mark.parametrize("tier", ["flex", "priority", "scale", "batch"])
def test_non_standard_tier_is_refused(tier: str) -> None:
    assert refusal(service_tier=tier).startswith(f'service_tier "{tier}" is not supported')


@pytest.mark.parametrize("model", ["claude-3-5-sonnet-20241022", "gemini-2.0-flash"])
def test_thinking_effort_is_omitted_for_models_without_it(model: str) -> None:
    assert refusal(model, reasoning_effort="high").startswith('reasoning_effort "high"')
    assert asked(model, reasoning_effort="none").reasoning_effort is None


ORPHAN = {"role": "tool", "tool_call_id": "call_9", "content": "?"}


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role must be one of"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role must be one of"),
        ({"messages": [{"role": "user"}]}, "messages[0].content must be a string or a list"),
        ({"messages": [{"role": "system", "content": [PICTURE]}]}, "messages[0].content[0] of"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [7]}]},
            "messages[0].content[0] must be an object",
        ),
        ({"messages": [USER, ORPHAN]}, "messages[1].tool_call_id must be the id of a tool call"),
        (
            {"messages": [*RESULTS, CALLED]},
            "messages[0].tool_call_id must be the id of a tool call",
        ),
        ({"messages": [{**CALLED, "audio": {"id": "a"}}]}, "messages[0].audio is not supported"),
        (
            {"messages": [{**CALLED, "function_call": {"name": "a", "arguments": ""}}]},
            "messages[0].function_call is not supported",
        ),
        (
            {"messages": [{**CALLED, "tool_calls": [{"id": "a"}]}]},
            "messages[0].tool_calls[0] must have",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "tools[0] is not a function"),
        (
            {"tools": [{"type": "function", "function": {}}]},
            "tools[0].function.name must be a name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
            "tools[0].function.parameters must be a JSON schema",
        ),
        ({"tool_choice": "required"}, "tool_choice must not be required without tools"),
        ({"tool_choice": "any"}, "tool_choice must be one of auto, none, required"),
        ({"tool_choice": 7}, "tool_choice must be auto, none, required, or an object"),
        (
            {"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "b"}}},
            'tool_choice names "b", which is not in tools',
        ),
        ({"response_format": {"type": "xml"}}, "response_format must be an object of type text"),
        ({"response_format": {"type": "json_schema"}}, "response_format must be an object of type"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"seed": True}, "seed must be an integer"),
        ({"temperature": 2.1}, "temperature must be a number between 0 and 2"),
        ({"temperature": True}, "temperature must be a number between 0 and 2"),
        ({"top_p": -0.1}, "top_p must be a number between 0 and 1"),
        ({"stop": [""]}, "stop must be a string or a list"),
        ({"stop": ["x"] * 17}, "stop must be a string or a list"),
        ({"reasoning_effort": "huge"}, "reasoning_effort must be one of none"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls must be true or false"),
    ],
)
def test_invalid_field_is_named_with_its_path(fields: dict[str, Any], start: str) -> None:
    assert refusal(**fields).startswith(start)
