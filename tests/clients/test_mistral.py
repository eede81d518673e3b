"""Mistral's client: chat completions with usage in the last chunk of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mistralai.client import Mistral

from tests.clients.questions import CHAT_TOOL, PROMPT, TWO_CALLS, WORDS, chat_turns
from tests.clients.seen import Seen, of_chat_stream
from tests.clients.targets import EMBEDDERS, MODELS, Target
from tests.system.upstream import Upstream

QUESTION: dict[str, Any] = {"model": MODELS["mistral"], "messages": chat_turns()}


@pytest.fixture
def client(target: Target) -> Iterator[Mistral]:
    with Mistral(api_key=target.key, server_url=target.base_url("mistral")) as opened:
        yield opened


def streamed(client: Mistral, **more: Any) -> list[Any]:
    with client.chat.stream(**QUESTION, **more) as stream:
        return [event.data for event in stream]


def test_chat_is_answered(client: Mistral) -> None:
    answer = client.chat.complete(**QUESTION)
    [choice] = answer.choices
    assert choice.message
    assert (choice.message.content, choice.finish_reason) == (PROMPT, "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (WORDS + 2, WORDS)


def test_last_stream_chunk_always_has_usage(client: Mistral, upstream: Upstream) -> None:
    chunks = streamed(client)
    expected = Seen(
        content=PROMPT,
        finish_reason="stop",
        input_tokens=WORDS + 2,
        output_tokens=WORDS,
        events=WORDS + 2,
    )
    assert [chunk for chunk in chunks if chunk.usage] == chunks[-1:]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert expected == of_chat_stream(chunks)
    [call] = upstream.calls()
    assert call["sent_pieces"] - 1 == len(chunks)


def test_tools_are_called(client: Mistral, upstream: Upstream) -> None:
    upstream.answers({"tool_calls": TWO_CALLS, "times": 2})
    [choice] = client.chat.complete(**QUESTION, tools=[CHAT_TOOL]).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message
    assert [call.id for call in choice.message.tool_calls or []] == ["fakeCall0", "fakeCall1"]
    seen = of_chat_stream(streamed(client, tools=[CHAT_TOOL]))
    assert seen.tools == tuple((call["name"], call["arguments"]) for call in TWO_CALLS)


def test_texts_are_embedded(client: Mistral) -> None:
    answer = client.embeddings.create(model=EMBEDDERS["mistral"], inputs=[PROMPT, "two words"])
    assert len(answer.data) == 2
    assert answer.usage.prompt_tokens == WORDS + 2
