"""Reported usage through each vendor's SDK, plain or streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from costs.core.usage import Usage
from tests.fake_provider.vendors import Wire, both_ways, every_vendor

# The adapters live as long as the module: they are made to be long-lived.
pytestmark = pytest.mark.asyncio(loop_scope="module")


OPENAI = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
REPORTS = {
    "openai": OPENAI,
    "anthropic": {"input_tokens": 100, "output_tokens": 50},
    "google": {"promptTokenCount": 100, "candidatesTokenCount": 50, "totalTokenCount": 150},
    "mistral": OPENAI,
}


@pytest.mark.parametrize("vendor", ["openai", "google", "mistral"])
@both_ways
async def test_cached_tokens_are_counted_separately(
    wire: Wire, vendor: str, streamed: bool
) -> None:
    wire.fake.answers(input_tokens=100, cached_tokens=64, output_tokens=50)
    usage = (await wire.ask(vendor, streamed=streamed)).usage
    assert usage == Usage(input_uncached=36, cache_read=64, output_text=50, reported_total=150)


@both_ways
async def test_anthropic_cache_reads_and_writes_are_counted_separately(
    wire: Wire, streamed: bool
) -> None:
    wire.fake.answers(
        usage={
            "input_tokens": 10,
            "output_tokens": 50,
            "cache_read_input_tokens": 60,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "service_tier": "priority",
        }
    )
    usage = (await wire.ask("anthropic", streamed=streamed)).usage
    assert usage == Usage(
        input_uncached=10,
        cache_read=60,
        cache_write_5m=10,
        cache_write_1h=20,
        output_text=50,
        service_tier="priority",
    )


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google"])
@both_ways
async def test_reasoning_tokens_are_counted_separately(
    wire: Wire, vendor: str, streamed: bool
) -> None:
    wire.fake.answers(input_tokens=100, output_tokens=50, reasoning_tokens=30)
    usage = (await wire.ask(vendor, streamed=streamed)).usage
    assert usage is not None
    assert (usage.output_text, usage.output_reasoning) == (20, 30)


@both_ways
async def test_reported_tier_is_used(wire: Wire, streamed: bool) -> None:
    wire.fake.answers(service_tier="flex")
    usage = (await wire.ask("openai", streamed=streamed)).usage
    assert usage is not None
    assert usage.service_tier == "flex"


@every_vendor
@both_ways
async def test_reported_model_is_used(wire: Wire, vendor: str, streamed: bool) -> None:
    wire.fake.answers(model="a-dated-snapshot-2024-07-18")
    answer = await wire.ask(vendor, streamed=streamed)
    assert answer.model == "a-dated-snapshot-2024-07-18"


@every_vendor
@both_ways
async def test_answer_without_usage_keeps_its_text(wire: Wire, vendor: str, streamed: bool) -> None:
    wire.fake.answers(no_usage=True)
    answer = await wire.ask(vendor, streamed=streamed)
    assert answer.content == "Say hello to everyone here"
    assert answer.finish_reason == "stop"
    assert answer.usage is None


@every_vendor
@both_ways
async def test_usage_above_cap_is_accepted(wire: Wire, vendor: str, streamed: bool) -> None:
    wire.fake.answers(output_tokens=5000)
    answer = await wire.ask(vendor, streamed=streamed)
    assert answer.usage is not None
    assert answer.usage.output_tokens == 5000


@every_vendor
@both_ways
async def test_invalid_usage_keeps_answer(wire: Wire, vendor: str, streamed: bool) -> None:
    bad = REPORTS[vendor] | {next(iter(REPORTS[vendor])): -5}
    wire.fake.answers(usage=bad)
    answer = await wire.ask(vendor, streamed=streamed)
    assert answer.content == "Say hello to everyone here"
    assert answer.usage is None
    assert answer.raw_usage is not None
    assert bad.items() <= answer.raw_usage.items()


@pytest.mark.parametrize(
    ("vendor", "usage"),
    [
        ("openai", {"prompt_tokens": "many", "completion_tokens": {}}),
        ("anthropic", {"input_tokens": None, "output_tokens": []}),
        ("mistral", {"prompt_tokens": "many", "completion_tokens": {}}),
        ("mistral", {"prompt_tokens": 5}),  # the SDK would make the other 0
        ("mistral", {}),
    ],
)
@both_ways
async def test_mistyped_usage_keeps_answer(
    wire: Wire, vendor: str, usage: dict[str, Any], streamed: bool
) -> None:
    wire.fake.answers(usage=usage)
    answer = await wire.ask(vendor, streamed=streamed)
    assert answer.content == "Say hello to everyone here"
    assert answer.usage is None


@every_vendor
async def test_repeated_usage_counts_once(wire: Wire, vendor: str) -> None:
    wire.fake.answers(usage_twice=True)
    answer = await wire.ask(vendor, streamed=True)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 5)


# --- how answers end --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vendor", "reported", "expected"),
    [
        ("openai", "content_filter", "content_filter"),
        ("openai", "tool_calls", "tool_calls"),
        ("openai", "function_call", "tool_calls"),
        ("anthropic", "stop_sequence", "stop"),
        ("anthropic", "tool_use", "tool_calls"),
        ("anthropic", "refusal", "content_filter"),
        ("anthropic", "pause_turn", "pause_turn"),
        ("google", "SAFETY", "content_filter"),
        ("google", "PROHIBITED_CONTENT", "content_filter"),
        ("google", "LANGUAGE", "content_filter"),
        ("mistral", "model_length", "length"),
        ("mistral", "error", "error"),
    ],
)
@both_ways
async def test_finish_reasons_are_normalized(
    wire: Wire, vendor: str, reported: str, expected: str, streamed: bool
) -> None:
    wire.fake.answers(finish_reason=reported)
    assert (await wire.ask(vendor, streamed=streamed)).finish_reason == expected


@both_ways
async def test_prompt_blocked_by_google_is_content_filter(wire: Wire, streamed: bool) -> None:
    usage = {"promptTokenCount": 9, "totalTokenCount": 9}
    body: Any = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage}
    headers = {}
    if streamed:
        body = f"data: {json.dumps(body)}\n\n"
        headers = {"content-type": "text/event-stream"}
    wire.fake.answers(body=body, headers=headers)
    answer = await wire.ask("google", streamed=streamed)
    assert (answer.content, answer.finish_reason) == ("", "content_filter")
    assert answer.usage == Usage(input_uncached=9, reported_total=9)
