"""Reading usage from relayed streams: bytes are unchanged, in pieces of any size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.usage import Usage
from gateway.apis.events import EVENT_MAX_BYTES, EventReading
from gateway.apis.generate import errors as google_errors
from gateway.apis.generate.arrays import ArrayReading
from gateway.apis.generate.generate import STREAM, Generate
from gateway.apis.messages.messages import Messages
from gateway.core.calls import RelayRequest
from gateway.core.errors import Broken, TimedOut
from gateway.core.seen import SeenOutput
from gateway.upstream.untrusted_json import ErrorAnswer
from tests.gateway.arrivals import model, read, sent, unchanged

OPUS, FLASH = model("claude-opus-4-6"), model("gemini-2.5-flash")
MESSAGES = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
CONTENTS = {"contents": [{"parts": [{"text": "x"}]}]}


Reading = EventReading | ArrayReading


def reading_of(request: RelayRequest) -> Reading:
    seen = SeenOutput()
    seen.send(0.0, choices=request.output.choices if request.output else 1)
    reading = request.reading(unchanged, seen)
    assert isinstance(reading, Reading)
    return reading


def of_messages() -> Reading:
    return reading_of(sent(read(Messages(), MESSAGES), OPUS))


def of_google(*, is_array: bool, **config: Any) -> Reading:
    dialect = Generate(version="v1", method=STREAM, is_array=is_array)
    asked = CONTENTS | {"generationConfig": config}
    return reading_of(sent(read(dialect, asked, named="m"), FLASH))


def passed(reading: Reading, chunks: Iterable[bytes]) -> bytes:
    return b"".join([*map(reading.take, chunks), reading.rest()])


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


# --- the streams ------------------------------------------------------------------------------

# What could be taken for structure, were it not inside of a string.
TRICKY = (
    'He wrote "type": "message_delta"} ]\n\n{[\\ "usageMetadata" \u2028 ü "finishReason": "STOP" \\'
)


def message_stream(end: str = "\n") -> bytes:
    start = {"input_tokens": 20, "cache_creation_input_tokens": 7, "output_tokens": 1}
    split = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}
    message = {
        "id": "msg_1",
        "model": "claude-opus-4-6",
        "usage": start | {"cache_creation": split, "service_tier": "standard"},
    }
    events: list[Any] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": TRICKY}},
        {"type": "of_tomorrow", "unheard_of": [1, None]},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 12, "server_tool_use": {"web_search_requests": 2}},
        },
        {"type": "message_stop"},
    ]
    return "".join(
        f"event: {event['type']}{end}data: {json.dumps(event)}{end}{end}" for event in events
    ).encode()


MESSAGE_USAGE = Usage(
    input_uncached=20,
    cache_write_5m=3,
    cache_write_1h=4,
    output_text=12,
    web_searches=2,
)


def google_chunks() -> list[dict[str, Any]]:
    def chunk(text: str, out: int, **more: Any) -> dict[str, Any]:
        return {
            "candidates": [{"content": {"parts": [{"text": text}]}, **more}],
            "usageMetadata": {
                "promptTokenCount": 5,
                "candidatesTokenCount": out,
                "totalTokenCount": 5 + out,
            },
            "modelVersion": "gemini-2.5-flash",
            "unheardOf": {"of": "tomorrow"},
        }

    found = {"groundingMetadata": {"webSearchQueries": ["one", "two"]}}
    return [
        chunk("a", 1),
        chunk(TRICKY, 2),
        chunk("b", 3, **found),
        chunk("c", 4),
        chunk("", 9, finishReason="STOP"),
    ]


GOOGLE_USAGE = Usage(input_uncached=5, output_text=9, web_searches=1, reported_total=14)


def google_events(end: str = "\r\n") -> bytes:
    return "".join(f"data: {json.dumps(each)}{end}{end}" for each in google_chunks()).encode()


def google_array(between: str = "\n,\r\n", **style: Any) -> bytes:
    return f"[{between.join(json.dumps(each, **style) for each in google_chunks())}\n]\n".encode()


Made = tuple[bytes, Callable[[], Reading], Usage, str]
STREAMS: dict[str, Made] = {
    "messages": (message_stream(), of_messages, MESSAGE_USAGE, "tool_calls"),
    "messages, CRLF": (message_stream("\r\n"), of_messages, MESSAGE_USAGE, "tool_calls"),
    "google's events": (
        google_events(),
        lambda: of_google(is_array=False),
        GOOGLE_USAGE,
        "stop",
    ),
    "google's events, LF": (
        google_events("\n"),
        lambda: of_google(is_array=False),
        GOOGLE_USAGE,
        "stop",
    ),
    "google's array": (google_array(), lambda: of_google(is_array=True), GOOGLE_USAGE, "stop"),
    "google's array, printed": (
        google_array(", ", indent=2),
        lambda: of_google(is_array=True),
        GOOGLE_USAGE,
        "stop",
    ),
    "google's array, tight": (
        google_array(",", separators=(",", ":"), ensure_ascii=False),
        lambda: of_google(is_array=True),
        GOOGLE_USAGE,
        "stop",
    ),
}
every_stream = pytest.mark.parametrize("made", STREAMS.values(), ids=STREAMS)


def check(made: Made, chunks: list[bytes]) -> None:
    stream, begin, usage, reason = made
    reading = begin()
    assert passed(reading, chunks) == stream
    assert reading.seen.is_final
    completion = reading.completion()
    assert (completion.usage, completion.finish_reason) == (usage, reason)
    assert completion.raw_usage is not None
    assert reading.completion() == completion


# --- however it is cut ------------------------------------------------------------------------


@every_stream
def test_stream_cut_at_any_byte_is_relayed_unchanged_and_parsed(made: Made) -> None:
    for place in range(len(made[0]) + 1):
        check(made, cut(made[0], [place]))


@every_stream
def test_stream_of_single_bytes_is_relayed_unchanged_and_parsed(made: Made) -> None:
    check(made, [bytes([byte]) for byte in made[0]])


@every_stream
@given(places=st.lists(st.integers(min_value=0, max_value=100_000), max_size=12))
def test_randomly_cut_stream_is_relayed_unchanged_and_parsed(made: Made, places: list[int]) -> None:
    check(made, cut(made[0], places))


@every_stream
def test_only_complete_events_are_passed_on(made: Made) -> None:
    stream, begin, *_ = made
    reading = begin()
    out = b""
    for byte in stream:
        out += reading.take(bytes([byte]))
        if stream.startswith(b"["):
            assert not out or json.loads(out + b"]")
        else:
            assert not out or out.endswith((b"\n\n", b"\n\r\n"))


# --- what is known on the way -----------------------------------------------------------------


@pytest.mark.parametrize("cut_at", [0, 1, 4, 6])
def test_comment_line_is_passed_on_at_once(cut_at: int) -> None:
    reading, comment = of_messages(), b": ping\n"
    event = b'data: {"type": "ping"}\n'
    assert reading.take(event + b"\n" + comment[:cut_at]) == event + b"\n"
    assert reading.take(comment[cut_at:]) == comment
    assert reading.take(comment + event) == comment
    assert reading.take(comment) == b""  # it stands in an event
    assert reading.take(b"\n") == event + comment + b"\n"


def test_truncated_message_has_no_usage_and_google_last_seen() -> None:
    messages = of_messages()
    stream = message_stream()
    messages.take(stream[: stream.index(b"event: message_delta")])
    assert (messages.completion().usage, messages.seen.is_final) == (None, False)
    for reading, chunks in (
        (of_google(is_array=False), google_events()),
        (of_google(is_array=True), google_array()),
    ):
        reading.take(chunks[: chunks.index(b'{"text": "c"}') - 40])
        usage = reading.completion().usage
        assert usage is not None
        assert (usage.output_tokens, usage.web_searches, reading.seen.is_final) == (3, 1, False)


def test_stream_continues_after_one_of_several_candidates() -> None:
    for is_array, stream in ((False, google_events()), (True, google_array())):
        several = of_google(is_array=is_array, candidateCount=2)
        passed(several, [stream])
        assert not several.seen.is_final
        one = of_google(is_array=is_array, candidateCount=1)
        passed(one, [stream])
        assert one.seen.is_final


# --- errors and other untrusted input ---------------------------------------------------------

ERROR = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}


def test_stream_error_is_relayed_and_detected() -> None:
    anthropic = b'event: error\ndata: {"type": "error", "error": {"message": "overloaded"}}\n\n'
    begun = message_stream()[: message_stream().index(b"event: content_block_stop")]
    google = b"data: %b\r\n\r\n" % orjson.dumps(ERROR)
    for reading, stream in (
        (of_messages(), begun + anthropic),
        (of_messages(), anthropic),
        (of_google(is_array=False), google),
    ):
        assert passed(reading, [stream]) == stream
        with pytest.raises(ErrorAnswer, match="overloaded"):
            reading.completion()


@pytest.mark.parametrize(
    "stream",
    [
        b"[%b]" % orjson.dumps(ERROR),
        b"[%b\n,\r\n%b]" % (orjson.dumps(google_chunks()[0]), orjson.dumps(ERROR)),
    ],
)
def test_error_in_array_stream_leaves_array_open(stream: bytes) -> None:
    reading = of_google(is_array=True)
    out = passed(reading, [stream])
    with pytest.raises(ErrorAnswer, match="overloaded"):
        reading.completion()
    ours = google_errors.error_element(Broken("it broke off"))
    elements = json.loads(out + ours)
    assert elements[-1]["error"] == {
        "code": 502,
        "message": "it broke off",
        "status": "UNAVAILABLE",
    }


def test_truncated_array_can_be_ended_by_gateway_error() -> None:
    stream = google_array()
    ours = google_errors.error_element(TimedOut("too late"))
    for place in range(len(stream)):
        reading = of_google(is_array=True)
        out = reading.take(stream[:place])
        if out:
            *_, last = json.loads(out + ours)
            assert last["error"]["status"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    "stream",
    [
        *(b"", b"[]", b"[[]]", b"[{}]", b"{}", b"[1, 2]", b"null", b"}]", b'["', b"\\", b'"\\'),
        *(b"[{]}", b"not JSON {", b'[{"candidates": 7}]', b"\x00\xff[{\xff}]", b"{" * 1000),
        orjson.dumps(ERROR),
        orjson.dumps({"error": {"a": {}, "b": {}}}),
    ],
)
def test_non_answer_has_no_completion_and_is_not_closed(stream: bytes) -> None:
    for chunks in ([stream], [bytes([byte]) for byte in stream]):
        reading = of_google(is_array=True)
        out = passed(reading, chunks)
        assert not out.rstrip().endswith(b"]") or out == b""
        try:
            completion = reading.completion()
        except ErrorAnswer:
            continue
        assert (completion.usage, completion.finish_reason) == (None, None)


def test_incomplete_last_event_is_relayed_only_for_answer() -> None:
    stream = message_stream()
    before_usage = stream.index(b"event: message_delta")
    for place in range(before_usage):
        out = passed(of_messages(), [stream[:place]])
        assert out == stream[: len(out)]
        assert out == b"" or out.endswith(b"\n\n")
    without_blank_line = stream.removesuffix(b"\n\n")
    assert passed(of_messages(), [without_blank_line]) == without_blank_line


@given(stream=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_can_be_parsed(stream: bytes, places: list[int]) -> None:
    for begin in (of_messages, lambda: of_google(is_array=False), lambda: of_google(is_array=True)):
        reading = begin()
        out = passed(reading, cut(stream, places))
        assert stream.startswith(out)


@pytest.mark.parametrize("is_array", [True, False])
def test_event_above_size_limit_is_error(is_array: bool) -> None:
    reading = of_google(is_array=is_array)
    start = b'[{"text": "' if is_array else b'data: {"text": "'
    reading.take(start)
    piece = b"x" * (1024 * 1024)
    with pytest.raises(Broken):
        for _ in range(EVENT_MAX_BYTES // len(piece) + 1):
            reading.take(piece)
