"""Streams that the gateway ends: valid for the vendor's own library, after any event."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest
from anthropic.types import RawMessageStreamEvent
from google.genai import types as google
from mistralai.client import models as mistral
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.apis.base import Dialect
from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.events import EventReading
from gateway.apis.generate.arrays import ArrayReading
from gateway.apis.generate.generate import STREAM, Generate
from gateway.apis.messages.messages import Messages
from gateway.apis.responses.ending import KEPT_MAX_CHARS, ResponsesEnding
from gateway.apis.responses.responses import Responses
from gateway.core.seen import SeenOutput
from tests.fake_provider.behaviour import Behaviour, ParsedRequest, answer_to
from tests.fake_provider.formats import ENDPOINTS
from tests.fake_provider.formats.gemini import as_array
from tests.gateway.arrivals import model, read, sent, unchanged

SAY: Final = [{"role": "user", "content": "x"}]
CHAT: Final = {"model": "m", "messages": SAY, "max_tokens": 9, "stream": True}
CONTENTS: Final = {"contents": [{"parts": [{"text": "x"}]}]}
TEXT: Final = "one two three four"
TOOLS: Final = (
    {"name": "look_up", "arguments": {"what": "the weather"}},
    {"name": "write", "arguments": {"to": "a file"}},
)
MESSAGE_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(RawMessageStreamEvent)
RESPONSE_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(ResponseStreamEvent)
INPUT_TOKENS: Final = 7
OUTPUT_TOKENS: Final = 11


@dataclass(frozen=True, slots=True)
class CutStream:
    """A vendor's stream, how the gateway reads it, and how its library reads the end."""

    vendor: str
    endpoint: str
    model: str
    dialect: Dialect
    body: dict[str, Any]
    check: Callable[[list[Any]], None]
    is_array: bool = False

    def events(self, behaviour: Behaviour) -> list[bytes]:
        """Return the events of a whole answer."""
        asked = ParsedRequest(
            model=self.model, words_in=1, last_text="x", with_usage=True, body=self.body
        )
        events = ENDPOINTS[self.vendor, self.endpoint].events(answer_to(asked, behaviour))
        return [event.encode() for event in (as_array(events) if self.is_array else events)]

    def reading(self, *, is_sliced: bool) -> EventReading | ArrayReading:
        named = {"named": self.model} if self.vendor == "google" else {}
        request = sent(read(self.dialect, self.body, **named), model(self.model))
        seen = SeenOutput(is_sliced=is_sliced)
        seen.send(0.0)
        reading = request.reading(unchanged, seen)
        assert isinstance(reading, EventReading | ArrayReading)
        return reading

    def values(self, stream: bytes) -> list[Any]:
        """Return the values of a stream, which must be complete."""
        if self.is_array:
            return list(json.loads(stream))
        *blocks, rest = stream.replace(b"\r\n", b"\n").split(b"\n\n")
        assert rest == b""
        datas = [block[block.index(b"data:") + 5 :].strip() for block in blocks]
        return [data if data == b"[DONE]" else json.loads(data) for data in datas]


def check_chat(values: list[Any]) -> None:
    *chunks, done = values
    assert done == b"[DONE]"
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    [choice] = state.current_completion_snapshot.choices
    assert choice.finish_reason == "length"


def check_mistral(values: list[Any]) -> None:
    *chunks, done = values
    assert done == b"[DONE]"
    parsed = [mistral.CompletionChunk.model_validate(chunk) for chunk in chunks]
    assert parsed[-1].choices[0].finish_reason == "length"


def check_message(values: list[Any]) -> None:
    open_blocks: list[int] = []
    events = [value for value in values if value["type"] != "ping"]
    for event in map(MESSAGE_EVENT.validate_python, events):
        if event.type == "content_block_start":
            open_blocks.append(event.index)
        elif event.type == "content_block_stop":
            open_blocks.remove(event.index)
    assert open_blocks == []
    *_, delta, end = values
    assert end == {"type": "message_stop"}
    assert delta["delta"]["stop_reason"] == "max_tokens"
    assert delta["usage"] == {"output_tokens": OUTPUT_TOKENS}


def check_response(values: list[Any]) -> None:
    items: list[Any] = []
    open_items: list[int] = []
    for event in map(RESPONSE_EVENT.validate_python, values):
        if event.type == "response.output_item.added":
            open_items.append(event.output_index)
        elif event.type == "response.output_item.done":
            open_items.remove(event.output_index)
            items.append(event.item.model_dump(exclude_unset=True))
    assert open_items == []
    response = RESPONSE_EVENT.validate_python(values[-1]).response
    assert (response.status, response.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert [each.model_dump(exclude_unset=True) for each in response.output] == items
    assert (response.usage.input_tokens, response.usage.output_tokens) == (
        INPUT_TOKENS,
        OUTPUT_TOKENS,
    )
    assert [event["sequence_number"] for event in values] == list(range(len(values)))
    shown = [event["delta"] for event in values if event["type"].endswith(".delta")]
    parts = [part["text"] for item in items for part in item.get("content") or ()]
    assert "".join(shown) == "".join(parts + [item.get("arguments", "") for item in items])


def check_contents(values: list[Any]) -> None:
    parsed = [google.GenerateContentResponse.model_validate(value) for value in values]
    assert parsed[-1].candidates is not None
    assert parsed[-1].candidates[0].finish_reason == google.FinishReason.MAX_TOKENS
    assert parsed[-1].usage_metadata == parsed[-2].usage_metadata


GENERATE: Final = "streamGenerateContent"
FLASH: Final = "gemini-2.5-flash"
SONNET: Final = "claude-sonnet-4-5"
COMPLETIONS: Final = "chat/completions"
STREAMS: Final = {
    "chat": CutStream("openai", COMPLETIONS, "gpt-4o-mini", ChatCompletions(), CHAT, check_chat),
    "chat, mistral": CutStream(
        "mistral", COMPLETIONS, "mistral-large-latest", ChatCompletions(), CHAT, check_mistral
    ),
    "messages": CutStream("anthropic", "messages", SONNET, Messages(), CHAT, check_message),
    "responses": CutStream(
        "openai",
        "responses",
        "gpt-4o-mini",
        Responses(),
        {"model": "m", "input": "x", "stream": True},
        check_response,
    ),
    "generate": CutStream(
        "google",
        GENERATE,
        FLASH,
        Generate(version="v1beta", method=STREAM),
        CONTENTS,
        check_contents,
    ),
    "generate, array": CutStream(
        "google",
        GENERATE,
        FLASH,
        Generate(version="v1beta", method=STREAM, is_array=True),
        CONTENTS,
        check_contents,
        is_array=True,
    ),
}
every_stream = pytest.mark.parametrize("name", STREAMS)


def passed(stream: CutStream, events: Sequence[bytes], *, is_sliced: bool = True) -> bytes:
    """Return what the client gets of events after which the gateway ends the stream."""
    reading = stream.reading(is_sliced=is_sliced)
    shown = b"".join(map(reading.take, events))
    return shown + reading.cut(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)


@every_stream
@pytest.mark.parametrize("calls_tools", [False, True], ids=["text", "tools"])
def test_stream_that_is_cut_after_any_event_has_valid_end(name: str, calls_tools: bool) -> None:
    stream = STREAMS[name]
    behaviour = Behaviour(content=TEXT, tool_calls=TOOLS if calls_tools else ())
    events = stream.events(behaviour)
    shown = [place for place, event in enumerate(events) if _ends(event)]
    for place in range(2, shown[0]):
        stream.check(stream.values(passed(stream, events[:place])))


def _ends(event: bytes) -> bool:
    """Whether an event has the finish reason, or follows it: there is nothing left to cut."""
    ends = (b'finish_reason":"', b'finishReason":"', b'stop_reason":"', b"response.completed")
    return any(end in event.replace(b'": ', b'":') for end in ends)


@every_stream
def test_half_of_event_is_not_passed_before_end(name: str) -> None:
    stream = STREAMS[name]
    first, second, third, *_ = stream.events(Behaviour(content=TEXT))
    ended = passed(stream, [first, second, third[: len(third) // 2]])
    stream.check(stream.values(ended))
    assert ended == passed(stream, [first, second])


@every_stream
def test_stream_whose_hold_is_whole_has_no_ending(name: str) -> None:
    reading = STREAMS[name].reading(is_sliced=False)
    for event in STREAMS[name].events(Behaviour(content=TEXT))[:3]:
        reading.take(event)
    assert reading.cut(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS) == b""


def test_long_response_ends_without_repeating_its_items() -> None:
    ending = ResponsesEnding()
    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    ending.follow({"type": "response.created", "response": {"id": "r"}, "sequence_number": 0})
    item = {"type": "message", "id": "i", "content": []}
    ending.follow({"type": "response.output_item.added", "output_index": 0, "item": item})
    part = {"type": "output_text", "text": ""}
    ending.follow({"type": "response.content_part.added", "part": part, **place})
    for _ in range(KEPT_MAX_CHARS // 1000 + 1):
        delta = {"type": "response.output_text.delta", "delta": "x" * 1000, **place}
        ending.follow(delta)
    [last] = ending.events(input_tokens=1, output_tokens=2)
    assert (last["type"], last["response"]["output"]) == ("response.incomplete", [])
