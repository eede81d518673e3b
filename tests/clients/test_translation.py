"""OpenAI's client with other vendors' models: each request is translated to the vendor's format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.clients.questions import (
    ANSWER,
    CHAT_FORMAT,
    CHAT_IMAGE,
    CHAT_TOOL,
    PARAMETERS,
    PARIS,
    PIXEL,
    PROMPT,
    TWO_CALLS,
    WORDS,
    chat_tool_turns,
    chat_turns,
)
from tests.clients.seen import Seen, of_chat, of_chat_stream
from tests.clients.targets import MODELS, Target
from tests.clients.vendor_forms import (
    TRANSLATED,
    assert_is_the_vendors,
    choice_in,
    image_in,
    knobs_in,
    schema_in,
    tool_answer_in,
    tool_in,
)
from tests.system.upstream import Upstream

EVERY = pytest.mark.parametrize("vendor", TRANSLATED)
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
CALLED = tuple((call["name"], call["arguments"]) for call in TWO_CALLS)
ERRORS: dict[int, type[Exception]] = {
    400: openai.BadRequestError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    529: openai.InternalServerError,
}


class Weather(BaseModel):
    """The response schema that `.parse` requests."""

    city: str
    unit: str


@pytest.fixture
def client(gateway: Target) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url("openai"), api_key=gateway.key, max_retries=0) as opened:
        yield opened


def ask(client: OpenAI, vendor: str, *, streamed: bool = False, **more: Any) -> Seen:
    question: dict[str, Any] = {"model": MODELS[vendor], "messages": chat_turns()} | more
    if not streamed:
        return of_chat(client.chat.completions.create(**question))
    chunks = client.chat.completions.create(
        **question, stream=True, stream_options={"include_usage": True}
    )
    return of_chat_stream(list(chunks))


def without_events(seen: Seen) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in Seen.__slots__ if name != "events"}


@EVERY
@BOTH_WAYS
def test_chat_is_answered(streamed: bool, vendor: str, client: OpenAI, upstream: Upstream) -> None:
    seen = ask(client, vendor, streamed=streamed)
    echo = Seen(content=PROMPT, finish_reason="stop", input_tokens=WORDS + 2, output_tokens=WORDS)
    assert without_events(seen) == without_events(echo)
    if streamed:
        assert seen.events > WORDS
    [call] = upstream.calls()
    assert call["vendor"] == vendor
    assert_is_the_vendors(vendor, call)


@EVERY
def test_stream_without_requested_usage_has_none(vendor: str, client: OpenAI) -> None:
    question: dict[str, Any] = {"model": MODELS[vendor], "messages": chat_turns()}
    chunks = list(client.chat.completions.create(**question, stream=True))
    seen = of_chat_stream(chunks)
    assert (seen.content, seen.finish_reason) == (PROMPT, "stop")
    if vendor != "mistral":  # whose streams are relayed, and have it anyhow
        assert seen.output_tokens is None
        assert all(chunk.choices for chunk in chunks)


@BOTH_WAYS
def test_sandbox_answers(streamed: bool, client: OpenAI, upstream: Upstream) -> None:
    seen = ask(client, "sandbox", streamed=streamed)
    assert (seen.content, seen.finish_reason) == (PROMPT, "stop")
    assert seen.input_tokens
    assert seen.output_tokens
    assert upstream.calls() == []


@EVERY
@BOTH_WAYS
def test_tools_are_called(streamed: bool, vendor: str, client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"tool_calls": TWO_CALLS, "output_tokens": 40})
    seen = ask(client, vendor, streamed=streamed, tools=[CHAT_TOOL], tool_choice="required")
    assert (seen.finish_reason, seen.tools, seen.output_tokens) == ("tool_calls", CALLED, 40)
    [call] = upstream.calls()
    assert_is_the_vendors(vendor, call)
    name, parameters = tool_in(vendor, call["body"])
    assert name == "get_weather"
    assert set(parameters["properties"]) == {"city", "unit"}
    assert choice_in(vendor, call["body"]) in {"any", "ANY", "required"}


@EVERY
def test_text_can_precede_tool_call(vendor: str, client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"content": ANSWER, "tool_calls": TWO_CALLS, "times": 2})
    for streamed in (False, True):
        seen = ask(client, vendor, streamed=streamed, tools=[CHAT_TOOL])
        assert (seen.content, seen.tools) == (ANSWER, CALLED)


@EVERY
def test_tool_result_is_sent_back(vendor: str, client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"content": ANSWER})
    seen = ask(client, vendor, messages=chat_tool_turns(), tools=[CHAT_TOOL])
    assert seen.content == ANSWER
    [call] = upstream.calls()
    assert_is_the_vendors(vendor, call)
    answered = {"google": "get_weather"}.get(vendor, "fakeCall0")
    assert tool_answer_in(vendor, call["body"]) == (answered, "21")


@EVERY
def test_image_is_sent_to_vendor(vendor: str, client: OpenAI, upstream: Upstream) -> None:
    ask(client, vendor, messages=[{"role": "user", "content": CHAT_IMAGE}])
    [call] = upstream.calls()
    assert_is_the_vendors(vendor, call)
    assert image_in(vendor, call["body"]) == ("image/png", PIXEL)


@EVERY
def test_response_schema_is_sent_to_vendor(vendor: str, client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"content": json.dumps(PARIS), "times": 2})
    seen = ask(client, vendor, response_format=CHAT_FORMAT)
    assert json.loads(seen.content) == PARIS
    [call] = upstream.calls()
    assert_is_the_vendors(vendor, call)
    assert set(schema_in(vendor, call["body"])["properties"]) == set(PARAMETERS["properties"])
    parsed = client.chat.completions.parse(
        model=MODELS[vendor], messages=chat_turns(), response_format=Weather
    )
    assert parsed.choices[0].message.parsed == Weather(**PARIS)


@EVERY
@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
def test_sampling_settings_are_sent_to_vendor(
    cap: str, vendor: str, client: OpenAI, upstream: Upstream
) -> None:
    more: dict[str, Any] = {cap: 50, "temperature": 0.5, "stop": ["END"]}
    ask(client, vendor, **more)
    [call] = upstream.calls()
    assert_is_the_vendors(vendor, call)
    assert knobs_in(vendor, call["body"]) == {"cap": 50, "temperature": 0.5, "stop": ["END"]}


@EVERY
@BOTH_WAYS
def test_truncated_answer_has_length_finish_reason(
    streamed: bool, vendor: str, client: OpenAI
) -> None:
    seen = ask(client, vendor, streamed=streamed, max_completion_tokens=3)
    assert (seen.finish_reason, seen.output_tokens) == ("length", 3)


def test_separately_counted_tokens_are_in_totals(client: OpenAI, upstream: Upstream) -> None:
    upstream.answers(
        {"input_tokens": 100, "cached_tokens": 30, "cache_write_tokens": 20},
        {"output_tokens": 9, "reasoning_tokens": 3},
    )
    create = client.chat.completions.create
    usage = create(model=MODELS["anthropic"], messages=chat_turns()).usage
    assert usage
    assert usage.prompt_tokens == 100
    assert usage.prompt_tokens_details
    assert usage.prompt_tokens_details.cached_tokens == 30
    usage = create(model=MODELS["google"], messages=chat_turns()).usage
    assert usage
    assert usage.completion_tokens == 9
    assert usage.completion_tokens_details
    assert usage.completion_tokens_details.reasoning_tokens == 3


@EVERY
@BOTH_WAYS
@pytest.mark.parametrize("status", ERRORS)
def test_vendor_error_is_raised(
    status: int, streamed: bool, vendor: str, client: OpenAI, upstream: Upstream
) -> None:
    upstream.answers({"status": status})
    with pytest.raises(ERRORS[status], match=f"The fake provider answers {status}"):
        ask(client, vendor, streamed=streamed)
    assert len(upstream.calls()) == 1
