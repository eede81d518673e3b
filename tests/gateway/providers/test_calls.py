"""Each adapter sends exactly the given call to its vendor."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.calls import BEGUN, Completion, Delta
from gateway.core.errors import Rejected
from gateway.core.messages import Message
from gateway.core.seen import SeenOutput
from tests.fake_provider import FOREVER, VENDORS
from tests.fake_provider.vendors import (
    KEYS,
    MODELS,
    Wire,
    both_ways,
    call_to,
    every_vendor,
)

# The adapters live as long as the module: they are made to be long-lived.
pytestmark = pytest.mark.asyncio(loop_scope="module")


def sent(wire: Wire) -> Any:
    """Return the body of the only call."""
    (call,) = wire.fake.calls
    return call.body


@every_vendor
@both_ways
async def test_answer_has_text_finish_reason_and_usage(
    wire: Wire, vendor: str, streamed: bool
) -> None:
    answer = await wire.ask(vendor, streamed=streamed)
    assert answer.content == "Say hello to everyone here"
    assert answer.model == MODELS[vendor]
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 5)
    assert answer.usage.adds_up
    assert answer.raw_usage is not None


@every_vendor
async def test_streamed_answer_has_pieces(wire: Wire, vendor: str) -> None:
    provider = await wire.providers.get(wire.providers.vendors[vendor])
    pieces = [piece async for piece in provider.stream(call_to(vendor), SeenOutput())]
    assert [piece for piece in pieces if isinstance(piece, Completion)] == pieces[-1:]
    first, *deltas = [piece for piece in pieces[:-1] if isinstance(piece, Delta)]
    assert first is BEGUN
    assert [delta.content for delta in deltas] == [
        "Say",
        " hello",
        " to",
        " everyone",
        " here",
    ]


@every_vendor
@both_ways
async def test_output_cap_is_sent_and_reached_cap_is_length(
    wire: Wire, vendor: str, streamed: bool
) -> None:
    answer = await wire.ask(vendor, streamed=streamed, max_output_tokens=2)
    assert answer.content == "Say hello"
    assert answer.finish_reason == "length"


@every_vendor
async def test_key_is_sent_only_to_its_vendor_in_its_header(wire: Wire, vendor: str) -> None:
    for name in VENDORS:
        await wire.ask(name, streamed=False)
    texts = {call.vendor: json.dumps(call.headers) for call in wire.fake.calls}
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
async def test_only_listed_headers_are_sent(
    wire: Wire, vendor: str, headers: dict[str, str]
) -> None:
    await wire.ask(vendor, streamed=False)
    (call,) = wire.fake.calls
    assert headers.items() <= call.headers.items()
    expected = {"host", "accept", "accept-encoding", "content-type", "content-length", "user-agent"}
    optional = {"anthropic-version"}
    assert expected <= set(call.headers) - set(headers) <= expected | optional


async def test_openai_request_has_standard_tier_and_stream_usage(
    wire: Wire,
) -> None:
    await wire.ask("openai", streamed=True, temperature=0.3)
    assert sent(wire) == {
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
async def test_reasoning_models_get_max_completion_tokens(wire: Wire, model: str) -> None:
    await wire.ask("openai", streamed=False, model=model)
    assert sent(wire)["max_completion_tokens"] == 100
    assert "max_tokens" not in sent(wire)


@pytest.mark.parametrize("model", ["o1-preview", "o1-mini-2024-09-12"])
async def test_early_reasoning_models_get_no_system_message_or_temperature(
    wire: Wire, model: str
) -> None:
    await wire.ask("openai", streamed=False, model=model, temperature=0.3)
    assert [turn["role"] for turn in sent(wire)["messages"]] == ["user", "user"]
    assert "temperature" not in sent(wire)


async def test_anthropic_gets_separate_system_message_and_cap(wire: Wire) -> None:
    messages = (
        Message("system", "Be brief"),
        Message("system", "Be kind"),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "And now?"),
    )
    await wire.ask("anthropic", streamed=False, messages=messages)
    assert sent(wire) == {
        "model": MODELS["anthropic"],
        "system": "Be brief\n\nBe kind",
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "And now?"},
        ],
        "max_tokens": 100,
        "service_tier": "standard_only",
        "inference_geo": "global",
    }


@pytest.mark.parametrize(("temperature", "version"), [(None, "2026-10-21"), (0.3, "2023-06-01")])
async def test_anthropic_temperature_selects_older_version(
    wire: Wire, temperature: float | None, version: str
) -> None:
    await wire.ask("anthropic", streamed=False, temperature=temperature)
    (call,) = wire.fake.calls
    assert call.headers["anthropic-version"] == version
    assert call.body.get("temperature") == temperature


async def test_anthropic_long_answers_can_be_unstreamed(
    wire: Wire,
) -> None:
    answer = await wire.ask("anthropic", streamed=False, max_output_tokens=64_000)
    assert answer.finish_reason == "stop"


@both_ways
async def test_google_gets_its_roles_and_config(wire: Wire, streamed: bool) -> None:
    messages = (
        Message("system", "Be brief"),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "And now?"),
    )
    await wire.ask("google", streamed=streamed, messages=messages, temperature=0.3)
    (call,) = wire.fake.calls
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
async def test_google_automatic_function_calling_is_off(wire: Wire, streamed: bool) -> None:
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
    wire.fake.answers(body=body, headers=headers, times=FOREVER)
    answer = await wire.ask("google", streamed=streamed)
    assert answer.finish_reason == "continuation"
    assert len(wire.fake.calls) == 1


@pytest.mark.parametrize("model", ["gemini/../gemini-2.5-pro", "x:countTokens?", "a/b", ""])
async def test_google_model_name_with_path_is_not_sent(wire: Wire, model: str) -> None:
    with pytest.raises(Rejected):
        await wire.ask("google", streamed=False, model=model)
    assert wire.fake.calls == []


@both_ways
async def test_mistral_request_has_standard_tier(wire: Wire, streamed: bool) -> None:
    await wire.ask("mistral", streamed=streamed, temperature=0.3)
    (call,) = wire.fake.calls
    assert call.path == "/mistral/v1/chat/completions"
    assert call.body["stream"] is streamed
    assert call.body["max_tokens"] == 100
    assert call.body["temperature"] == 0.3
    assert call.body["service_tier"] == "standard_only"
