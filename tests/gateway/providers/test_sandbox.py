"""The sandbox repeats the last user message and counts its tokens."""

from __future__ import annotations

from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.messages import Message
from gateway.core.model_names import Model
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import UsageBound
from gateway.providers import tokens
from gateway.providers.adapters.sandbox import ENCODING, Sandbox
from gateway.providers.vendors import sandbox
from gateway.upstream.http_client import HttpClient
from tests.fake_provider.vendors import ask, both_ways, read


def call(*messages: Message, cap: int | None = None) -> ProviderCall:
    return ProviderCall(
        model="sandbox-small",
        messages=messages,
        max_output_tokens=cap,
        temperature=0.7,
        timeout_s=5.0,
    )


SANDBOX = Sandbox(sandbox(is_on=True), HttpClient())
TALK = (
    Message("system", "Be brief"),
    Message("user", "First"),
    Message("assistant", "Yes?"),
    Message("user", "Say  hello,\nwörld 🌍!"),
)


@both_ways
async def test_last_user_message_is_repeated_unchanged(streamed: bool) -> None:
    answer = await ask(SANDBOX, call(*TALK), streamed=streamed)
    assert answer.content == "Say  hello,\nwörld 🌍!"
    assert answer.finish_reason == "stop"
    assert answer.model == "sandbox-small"


@both_ways
async def test_usage_is_counted(streamed: bool) -> None:
    answer = await ask(SANDBOX, call(*TALK), streamed=streamed)
    model = Model(id="sandbox-small", provider="sandbox", tokenizer=ENCODING)
    usage_bound = UsageBound(texts=tuple(message.content for message in TALK), messages=len(TALK))
    assert answer.usage is not None
    assert answer.usage.input_tokens == tokens.count_tokens(usage_bound, model)
    assert answer.usage.output_tokens == tokens.count(answer.content, ENCODING)
    assert answer.raw_usage == {
        "input_tokens": answer.usage.input_tokens,
        "output_tokens": answer.usage.output_tokens,
    }


@both_ways
async def test_cap_is_applied_and_reported(streamed: bool) -> None:
    answer = await ask(
        SANDBOX, call(Message("user", "one two three four"), cap=2), streamed=streamed
    )
    assert answer.content == "one two"
    assert answer.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 2


async def test_answer_at_cap_is_complete() -> None:
    answer = await SANDBOX.complete(call(Message("user", "one two three four"), cap=4))
    assert answer.content == "one two three four"
    assert answer.finish_reason == "stop"


async def test_stream_is_word_by_word_and_deterministic() -> None:
    async def pieces() -> list[Delta | Completion]:
        return [piece async for piece in SANDBOX.stream(call(*TALK), SeenOutput())]

    first = await pieces()
    assert [piece.content for piece in first] == ["Say  ", "hello,\n", "wörld ", "🌍!", ""]
    assert first == await pieces()


async def test_long_message_is_answered_completely() -> None:
    text = "word " * 50_000
    answer = await SANDBOX.complete(call(Message("user", text)))
    assert answer.content == text


async def test_conversation_without_user_repeats_last_message() -> None:
    answer = await SANDBOX.complete(call(Message("system", "Be brief")))
    assert answer.content == "Be brief"


async def test_stream_can_be_abandoned() -> None:
    stream = SANDBOX.stream(call(*TALK), SeenOutput())
    await anext(stream)
    await stream.aclose()
    content, end = await read(SANDBOX.stream(call(*TALK), SeenOutput()))
    assert content
    assert end.finish_reason == "stop"
