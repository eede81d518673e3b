"""Anthropic's client: messages, their stream, tools, thinking, caches and counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.clients.questions import ANTHROPIC_TOOL, PARIS, PIXEL, PROMPT, TWO_CALLS, WORDS
from tests.clients.seen import Seen, of_message
from tests.clients.targets import MODELS, Target
from tests.system.upstream import Upstream

QUESTION: dict[str, Any] = {
    "model": MODELS["anthropic"],
    "max_tokens": 100,
    "system": "Be brief",
    "messages": [{"role": "user", "content": PROMPT}],
}
ECHO = Seen(content=PROMPT, finish_reason="end_turn", input_tokens=WORDS + 2, output_tokens=WORDS)


@pytest.fixture
def client(target: Target) -> Iterator[Anthropic]:
    with Anthropic(
        base_url=target.base_url("anthropic"), api_key=target.key, max_retries=0
    ) as opened:
        yield opened


@pytest.fixture
async def async_client(target: Target) -> AsyncIterator[AsyncAnthropic]:
    url = target.base_url("anthropic")
    async with AsyncAnthropic(base_url=url, api_key=target.key, max_retries=0) as opened:
        yield opened


def test_message_is_answered(client: Anthropic) -> None:
    assert of_message(client.messages.create(**QUESTION)) == ECHO


async def test_message_is_answered_asynchronously(async_client: AsyncAnthropic) -> None:
    assert of_message(await async_client.messages.create(**QUESTION)) == ECHO
    async with async_client.messages.stream(**QUESTION) as stream:
        assert "".join([text async for text in stream.text_stream]) == PROMPT
        assert of_message(await stream.get_final_message()) == ECHO


def test_stream_events_arrive_one_by_one(client: Anthropic, upstream: Upstream) -> None:
    events = list(client.messages.create(**QUESTION, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert kinds.count("content_block_delta") == WORDS
    [call] = upstream.calls()
    # The client keeps pings to itself.
    assert len(events) == call["sent_pieces"] - 1


def test_tools_are_used_plain_and_in_fragments(client: Anthropic, upstream: Upstream) -> None:
    upstream.answers({"tool_calls": TWO_CALLS, "output_tokens": 40, "times": 2})
    plain = of_message(client.messages.create(**QUESTION, tools=[ANTHROPIC_TOOL]))
    assert plain.finish_reason == "tool_use"
    assert plain.tools == tuple((call["name"], call["arguments"]) for call in TWO_CALLS)
    with client.messages.stream(**QUESTION, tools=[ANTHROPIC_TOOL]) as stream:
        assert of_message(stream.get_final_message()) == plain
    [_, call] = upstream.calls()
    assert call["body"]["tools"] == [ANTHROPIC_TOOL]


def test_tool_result_and_image_arrive_unchanged(client: Anthropic, upstream: Upstream) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    turns = [
        {"role": "user", "content": [{"type": "image", "source": source}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": PARIS}
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "21"}],
        },
    ]
    client.messages.create(**QUESTION | {"messages": turns, "tools": [ANTHROPIC_TOOL]})
    [call] = upstream.calls()
    assert call["body"]["messages"] == turns


def test_thinking_precedes_text(client: Anthropic, upstream: Upstream) -> None:
    upstream.answers({"thinking": "Whom to greet?", "reasoning_tokens": 3, "output_tokens": 9})
    question = QUESTION | {
        "max_tokens": 2000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    with client.messages.stream(**question) as stream:
        message = stream.get_final_message()
    thought, text = message.content
    assert thought.type == "thinking"
    assert (thought.thinking, thought.signature) == ("Whom to greet?", "c2lnbmVk")
    assert text.type == "text"
    assert message.usage.output_tokens == 9


def test_cache_token_split_is_reported(client: Anthropic, upstream: Upstream) -> None:
    upstream.answers({"input_tokens": 100, "cached_tokens": 30, "cache_write_tokens": 20})
    usage = client.messages.create(**QUESTION).usage
    assert usage.input_tokens == 50
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (30, 20)
    assert usage.cache_creation
    assert usage.cache_creation.ephemeral_5m_input_tokens == 20


def test_tokens_are_counted(client: Anthropic, upstream: Upstream) -> None:
    question = {name: value for name, value in QUESTION.items() if name != "max_tokens"}
    assert client.messages.count_tokens(**question).input_tokens == WORDS + 2
    [call] = upstream.calls()
    assert call["path"].partition("?")[0] == "/anthropic/v1/messages/count_tokens"
    assert call["billed"] is None
