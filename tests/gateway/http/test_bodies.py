"""What a body takes of the budget is returned, however its request ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from gateway.call.runtime import Gateway
from gateway.core.body_budget import CALLER_MAX_BYTES, FREE_BYTES, BodyBudget
from gateway.core.errors import Refused
from gateway.http.bodies import DROPPING_MAX, ClientDisconnected, IncomingBody
from orgs.models import ApiKey
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until

SHARE: Final = 100_000
SHARES: Final = {"caller": SHARE}
LARGE: Final = b"a" * (FREE_BYTES + 1)


class _Failed(Exception):
    """What the work with a body raised."""


async def _end(how: str, budget: BodyBudget) -> None:
    """Receive a body whose request ends in one way."""
    messages: list[Mapping[str, Any]] = [
        {"type": "http.request", "body": LARGE, "more_body": how != "whole" and how != "failed"},
        *([{"type": "http.disconnect"}] if how == "left" else []),
        *([{"type": "http.request", "body": LARGE, "more_body": True}] if how == "large" else []),
        *([{"type": "http.request", "body": LARGE * 2}] if how == "refused" else []),
    ]
    received = iter(messages)

    async def receive() -> Mapping[str, Any]:
        found = next(received, None)
        if found is None:
            assert not budget.take(SHARE, SHARES)  # the first piece is counted
            await asyncio.Event().wait()
        return found or {}

    body = IncomingBody([(b"transfer-encoding", b"chunked")], receive, max_s=0.05)
    max_bytes = len(LARGE) if how == "large" else 10**9
    async with body.received(max_bytes=max_bytes, budget=budget, shares=SHARES) as whole:
        assert whole == LARGE
        assert not budget.take(SHARE, SHARES)
        if how == "failed":
            raise _Failed


ENDS: Final = {
    "whole": None,
    "failed": _Failed,
    "left": ClientDisconnected,
    "large": Refused,
    "refused": Refused,
    "late": Refused,
}


@pytest.mark.parametrize("how", ENDS)
async def test_bytes_are_returned_however_request_ends(how: str) -> None:
    budget, expected = BodyBudget(), ENDS[how]
    if expected is None:
        await _end(how, budget)
    else:
        with pytest.raises(expected):
            await _end(how, budget)
    assert budget.take(SHARE, SHARES)


async def test_bytes_are_returned_when_request_is_cancelled() -> None:
    budget = BodyBudget()
    receiving = asyncio.create_task(_end("cancelled", budget))
    await asyncio.sleep(0)
    assert not budget.take(SHARE, SHARES)
    receiving.cancel()
    await asyncio.wait([receiving])
    assert receiving.cancelled()
    assert budget.take(SHARE, SHARES)


@pytest.mark.django_db(transaction=True)
def test_body_is_counted_until_its_call_ends(ask: Asking, gateway: Gateway) -> None:
    body = {"model": "sandbox-small", "prompt": "a" * 80_000}
    shares = {ApiKey.objects.get().pk: CALLER_MAX_BYTES}
    assert gateway.bodies.take(CALLER_MAX_BYTES - SHARE, shares)
    gateway.providers = Only(provider := StandIn(waits=True))
    with ThreadPoolExecutor(2) as others:
        running = others.submit(ask, body)
        try:
            until(lambda: provider.asked)
            refused = others.submit(ask, body).result(timeout=20)
        finally:
            provider.may_end.set()
        assert running.result().status == 200
    assert refused.refusal[:2] == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    until(lambda: not gateway.tasks)
    assert ask(body).status == 200
    until(lambda: not gateway.tasks)
    assert gateway.bodies.take(SHARE, shares)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", ["no-such-model", "sandbox-small"])
def test_ended_and_refused_calls_return_their_bytes(
    ask: Asking, gateway: Gateway, model: str
) -> None:
    for _ in range(2):
        ask({"model": model, "prompt": "a" * 80_000})
    until(lambda: not gateway.tasks)
    assert gateway.bodies.take(CALLER_MAX_BYTES, {ApiKey.objects.get().pk: CALLER_MAX_BYTES})


async def test_refused_bodies_are_dropped_few_at_once() -> None:
    read: list[int] = []
    may_end = asyncio.Event()

    def body(number: int) -> IncomingBody:
        async def receive() -> dict[str, object]:
            read.append(number)
            await may_end.wait()
            return {"type": "http.request", "body": b"x", "more_body": read.count(number) < 3}

        return IncomingBody([(b"content-length", b"9")], receive)

    first = [asyncio.create_task(body(number).drop()) for number in range(DROPPING_MAX)]
    await asyncio.sleep(0)
    await body(DROPPING_MAX).drop()
    assert sorted(read) == list(range(DROPPING_MAX))
    may_end.set()
    await asyncio.gather(*first)
    assert len(read) == 3 * DROPPING_MAX
    await body(DROPPING_MAX).drop()
    assert read.count(DROPPING_MAX) == 3
