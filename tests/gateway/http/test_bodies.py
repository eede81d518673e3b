"""What a body takes of the budget is returned, however its request ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from gateway.call.runtime import Gateway
from gateway.core.body_budget import (
    CALLER_MAX_BYTES,
    DROPPED_MAX,
    DROPPED_OF_ADDRESS_MAX,
    FREE_BYTES,
    BodyBudget,
)
from gateway.core.errors import Refused
from gateway.http.bodies import ClientDisconnected, IncomingBody
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

    body = IncomingBody({"headers": [(b"transfer-encoding", b"chunked")]}, receive, max_s=0.05)
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
            refused = others.submit(ask, body).result(timeout=120)
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


class _Sent:
    """Bodies of three pieces that are read up to the first until they `may_end`."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.may_end = asyncio.Event()
        self.dropping: list[asyncio.Task[None]] = []

    async def drop(self, address: str) -> None:
        """Begin to drop a body from this address."""
        pieces = 0

        async def receive() -> dict[str, object]:
            nonlocal pieces
            pieces += 1
            self.read.append(address)
            await self.may_end.wait()
            return {"type": "http.request", "body": b"x", "more_body": pieces < 3}

        scope = {"headers": [(b"content-length", b"9")], "client": (address, 1)}
        self.dropping.append(asyncio.create_task(IncomingBody(scope, receive).drop()))
        await asyncio.sleep(0)

    async def end(self) -> None:
        """Let all end."""
        self.may_end.set()
        await asyncio.gather(*self.dropping)


async def test_refused_bodies_are_dropped_few_at_once() -> None:
    sent = _Sent()
    addresses = [f"192.0.2.{number}" for number in range(DROPPED_MAX)]
    for address in (*addresses, "192.0.2.99"):
        await sent.drop(address)
    assert sent.read == addresses
    await sent.end()
    assert len(sent.read) == 3 * DROPPED_MAX
    await sent.drop("192.0.2.99")
    await sent.end()
    assert sent.read.count("192.0.2.99") == 3


async def test_refused_bodies_of_one_address_leave_room_for_others() -> None:
    sent = _Sent()
    for number in range(DROPPED_MAX):
        await sent.drop(f"2001:db8::{number}")
    await sent.drop("192.0.2.1")
    await sent.end()
    assert sent.read.count("192.0.2.1") == 3
    assert len(sent.read) == 3 * (DROPPED_OF_ADDRESS_MAX + 1)
