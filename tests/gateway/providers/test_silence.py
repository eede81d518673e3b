"""A vendor that falls silent is noticed by its own time limits, through its SDK."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.errors import TimedOut
from gateway.core.providers import USUAL, TimeLimits
from tests.fake_provider import FakeProvider
from tests.fake_provider.vendors import ask, both_ways, call_to, every_vendor, opened

SHORT_S = 0.5
# Of an answer that is never silent for so long, on a busy machine either.
LIMIT_S = 2.0
DRIP_S = 0.2
WORDS = " ".join(["and"] * 12)
FAR_S = 600.0
TITLES = {"openai": "OpenAI", "anthropic": "Anthropic", "google": "Google", "mistral": "Mistral"}


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


async def _failure(
    fake: FakeProvider, vendor: str, limits: TimeLimits, *, streamed: bool
) -> TimedOut:
    async with opened(vendor, fake.base_url(vendor), limits) as provider:
        with pytest.raises(TimedOut) as failed:
            await ask(provider, call_to(vendor, timeout_s=FAR_S), streamed=streamed)
        await asyncio.to_thread(fake.wait_for, lambda call: call.disconnected_at)
    assert not failed.value.nothing_billed
    assert len(fake.calls) == 1
    return failed.value


@every_vendor
@both_ways
async def test_vendor_that_does_not_answer_has_timed_out(
    fake: FakeProvider, vendor: str, streamed: bool
) -> None:
    fake.answers(stall="headers")
    failure = await _failure(fake, vendor, TimeLimits(first_byte_s=SHORT_S), streamed=streamed)
    title = TITLES[vendor]
    assert failure.message == f'Provider "{title}" did not begin to answer within 0.5 s'


@every_vendor
@both_ways
async def test_vendor_that_falls_silent_has_timed_out(
    fake: FakeProvider, vendor: str, streamed: bool
) -> None:
    fake.answers(stall="body", stall_after_events=2 if streamed else 1, drip_s=0.01)
    failure = await _failure(fake, vendor, TimeLimits(idle_s=SHORT_S), streamed=streamed)
    assert failure.message == f'Provider "{TITLES[vendor]}" sent nothing for 0.5 s'
    assert failure.provider_status == 200


@every_vendor
@both_ways
async def test_slow_vendor_that_is_never_silent_answers(
    fake: FakeProvider, vendor: str, streamed: bool
) -> None:
    limits = replace(USUAL, first_byte_s=LIMIT_S, idle_s=LIMIT_S)
    # A plain answer has eight pieces.
    drip_s = DRIP_S if streamed else LIMIT_S / 7
    fake.answers(drip_s=drip_s, content=WORDS)
    async with opened(vendor, fake.base_url(vendor), limits) as provider:
        began_at = time.monotonic()
        answer = await ask(provider, call_to(vendor), streamed=streamed)
    assert time.monotonic() - began_at > LIMIT_S
    assert (answer.content, answer.finish_reason is not None) == (WORDS, True)


@every_vendor
async def test_pings_are_life(fake: FakeProvider, vendor: str) -> None:
    ping: dict[str, Any] = {"extra_events": (": ping\n\n",) * 12}
    fake.answers(drip_s=DRIP_S, content="hello", **ping)
    async with opened(vendor, fake.base_url(vendor), TimeLimits(idle_s=LIMIT_S)) as provider:
        assert (await ask(provider, call_to(vendor), streamed=True)).content == "hello"
