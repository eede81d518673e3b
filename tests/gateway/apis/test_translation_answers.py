"""Answers of Anthropic and Google become chat completions, whole or in chunks."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from costs.core.usage import Usage
from gateway.apis.chat.answers import ChatSpeaker
from gateway.apis.generate import answer as generate_answer
from gateway.apis.messages import answer as messages_answer
from gateway.core.calls import CallResult, Completion, Delta, ToolCallDelta
from gateway.core.messages import ToolCall

REQUEST = UUID("01a20f26-9bc3-73c6-a826-3bde5ca1c69b")


def speaker(*, with_usage: bool = False) -> ChatSpeaker:
    return ChatSpeaker(model="asked", request_id=REQUEST, with_usage=with_usage)


def answered(**fields: Any) -> CallResult:
    usual: dict[str, Any] = {"model": "m", "finish_reason": "stop", "usage": None}
    return CallResult(
        request_id=REQUEST,
        provider="google",
        model="answered",
        completion=Completion(**{**usual, **fields}),
        input_tokens=None,
        output_tokens=None,
        cost_eur=Decimal(0),
        latency_ms=1,
    )


def chunks(stream: bytes) -> list[dict[str, Any]]:
    *events, done, rest = stream.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def read_events(reading: Any, *events: dict[str, Any]) -> tuple[list[Delta], Completion]:
    deltas = [delta for event in events for delta in reading.feed(event)]
    return deltas, reading.completion()


# --- reading ----------------------------------------------------------------------------------


def block(kind: str, index: int, **fields: Any) -> dict[str, Any]:
    return {"type": f"content_block_{kind}", "index": index, **fields}


def test_anthropic_streamed_tool_calls_are_parsed() -> None:
    first = {"type": "tool_use", "id": "toolu_1", "name": "a", "input": {}}
    second = {"type": "tool_use", "id": "toolu_2", "name": "b", "input": {}}
    deltas, end = read_events(
        messages_answer.MessagesStreamReader("asked"),
        block("start", 0, content_block={"type": "thinking", "thinking": ""}),
        block("delta", 0, delta={"type": "thinking_delta", "thinking": "Hm"}),
        block("stop", 0),
        block("start", 1, content_block={"type": "text", "text": ""}),
        block("delta", 1, delta={"type": "text_delta", "text": "Let me see"}),
        block("stop", 1),
        block("start", 2, content_block=first),
        block("delta", 2, delta={"type": "input_json_delta", "partial_json": ""}),
        block("delta", 2, delta={"type": "input_json_delta", "partial_json": '{"x":'}),
        block("delta", 2, delta={"type": "input_json_delta", "partial_json": " 1}"}),
        block("stop", 2),
        block("start", 3, content_block=second),
        block("stop", 3),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    )
    assert deltas == [
        Delta("Let me see"),
        Delta(tool_call=ToolCallDelta(index=0, id="toolu_1", name="a")),
        Delta(tool_call=ToolCallDelta(index=0, arguments='{"x":')),
        Delta(tool_call=ToolCallDelta(index=0, arguments=" 1}")),
        Delta(tool_call=ToolCallDelta(index=1, id="toolu_2", name="b")),
        Delta(tool_call=ToolCallDelta(index=1, arguments="{}")),
    ]
    assert end.finish_reason == "tool_calls"


def test_anthropic_answer_has_its_tool_calls() -> None:
    content = [
        {"type": "text", "text": "Let me see"},
        {"type": "tool_use", "id": "toolu_1", "name": "a", "input": {"x": "é"}},
    ]
    answer = messages_answer.completion_from(
        {"content": content, "stop_reason": "tool_use"}, model="asked"
    )
    assert answer.content == "Let me see"
    assert answer.tool_calls == (ToolCall(id="toolu_1", name="a", arguments='{"x":"é"}'),)


def test_google_tool_calls_have_their_signatures() -> None:
    parts = [
        {"text": "Hm", "thought": True},
        {"functionCall": {"name": "a", "args": {"x": 1}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "g2", "name": "b"}},
    ]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    calls = (
        ToolCall(id="", name="a", arguments='{"x":1}', signature="c2ln"),
        ToolCall(id="g2", name="b", arguments="{}"),
    )
    assert generate_answer.completion_from(body, model="asked").tool_calls == calls
    deltas, _ = read_events(generate_answer.GenerateStreamReader("asked"), body)
    assert [delta.tool_call for delta in deltas] == [
        ToolCallDelta(
            index=index,
            id=call.id,
            name=call.name,
            arguments=call.arguments,
            signature=call.signature,
        )
        for index, call in enumerate(calls)
    ]


# --- wording ----------------------------------------------------------------------------------


def test_answer_has_all_fields_that_clients_read() -> None:
    usage = Usage(
        input_uncached=5, cache_read=3, cache_write_5m=2, output_text=4, output_reasoning=6
    )
    body = speaker().whole(answered(content="Hello", usage=usage))
    found = ChatCompletion.model_validate(body, strict=True)
    assert found.model == "answered"
    assert found.choices[0].message.content == "Hello"
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (10, 10)
    assert found.usage.total_tokens == 20
    assert found.usage.prompt_tokens_details is not None
    assert found.usage.prompt_tokens_details.cached_tokens == 3
    assert found.usage.completion_tokens_details is not None
    assert found.usage.completion_tokens_details.reasoning_tokens == 6


def test_calls_have_id_and_keep_their_signature() -> None:
    calls = (
        ToolCall(id="", name="a", arguments="{}", signature="c2ln"),
        ToolCall(id="g2", name="b", arguments="{}"),
    )
    body = speaker().whole(answered(tool_calls=calls))
    ChatCompletion.model_validate(body, strict=True)
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    first, second = choice["message"]["tool_calls"]
    assert first["id"] == f"call_{REQUEST.hex[-24:]}_0"
    assert first["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert (second["id"], "extra_content" in second) == ("g2", False)


def test_stream_starts_with_role_and_ends_with_reason_and_usage() -> None:
    speaking = speaker(with_usage=True)
    usage = Usage(input_uncached=1, output_text=2)
    stream = (
        speaking.piece(Delta("Hel"))
        + speaking.piece(Delta("lo"))
        + speaking.last(answered(usage=usage))
    )
    found = chunks(stream)
    for chunk in found:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    assert [chunk["choices"][0]["delta"] for chunk in found[:3]] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert found[2]["choices"][0]["finish_reason"] == "stop"
    assert found[3]["choices"] == []
    assert found[3]["usage"]["total_tokens"] == 3
    assert {chunk["usage"] for chunk in found[:3]} == {None}


def test_empty_stream_is_answer() -> None:
    (only,) = chunks(speaker().last(answered()))
    assert only["choices"][0]["delta"]["role"] == "assistant"
    assert "usage" not in only


@pytest.mark.parametrize(
    ("vendors", "clients"),
    [
        (None, "stop"),
        ("tool_calls", "stop"),
        ("length", "length"),
        ("continuation", "length"),
        ("content_filter", "content_filter"),
        ("malformed_function_call", "stop"),
    ],
)
def test_finish_reasons_are_those_that_clients_know(vendors: str | None, clients: str) -> None:
    body = speaker().whole(answered(finish_reason=vendors))
    assert body["choices"][0]["finish_reason"] == clients
    (last,) = chunks(speaker().last(answered(finish_reason=vendors)))
    assert last["choices"][0]["finish_reason"] == clients


_CALLS = st.lists(
    st.builds(
        ToolCall,
        id=st.text(max_size=3),
        name=st.text(min_size=1, max_size=5),
        arguments=st.text(max_size=9),
        signature=st.none() | st.just("c2ln"),
    ),
    max_size=3,
)


@given(content=st.text(max_size=20), calls=_CALLS, cut=st.integers(1, 4))
def test_joined_chunks_equal_whole_answer(content: str, calls: list[ToolCall], cut: int) -> None:
    whole = speaker().whole(answered(content=content, tool_calls=tuple(calls)))
    speaking = speaker()
    stream = b"".join(speaking.piece(Delta(letter)) for letter in content)
    for index, call in enumerate(calls):
        begun = ToolCallDelta(index=index, id=call.id, name=call.name, signature=call.signature)
        stream += speaking.piece(Delta(tool_call=begun))
        for start in range(0, len(call.arguments), cut):
            bit = ToolCallDelta(index=index, arguments=call.arguments[start : start + cut])
            stream += speaking.piece(Delta(tool_call=bit))
    found = chunks(stream + speaking.last(answered()))
    message = whole["choices"][0]["message"]
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in found) == content
    put_together: dict[int, dict[str, Any]] = {}
    for chunk in found:
        for piece in chunk["choices"][0]["delta"].get("tool_calls", ()):
            begun_as = {k: v for k, v in piece.items() if k != "index"}
            known = put_together.setdefault(piece["index"], begun_as)
            if known is not begun_as:
                known["function"]["arguments"] += piece["function"]["arguments"]
    assert list(put_together.values()) == message.get("tool_calls", [])
    assert found[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
