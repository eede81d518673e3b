"""OpenAI's client and chat completions: plain, streamed, tools, images, response schemas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.clients.questions import (
    ANSWER,
    CHAT_IMAGE,
    CHAT_TOOL,
    PARIS,
    PROMPT,
    TWO_CALLS,
    WEATHER,
    WORDS,
    chat_tool_turns,
    chat_turns,
)
from tests.clients.seen import Seen, of_chat, of_chat_stream
from tests.clients.targets import MODELS, Target
from tests.system.upstream import Upstream

MODEL = MODELS["openai"]
USAGE = {"include_usage": True}
# "Be brief" and the prompt come in; the prompt goes out.
ECHO = Seen(content=PROMPT, finish_reason="stop", input_tokens=WORDS + 2, output_tokens=WORDS)


class Weather(BaseModel):
    """The response schema that `.parse` requests."""

    city: str
    unit: str


@pytest.fixture
def client(target: Target) -> Iterator[OpenAI]:
    with OpenAI(base_url=target.base_url("openai"), api_key=target.key, max_retries=0) as opened:
        yield opened


@pytest.fixture
async def async_client(target: Target) -> AsyncIterator[AsyncOpenAI]:
    url = target.base_url("openai")
    async with AsyncOpenAI(base_url=url, api_key=target.key, max_retries=0) as opened:
        yield opened


def streamed(client: OpenAI, **more: Any) -> list[Any]:
    question: dict[str, Any] = {"model": MODEL, "messages": chat_turns(), "stream": True} | more
    return list(client.chat.completions.create(**question))


def test_chat_is_answered(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=chat_turns())
    assert of_chat(answer) == ECHO
    assert answer.model == MODEL
    assert answer.system_fingerprint == "fp_fake"


async def test_chat_is_answered_asynchronously(async_client: AsyncOpenAI) -> None:
    create: Any = async_client.chat.completions.create
    answer = await create(model=MODEL, messages=chat_turns())
    assert of_chat(answer) == ECHO
    stream = await create(model=MODEL, messages=chat_turns(), stream=True, stream_options=USAGE)
    seen = of_chat_stream([chunk async for chunk in stream])
    assert (seen.content, seen.output_tokens) == (PROMPT, WORDS)


def test_requested_stream_usage_is_last_chunk(client: OpenAI) -> None:
    chunks = streamed(client, stream_options=USAGE)
    # The role, each word, the end, and the usage.
    expected = Seen(
        content=PROMPT,
        finish_reason="stop",
        input_tokens=WORDS + 2,
        output_tokens=WORDS,
        events=WORDS + 3,
    )
    assert of_chat_stream(chunks) == expected
    assert chunks[-1].choices == []


def test_stream_without_requested_usage_has_none(client: OpenAI) -> None:
    chunks = streamed(client)
    assert of_chat_stream(chunks) == Seen(content=PROMPT, finish_reason="stop", events=WORDS + 2)
    assert all(chunk.choices for chunk in chunks)
    assert [chunk.usage for chunk in chunks if chunk.usage] == []


def test_several_choices_come_side_by_side(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=chat_turns(), n=2)
    assert [choice.message.content for choice in answer.choices] == [PROMPT, PROMPT]
    assert answer.usage
    assert answer.usage.completion_tokens == 2 * WORDS
    chunks = streamed(client, n=2)
    assert {chunk.choices[0].index for chunk in chunks} == {0, 1}
    assert len(chunks) == 2 * (WORDS + 2)


def test_truncated_answer_has_length_finish_reason(client: OpenAI) -> None:
    chunks = streamed(client, max_completion_tokens=3, stream_options=USAGE)
    seen = of_chat_stream(chunks)
    assert (seen.finish_reason, seen.output_tokens) == ("length", 3)


def test_tools_are_called(client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"tool_calls": TWO_CALLS, "output_tokens": 40})
    answer = client.chat.completions.create(
        model=MODEL,
        messages=chat_turns(),
        tools=[CHAT_TOOL],
        tool_choice="required",
        parallel_tool_calls=True,
    )
    seen = of_chat(answer)
    assert seen.finish_reason == "tool_calls"
    assert seen.tools == tuple((call["name"], call["arguments"]) for call in TWO_CALLS)
    assert seen.output_tokens == 40
    [call] = upstream.calls()
    assert call["body"]["tools"] == [CHAT_TOOL]
    assert call["body"]["tool_choice"] == "required"


def test_tools_are_called_in_fragments(client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"tool_calls": TWO_CALLS})
    chunks = streamed(client, tools=[CHAT_TOOL])
    seen = of_chat_stream(chunks)
    assert seen.finish_reason == "tool_calls"
    assert seen.tools == tuple((call["name"], call["arguments"]) for call in TWO_CALLS)
    [call] = upstream.calls()
    assert len(chunks) > 10
    hidden = int(call["body"].get("stream_options") == USAGE)  # asked for by the gateway alone
    assert len(chunks) == call["sent_pieces"] - 1 - hidden


def test_tool_result_is_sent_back(client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"content": ANSWER})
    answer = client.chat.completions.create(model=MODEL, messages=chat_tool_turns())
    assert of_chat(answer).content == ANSWER
    [call] = upstream.calls()
    assert call["body"]["messages"] == chat_tool_turns()


def test_image_arrives_unchanged(client: OpenAI, upstream: Upstream) -> None:
    turns: Any = [{"role": "user", "content": CHAT_IMAGE}]
    client.chat.completions.create(model=MODEL, messages=turns, max_tokens=50)
    [call] = upstream.calls()
    assert call["body"]["messages"] == turns


def test_answer_is_parsed_into_requested_schema(client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"content": json.dumps(PARIS)})
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=chat_turns(),
        response_format=Weather,
    )
    assert answer.choices[0].message.parsed == Weather(**PARIS)
    [call] = upstream.calls()
    assert call["body"]["response_format"]["json_schema"]["name"] == "Weather"


def test_unknown_fields_are_relayed(client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"extra_fields": {"field_of_tomorrow": {"a": [1, 2]}}})
    asked = {"option_of_tomorrow": {"b": None}}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=chat_turns(),
        seed=7,
        logit_bias={"50256": -100},
        extra_body=asked,
    )
    assert answer.model_extra == {"field_of_tomorrow": {"a": [1, 2]}}
    [call] = upstream.calls()
    assert call["body"]["option_of_tomorrow"] == {"b": None}
    assert (call["body"]["seed"], call["body"]["logit_bias"]) == (7, {"50256": -100})


def test_stream_helper_collects_tool_calls(client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"tool_calls": [WEATHER]})
    question: dict[str, Any] = {"model": MODEL, "messages": chat_turns(), "tools": [CHAT_TOOL]}
    with client.chat.completions.stream(**question) as stream:
        final = stream.get_final_completion()
    [called] = final.choices[0].message.tool_calls or []
    assert json.loads(called.function.arguments) == PARIS
