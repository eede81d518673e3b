"""Each adapter asks its vendor what it was told to ask, and nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.core.calls import Completion, Delta, Message
from gateway.core.errors import Rejected
from tests.fake_provider import FOREVER, VENDORS, FakeProvider, closed_port
from tests.fake_provider.vendors import KEYS, MODELS, ask, call_to, opened, opened_all

every_vendor = pytest.mark.parametrize("vendor", VENDORS)
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def server() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def fake(server: FakeProvider) -> FakeProvider:
    server.reset()
    return server


def sent(fake: FakeProvider) -> Any:
    """Return the body of the only call."""
    (call,) = fake.calls
    return call.body


@every_vendor
@both_ways
async def test_an_answer_comes_with_its_text_its_end_and_its_usage(
    fake: FakeProvider, vendor: str, streamed: bool
) -> None:
    async with opened(vendor, fake.base_url(vendor)) as provider:
        answer = await ask(provider, call_to(vendor), streamed=streamed)
    assert answer.content == "Say hello to everyone here"
    assert answer.model == MODELS[vendor]
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 5)
    assert answer.usage.adds_up
    assert answer.raw_usage is not None


@every_vendor
async def test_a_streamed_answer_comes_in_pieces(fake: FakeProvider, vendor: str) -> None:
    async with opened(vendor, fake.base_url(vendor)) as provider:
        pieces = [piece async for piece in provider.stream(call_to(vendor))]
    assert [piece for piece in pieces if isinstance(piece, Completion)] == pieces[-1:]
    assert [piece.content for piece in pieces[:-1] if isinstance(piece, Delta)] == [
        "Say",
        " hello",
        " to",
        " everyone",
        " here",
    ]


@every_vendor
@both_ways
async def test_the_output_cap_is_sent_and_an_answer_that_met_it_says_length(
    fake: FakeProvider, vendor: str, streamed: bool
) -> None:
    async with opened(vendor, fake.base_url(vendor)) as provider:
        answer = await ask(provider, call_to(vendor, max_output_tokens=2), streamed=streamed)
    assert answer.content == "Say hello"
    assert answer.finish_reason == "length"


@every_vendor
async def test_the_key_goes_where_the_vendor_looks_for_it_and_to_no_other_vendor(
    fake: FakeProvider, vendor: str
) -> None:
    async with opened_all(fake) as providers:
        for name in VENDORS:
            await (await providers.get(name)).complete(call_to(name))
    texts = {call.vendor: json.dumps(call.headers) for call in fake.calls}
    assert {name for name, text in texts.items() if KEYS[vendor] in text} == {vendor}


@pytest.mark.parametrize(
    ("vendor", "headers"),
    [
        ("openai", {"authorization": f"Bearer {KEYS['openai']}"}),
        (
            "anthropic",
            {"x-api-key": KEYS["anthropic"], "authorization": f"Bearer {KEYS['anthropic']}"},
        ),
        ("google", {"x-goog-api-key": KEYS["google"]}),
        ("mistral", {"authorization": f"Bearer {KEYS['mistral']}"}),
    ],
)
async def test_only_listed_headers_go_out(
    fake: FakeProvider, vendor: str, headers: dict[str, str]
) -> None:
    async with opened(vendor, fake.base_url(vendor)) as provider:
        await provider.complete(call_to(vendor))
    (call,) = fake.calls
    assert headers.items() <= call.headers.items()
    expected = {"host", "accept", "accept-encoding", "content-type", "content-length", "user-agent"}
    optional = {"anthropic-version", "x-server-timeout"}
    assert expected <= set(call.headers) - set(headers) <= expected | optional


async def test_openai_is_asked_for_the_standard_tier_and_usage_in_the_stream(
    fake: FakeProvider,
) -> None:
    async with opened("openai", fake.base_url("openai")) as provider:
        await ask(provider, call_to("openai", temperature=0.3), streamed=True)
    assert sent(fake) == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "Say hello to everyone here"},
        ],
        "max_tokens": 100,
        "temperature": 0.3,
        "service_tier": "default",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("model", ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5-nano"])
async def test_reasoning_models_get_their_own_name_for_the_cap(
    fake: FakeProvider, model: str
) -> None:
    async with opened("openai", fake.base_url("openai")) as provider:
        await provider.complete(call_to("openai", model=model))
    assert sent(fake)["max_completion_tokens"] == 100
    assert "max_tokens" not in sent(fake)


@pytest.mark.parametrize("model", ["o1-preview", "o1-mini-2024-09-12"])
async def test_the_first_reasoning_models_get_no_system_message_and_no_temperature(
    fake: FakeProvider, model: str
) -> None:
    async with opened("openai", fake.base_url("openai")) as provider:
        await provider.complete(call_to("openai", model=model, temperature=0.3))
    assert [turn["role"] for turn in sent(fake)["messages"]] == ["user", "user"]
    assert "temperature" not in sent(fake)


async def test_anthropic_gets_the_system_message_apart_and_always_a_cap(fake: FakeProvider) -> None:
    messages = (
        Message("system", "Be brief"),
        Message("system", "Be kind"),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "And now?"),
    )
    call = call_to("anthropic", messages=messages, max_output_tokens=None)
    async with opened("anthropic", fake.base_url("anthropic")) as provider:
        await provider.complete(call)
    assert sent(fake) == {
        "model": MODELS["anthropic"],
        "system": "Be brief\n\nBe kind",
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "And now?"},
        ],
        "max_tokens": 4096,
        "service_tier": "standard_only",
    }


@pytest.mark.parametrize(("temperature", "version"), [(None, "2026-10-21"), (0.3, "2023-06-01")])
async def test_anthropic_is_asked_in_the_version_that_takes_a_temperature_only_for_one(
    fake: FakeProvider, temperature: float | None, version: str
) -> None:
    async with opened("anthropic", fake.base_url("anthropic")) as provider:
        await provider.complete(call_to("anthropic", temperature=temperature))
    (call,) = fake.calls
    assert call.headers["anthropic-version"] == version
    assert call.body.get("temperature") == temperature


async def test_anthropic_answers_that_could_take_long_are_asked_without_a_stream_too(
    fake: FakeProvider,
) -> None:
    async with opened("anthropic", fake.base_url("anthropic")) as provider:
        answer = await provider.complete(call_to("anthropic", max_output_tokens=64_000))
    assert answer.finish_reason == "stop"


@both_ways
async def test_google_gets_its_own_roles_and_its_settings_in_one_place(
    fake: FakeProvider, streamed: bool
) -> None:
    messages = (
        Message("system", "Be brief"),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "And now?"),
    )
    async with opened("google", fake.base_url("google")) as provider:
        await ask(
            provider, call_to("google", messages=messages, temperature=0.3), streamed=streamed
        )
    (call,) = fake.calls
    method = "streamGenerateContent?alt=sse" if streamed else "generateContent"
    assert call.path == f"/google/v1beta/models/gemini-2.5-flash:{method}"
    body = dict(call.body)
    assert body.pop("systemInstruction")["parts"] == [{"text": "Be brief"}]
    assert body == {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Hello"}]},
            {"role": "user", "parts": [{"text": "And now?"}]},
        ],
        "generationConfig": {"maxOutputTokens": 100, "temperature": 0.3},
    }


@both_ways
async def test_google_is_not_asked_to_go_on_by_itself(fake: FakeProvider, streamed: bool) -> None:
    candidate = {
        "content": {"role": "model", "parts": [{"text": "so far"}]},
        "finishReason": "CONTINUATION",
        "continuationToken": "bW9yZQ==",
    }
    body: Any = {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 1}}
    headers = {}
    if streamed:
        body = f"data: {json.dumps(body)}\n\n"
        headers = {"content-type": "text/event-stream"}
    fake.answers(body=body, headers=headers, times=FOREVER)
    async with opened("google", fake.base_url("google")) as provider:
        answer = await ask(provider, call_to("google"), streamed=streamed)
    assert answer.finish_reason == "continuation"
    assert len(fake.calls) == 1


@pytest.mark.parametrize("model", ["gemini/../gemini-2.5-pro", "x:countTokens?", "a/b", ""])
async def test_a_google_model_whose_name_leads_elsewhere_is_never_sent(
    fake: FakeProvider, model: str
) -> None:
    async with opened("google", fake.base_url("google")) as provider:
        with pytest.raises(Rejected):
            await provider.complete(call_to("google", model=model))
    assert fake.calls == []


@both_ways
async def test_mistral_is_asked_for_the_standard_tier(fake: FakeProvider, streamed: bool) -> None:
    async with opened("mistral", fake.base_url("mistral")) as provider:
        await ask(provider, call_to("mistral", temperature=0.3), streamed=streamed)
    (call,) = fake.calls
    assert call.path == "/mistral/v1/chat/completions"
    assert call.body["stream"] is streamed
    assert call.body["max_tokens"] == 100
    assert call.body["temperature"] == 0.3
    assert call.body["service_tier"] == "standard_only"


@every_vendor
async def test_calls_share_their_connection(fake: FakeProvider, vendor: str) -> None:
    async with opened(vendor, fake.base_url(vendor)) as provider:
        for streamed in (False, True, False, True, False):
            await ask(provider, call_to(vendor), streamed=streamed)
    assert len({call.client_port for call in fake.calls}) == 1


@every_vendor
async def test_the_environment_changes_nothing(
    fake: FakeProvider, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"http://127.0.0.1:{closed_port()}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, nowhere)
    for name in ("OPENAI", "ANTHROPIC", "GOOGLE", "GEMINI", "MISTRAL"):
        monkeypatch.setenv(f"{name}_API_KEY", "stray")
        monkeypatch.setenv(f"{name}_BASE_URL", nowhere)
        monkeypatch.setenv(f"{name}_CUSTOM_HEADERS", "Authorization: Bearer stray\nx-stray: stray")
    for name in (
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_ADMIN_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_GENAI_API_VERSION",
    ):
        monkeypatch.setenv(name, "stray")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("MISTRAL_SDK_TELEMETRY", "dedicated")
    monkeypatch.setenv("MISTRAL_DEBUG", "1")
    async with opened(vendor, fake.base_url(vendor)) as provider:
        await provider.complete(call_to(vendor))
        await ask(provider, call_to(vendor), streamed=True)
    assert len(fake.calls) == 2
    assert "stray" not in json.dumps([call.headers for call in fake.calls])


@every_vendor
async def test_closing_a_stream_closes_the_connection_to_the_vendor(
    fake: FakeProvider, vendor: str
) -> None:
    fake.answers(endless=True)
    async with opened(vendor, fake.base_url(vendor)) as provider:
        await _read_some_and_close(provider.stream(call_to(vendor)))
        closed_at = time.time()
        call = await asyncio.to_thread(fake.wait_for, lambda call: call.disconnected_at)
    assert call.disconnected_at is not None
    assert call.disconnected_at - closed_at < 1


@every_vendor
async def test_cancelling_a_stream_that_waits_closes_the_connection_to_the_vendor(
    fake: FakeProvider, vendor: str
) -> None:
    fake.answers(stall="body", stall_after_events=2)
    async with opened(vendor, fake.base_url(vendor)) as provider:
        reading = asyncio.create_task(ask(provider, call_to(vendor), streamed=True))
        await asyncio.to_thread(fake.wait_for, lambda call: call.billed)
        await asyncio.sleep(0.1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        cancelled_at = time.time()
        call = await asyncio.to_thread(fake.wait_for, lambda call: call.disconnected_at)
    assert call.disconnected_at is not None
    assert call.disconnected_at - cancelled_at < 1


async def _read_some_and_close(stream: AsyncIterator[Delta | Completion]) -> None:
    seen = 0
    async for _ in stream:
        seen += 1
        if seen == 3:
            break
    await stream.aclose()  # type: ignore[attr-defined]  # the seam says less than it promises


@every_vendor
async def test_a_check_says_that_the_vendor_answers(fake: FakeProvider, vendor: str) -> None:
    async with opened(vendor, fake.base_url(vendor)) as provider:
        line = await provider.check()
    assert "answers and lists" in line
    (call,) = fake.calls
    assert call.billed is None


@every_vendor
async def test_a_check_with_a_refused_key_says_so(fake: FakeProvider, vendor: str) -> None:
    fake.answers(status=401)
    async with opened(vendor, fake.base_url(vendor)) as provider:
        with pytest.raises(Rejected, match="answers 401") as failed:
            await provider.check()
    assert failed.value.provider_status == 401
