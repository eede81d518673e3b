"""Asking a vendor once, for an answer whole or in pieces, inside a deadline; failures are ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from gateway.core.calls import Completion, Delta
from gateway.core.errors import Broken
from gateway.providers.failures import Peer
from gateway.providers.transport import Traffic, noting


class Reading(Protocol):
    """Reads a streamed answer event by event; pure, one for each answer."""

    def feed(self, event: object) -> str:
        """Take in one event and return the text that it adds. Raises ErrorAnswer for an error."""
        ...

    def completion(self) -> Completion:
        """Return what is known of the answer so far."""
        ...


async def whole(
    peer: Peer,
    *,
    timeout_s: float,
    ask: Callable[[], Awaitable[object]],
    read: Callable[[object], Completion],
) -> Completion:
    """Ask for a whole answer, as JSON, and read it. Raises ProviderFailed."""
    with _failures_of(peer, Traffic()):
        async with asyncio.timeout(timeout_s):
            report = await ask()
        return _finished(peer, read(report))


async def pieces(
    peer: Peer,
    *,
    timeout_s: float,
    ask: Callable[[], Awaitable[AsyncIterator[object]]],
    reading: Reading,
) -> AsyncGenerator[Delta | Completion, None]:
    """Ask for an answer in events and yield its text, then its Completion. Raises ProviderFailed.

    The deadline is the whole stream's. It bounds each wait for the vendor and no `yield`: a
    timeout that spans a `yield` would cancel the consumer.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    traffic = Traffic()
    try:
        with _failures_of(peer, traffic):
            async with asyncio.timeout_at(deadline):
                events = await ask()
        while True:
            with _failures_of(peer, traffic):
                async with asyncio.timeout_at(deadline):
                    event = await anext(events, None)
                text = "" if event is None else reading.feed(event)
            if event is None:
                break
            if text:
                yield Delta(text)
        yield _finished(peer, reading.completion())
    finally:
        traffic.close()


async def checked(peer: Peer, *, timeout_s: float, count: Callable[[], Awaitable[int]]) -> str:
    """Ask for the list of models, which is free, and say what came. Raises ProviderFailed."""
    with _failures_of(peer, Traffic()):
        async with asyncio.timeout(timeout_s):
            models = await count()
    return f"{peer.title} answers and lists {models} models"


@contextmanager
def _failures_of(peer: Peer, traffic: Traffic) -> Iterator[None]:
    with peer.failures(traffic), noting(traffic):
        yield


def _finished(peer: Peer, completion: Completion) -> Completion:
    # OpenAI's SDK ends a stream of garbage without an event and without an error.
    if completion.finish_reason is None and completion.usage is None:
        raise Broken(f'Provider "{peer.title}" gave an answer that cannot be read')
    return completion
