"""responses: the request that is sent, and the answer read in pieces of any size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseFailedEvent

from costs.core.usage import Usage
from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.responses.responses import Responses
from gateway.core.calls import Completion, Dimensions
from gateway.core.errors import Broken, RateLimited, Refused
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import UsesLimit
from gateway.upstream.untrusted_json import ErrorAnswer
from tests.gateway.arrivals import NAMES, body_of, model, read, sent, unchanged

DIALECT = Responses()
MINI = model("gpt-4o-mini")
ASKED: dict[str, Any] = {"model": "my-alias", "input": "Hello"}
OVERRIDDEN = {"model": "gpt-4o-mini", "store": False, "service_tier": "default"}
HELLO = {"role": "user", "content": "Hello"}
NAMED = {"safety_identifier": NAMES.user(), "prompt_cache_key": NAMES.cache()}


def outgoing(fields: dict[str, Any], *, cap: int | None = None) -> Any:
    return body_of(sent(read(DIALECT, fields), MINI, cap=cap))


# --- the body ---------------------------------------------------------------------------------


def test_body_is_forwarded_unchanged_and_not_stored() -> None:
    more = {"unheard_of": {"of": ["tomorrow", None, 1.5]}, "reasoning": {"effort": "low"}}
    assert outgoing(ASKED | more | {"store": True}) == ASKED | more | OVERRIDDEN | NAMED
    assert sent(read(DIALECT, ASKED), MINI).path == "/responses"


def test_empty_field_goes_as_its_beta_does() -> None:
    empties: tuple[Any, ...] = (None, {})
    for empty in empties:
        assert "multi_agent" not in outgoing(ASKED | {"multi_agent": empty})


def test_requested_tier_is_forwarded() -> None:
    assert outgoing(ASKED | {"service_tier": "flex"})["service_tier"] == "flex"
    assert outgoing(ASKED | {"service_tier": "auto"})["service_tier"] == "default"


def test_cap_is_written_over_callers() -> None:
    assert "max_output_tokens" not in outgoing(ASKED)
    assert outgoing(ASKED, cap=50)["max_output_tokens"] == 50
    assert outgoing(ASKED | {"max_output_tokens": 100}, cap=50)["max_output_tokens"] == 50
    assert outgoing(ASKED | {"max_output_tokens": None}, cap=50)["max_output_tokens"] == 50


@pytest.mark.parametrize(
    ("asked", "is_limited", "written"),
    [
        (None, False, None),
        (20, False, 20),
        (None, True, 8),
        (20, True, 8),
        (3, True, 3),
        (8.0, True, 8),
        (50_000, True, 8),
        (50_000, False, 50_000),
    ],
)
def test_hosted_calls_are_limited_only_if_limit_applies(
    asked: float | None, is_limited: bool, written: int | None
) -> None:
    for tool in ({"type": "web_search"}, {"type": "tool_search"}):
        body = ASKED | {"tools": [tool]} | ({"max_tool_calls": asked} if asked else {})
        request = sent(read(DIALECT, body), MINI, is_limited=is_limited)
        assert body_of(request).get("max_tool_calls") == written
        is_changed = is_limited and written != asked
        assert request.adjustments == (("max_tool_calls is sent as 8",) if is_changed else ())


@pytest.mark.parametrize("is_limited", [True, False])
@pytest.mark.parametrize(
    ("asked", "most", "written"), [(None, 3, 3), (20, 3, 3), (2, 3, 2), (None, 20, 20), (9, 20, 9)]
)
def test_policys_number_of_searches_is_written(
    is_limited: bool, asked: int | None, most: int, written: int
) -> None:
    limit = UsesLimit(most=most, policy="Few")
    body = ASKED | {"tools": [{"type": "web_search"}], "max_tool_calls": asked}
    request = sent(read(DIALECT, body), MINI, is_limited=is_limited, searches=limit)
    assert body_of(request)["max_tool_calls"] == written
    note = (f'max_tool_calls is sent as {written} by policy "Few"',)
    assert request.adjustments == (() if written == asked else note)


def test_policys_number_of_searches_is_not_for_other_tools() -> None:
    body = ASKED | {"tools": [{"type": "tool_search"}]}
    limit = UsesLimit(most=3, policy="Few")
    assert "max_tool_calls" not in body_of(sent(read(DIALECT, body), MINI, searches=limit))


def test_calls_of_clients_tools_are_not_limited() -> None:
    for tools in ([], [{"type": "function", "name": "f"}], [{"type": "custom", "name": "c"}]):
        request = sent(read(DIALECT, ASKED | {"tools": tools}), MINI, is_limited=True)
        assert "max_tool_calls" not in body_of(request)


def test_later_compaction_reads_answer_too() -> None:
    compacting = ASKED | {"context_management": [{"type": "compaction"}]}
    assert sent(read(DIALECT, compacting), MINI, cap=50).more_input_tokens == 50
    assert sent(read(DIALECT, ASKED), MINI, cap=50).more_input_tokens == 0


def test_reasoning_item_with_only_id_is_omitted() -> None:
    kept = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "sealed"}
    items = [HELLO, {"type": "reasoning", "id": "rs_1", "summary": []}, kept]
    assert outgoing({"model": "m", "input": items})["input"] == [HELLO, kept]


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("claude-opus-4-6", "/v1/chat/completions"),
        ("mistral-large-latest", "/v1/chat/completions"),
        ("text-embedding-3-small", "/v1/embeddings"),
    ],
)
def test_other_models_are_refused_with_their_endpoint(name: str, instead: str) -> None:
    with pytest.raises(Refused, match=f"not available at /v1/responses; use {instead}") as refused:
        sent(read(DIALECT, ASKED), model(name))
    assert refused.value.status == 400


# --- by what it is recognised -----------------------------------------------------------------


def test_prompt_is_canonically_equal_in_every_api() -> None:
    chat = {"model": "m", "messages": [{"role": "system", "content": "Be brief"}, HELLO]}
    wanted = read(ChatCompletions(), chat).body.canonical()
    parts = [{"type": "input_text", "text": "Hello"}]
    for text in ("Hello", [HELLO], [{"type": "message", "role": "user", "content": parts}]):
        asked = {"model": "m", "instructions": "Be brief", "input": text}
        assert read(DIALECT, asked).body.canonical() == wanted


def test_repeat_has_same_body_and_dimensions() -> None:
    def identity(fields: dict[str, Any], team: str) -> object:
        return read(DIALECT, fields, dimensions=Dimensions(team_id=team)).identity()

    assert identity(ASKED, "a") == identity(ASKED, "a")
    assert identity(ASKED, "a") != identity(ASKED, "b")
    assert identity(ASKED, "a") != identity(ASKED | {"input": "Bye"}, "a")


# --- a plain answer ---------------------------------------------------------------------------

USED = {
    "input_tokens": 100,
    "input_tokens_details": {
        "cached_tokens": 30,
        "cache_write_tokens": 20,
        "cache_write_tokens_details": {"ttl_30m_tokens": 15, "ttl_12h_tokens": 5},
    },
    "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 140,
}
USAGE = Usage(
    input_uncached=50,
    cache_read=30,
    cache_write_30m=15,
    cache_write_12h=5,
    output_text=30,
    output_reasoning=10,
    web_searches=2,
    service_tier="flex",
    reported_total=140,
)
# What could be taken for structure, were it not inside of a string.
TRICKY = 'He text "type": "response.completed"\n\n{[\\ "error": { \u2028 ü data: [DONE] \\'
SEARCHED = {"type": "web_search_call", "status": "completed"}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": TRICKY}]}


def response(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "error": None,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "flex",
        "output": [SEARCHED, SEARCHED, MESSAGE],
        "usage": USED,
        **more,
    }


def whole(body: Any) -> Completion:
    return sent(read(DIALECT, ASKED), MINI).whole(json.dumps(body).encode())


def test_every_token_is_in_exactly_one_bucket() -> None:
    completion = whole(response())
    assert completion.usage == USAGE
    assert completion.usage.adds_up
    assert (completion.model, completion.finish_reason) == ("gpt-4o-mini-2024-07-18", "stop")
    assert completion.raw_usage == USED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (response(output=[{"type": "function_call"}]), "tool_calls"),
        (response(output=[{"type": "custom_tool_call"}]), "tool_calls"),
        (response("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (response("incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        (response("incomplete", incomplete_details=None), "incomplete"),
        (response("failed", error={"code": "server_error", "message": "x"}), "failed"),
    ],
)
def test_finish_reasons_are_normalized(body: dict[str, Any], reason: str) -> None:
    completion = whole(body)
    assert completion.finish_reason == reason
    assert completion.usage is not None


@pytest.mark.parametrize(
    "usage",
    [
        None,
        5,
        {},
        USED | {"input_tokens": -1},
        USED | {"output_tokens": "4"},
        USED | {"input_tokens": 10},
        USED | {"input_tokens_details": []},
    ],
    ids=repr,
)
def test_invalid_usage_report_is_none(usage: Any) -> None:
    assert whole(response(usage=usage)).usage is None


def test_error_with_success_status_is_error() -> None:
    with pytest.raises(ErrorAnswer):
        whole({"error": {"message": "no"}})


# --- a streamed answer ------------------------------------------------------------------------


def stream_of(*events: dict[str, Any], end: str = "\n") -> bytes:
    return "".join(
        f"event: {event['type']}{end}data: {json.dumps(event)}{end}{end}" for event in events
    ).encode()


def events_of(last: dict[str, Any] | None, *, end: str = "\n") -> bytes:
    begun = response("in_progress", output=[], usage=None)
    delta = {"type": "response.output_text.delta", "delta": TRICKY, "unheard_of": [1, None]}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}, delta, delta]
    return stream_of(*events, *([last] if last else []), end=end)


COMPLETED = {"type": "response.completed", "response": response()}


def passed(stream: bytes, places: Iterable[int] = ()) -> tuple[bytes, Any]:
    reading = sent(read(DIALECT, ASKED | {"stream": True}), MINI).reading(unchanged, SeenOutput())
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    return b"".join([*map(reading.take, chunks), reading.rest()]), reading


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_stream_cut_anywhere_is_relayed_unchanged(end: str) -> None:
    stream = events_of(COMPLETED, end=end)
    for place in range(len(stream)):
        came, reading = passed(stream, [place])
        assert came == stream
        assert reading.seen.is_final
        assert reading.completion().usage == USAGE


@given(st.lists(st.integers(min_value=0, max_value=100_000), max_size=40))
def test_stream_in_any_pieces_is_relayed_unchanged(places: list[int]) -> None:
    stream = events_of(COMPLETED)
    came, reading = passed(stream, places)
    assert came == stream
    assert reading.completion().usage == USAGE


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_last_event_has_usage_for_every_outcome(status: str) -> None:
    _, reading = passed(events_of({"type": f"response.{status}", "response": response(status)}))
    assert reading.seen.is_final
    assert reading.completion().usage == USAGE


def test_truncated_stream_has_only_its_model() -> None:
    _, reading = passed(events_of(None))
    completion = reading.completion()
    assert not reading.seen.is_final
    assert (completion.model, completion.finish_reason, completion.usage) == (
        "gpt-4o-mini-2024-07-18",
        None,
        None,
    )


def test_error_in_stream_is_detected_and_relayed() -> None:
    stream = events_of({"type": "error", "code": "server_error", "message": "no", "param": None})
    came, reading = passed(stream)
    assert came == stream
    with pytest.raises(ErrorAnswer, match="no"):
        reading.completion()


def test_gateway_error_ends_stream_as_clients_expect() -> None:
    event = DIALECT.error_event(Broken("It broke off")).decode()
    name, data = event.rstrip("\n").split("\n")
    body = json.loads(data.removeprefix("data: "))
    assert name == "event: response.failed"
    parsed = ResponseFailedEvent.model_validate(body, strict=True)
    assert (parsed.type, parsed.response.status) == ("response.failed", "failed")
    assert parsed.response.error is not None
    assert (parsed.response.error.code, parsed.response.error.message) == (
        "server_error",
        "It broke off",
    )
    assert parsed.response.error.type == "provider_error"
    assert body["error"]["message"] == "It broke off"  # which OpenAI's libraries raise


def test_failed_stream_of_too_many_requests_is_documented_as_such() -> None:
    event = DIALECT.error_event(RateLimited("Slow down"))
    body = json.loads(event.split(b"data: ")[1])
    assert body["response"]["error"]["code"] == "rate_limit_exceeded"
