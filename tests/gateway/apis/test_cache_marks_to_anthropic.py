"""`cache_control` in chat completions reaches Anthropic, and what it saved comes back.

https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from gateway.apis.chat.answers import ChatSpeaker
from gateway.apis.messages.answer import completion_from
from gateway.apis.messages.request import request_from
from gateway.core.calls import CallResult
from tests.gateway.translating import CLAUDE, USER, WEATHER, fit
from tests.vendor_rules.anthropic.body import faults

SHORT: Any = {"type": "ephemeral"}
FIVE: Any = {"type": "ephemeral", "ttl": "5m"}
HOUR: Any = {"type": "ephemeral", "ttl": "1h"}
REQUEST: Final = UUID("01a20f26-9bc3-73c6-a826-3bde5ca1c69b")


def asked(**fields: Any) -> dict[str, Any]:
    request = request_from(fit(**fields))
    assert faults(request) == []
    return request


def text(value: str, control: Any = None) -> dict[str, Any]:
    return {"type": "text", "text": value, **({"cache_control": control} if control else {})}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*parts]}


def marks(request: Any) -> list[Any]:
    """Return every marker of a request, in any order."""
    if isinstance(request, list):
        return [mark for each in request for mark in marks(each)]
    if not isinstance(request, dict):
        return []
    own = [request["cache_control"]] if "cache_control" in request else []
    return own + [mark for each in request.values() for mark in marks(each)]


def test_markers_reach_every_place() -> None:
    call: Any = {"id": "a", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    request = asked(
        tools=[{**WEATHER, "cache_control": HOUR}],
        messages=[
            {"role": "system", "content": [text("Be brief", HOUR), text("and kind")]},
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call], "cache_control": FIVE},
            {"role": "tool", "tool_call_id": "a", "content": [text("1", SHORT), text("2")]},
        ],
    )
    assert request["tools"][0]["cache_control"] == HOUR
    assert request["system"] == [text("Be brief", HOUR), text("and kind")]
    _, used, results = request["messages"]
    assert used["content"][-1]["cache_control"] == FIVE
    (result,) = results["content"]
    assert result["cache_control"] == SHORT
    assert result["content"] == [text("1"), text("2")]


def test_marker_of_function_message_and_whole_prompt_reach_anthropic() -> None:
    function = {**WEATHER["function"], "cache_control": SHORT}
    request = asked(
        tools=[{"type": "function", "function": function}],
        messages=[{**USER, "cache_control": SHORT}, USER],
        cache_control=FIVE,
    )
    assert request["tools"][0]["cache_control"] == SHORT
    assert request["messages"][0]["content"] == [text(USER["content"], SHORT)]
    assert request["cache_control"] == FIVE


def test_marker_of_whole_prompt_gives_way_to_that_of_last_block() -> None:
    request = asked(messages=[user(text("Hi", HOUR))], cache_control=FIVE)
    assert "cache_control" not in request
    assert marks(request) == [HOUR]


def test_at_most_last_four_markers_are_sent() -> None:
    # https://github.com/tghamm/Anthropic.SDK/issues/50
    call = fit(
        tools=[{**WEATHER, "cache_control": SHORT}],
        messages=[user(*(text(f"{n}", SHORT) for n in range(5)))],
    )
    request = request_from(call)
    assert faults(request) == []
    assert len(marks(request)) == 4
    assert "cache_control" not in request["tools"][0]
    assert "cache_control" not in request["messages"][0]["content"][0]
    assert call.adjustments == ("Cache markers before the last four were omitted",)


def test_hour_after_five_minutes_is_lowered() -> None:
    # System messages are moved to the front, so the order can change on the way.
    call = fit(
        messages=[user(text("Hi", HOUR)), {"role": "system", "content": [text("x", FIVE)]}, USER]
    )
    request = request_from(call)
    assert faults(request) == []
    assert request["system"] == [text("x", FIVE)]
    assert request["messages"][0]["content"] == [text("Hi", SHORT)]
    assert len(call.adjustments) == 1
    assert marks(asked(messages=[user(text("a", HOUR), text("b", FIVE))])) == [HOUR, FIVE]


def test_marker_of_blank_text_moves_to_text_before_it_or_is_omitted() -> None:
    assert asked(messages=[user(text("Hi"), text(" ", SHORT))])["messages"][0]["content"] == [
        text("Hi", SHORT)
    ]
    assert marks(asked(messages=[user(text("", SHORT), text("Hi"))])) == []


def test_cache_usage_comes_back_in_prompt_details() -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 3,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
    }
    report = {"content": [], "stop_reason": "end_turn", "usage": usage}
    answer = CallResult(
        request_id=REQUEST,
        provider="anthropic",
        model=CLAUDE,
        completion=completion_from(report, model=CLAUDE),
        input_tokens=160,
        output_tokens=3,
        cost_eur=None,
        latency_ms=1,
    )
    shown = ChatSpeaker(model=CLAUDE, request_id=REQUEST, with_usage=False).whole(answer)["usage"]
    assert shown["prompt_tokens"] == 160
    assert shown["prompt_tokens_details"]["cached_tokens"] == 100
    assert shown["prompt_tokens_details"]["cache_write_tokens"] == 50
