"""Asking a vendor once, for an answer whole or in pieces, inside a deadline; failures are ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.errors import Broken, ProviderFailed
from gateway.upstream.failures import Peer
from gateway.upstream.transport import Traffic, noting

logger = logging.getLogger("pulse.providers")

Aside = TypeVar("Aside")

# No model calls as many tools at once.
TOOL_CALLS_MAX: Final = 128


class DeltaReader(Protocol):
    """Reads a streamed answer event by event; pure, one for each answer."""

    def feed(self, event: object) -> tuple[Delta, ...]:
        """Take in one event and return what it adds. Raises ErrorAnswer for an error."""
        ...

    def completion(self) -> Completion:
        """Return what is known of the answer so far."""
        ...


async def whole(
    peer: Peer,
    call: ProviderCall,
    *,
    ask: Callable[[], Awaitable[object]],
    read: Callable[[object], Completion],
) -> Completion:
    """Ask for a whole answer, as JSON, and read it. Raises ProviderFailed."""
    with _failures_of(peer, Traffic()):
        async with asyncio.timeout(call.timeout_s):
            report = await ask()
        completion = _finished(peer, read(report))
    return replace(completion, tool_calls=completion.tool_calls[: tool_calls_at_most(call)])


async def pieces(
    peer: Peer,
    call: ProviderCall,
    *,
    ask: Callable[[], Awaitable[AsyncIterator[object]]],
    reading: DeltaReader,
) -> AsyncGenerator[Delta | Completion, None]:
    """Ask for an answer in events and yield its pieces, then its Completion. Raises ProviderFailed.

    The deadline is the whole stream's. It bounds each wait for the vendor and no `yield`: a
    timeout that spans a `yield` would cancel the consumer.
    """
    deadline = asyncio.get_running_loop().time() + call.timeout_s
    calls_at_most = tool_calls_at_most(call)
    traffic = Traffic()
    try:
        with _failures_of(peer, traffic):
            async with asyncio.timeout_at(deadline):
                events = await ask()
        while True:
            with _failures_of(peer, traffic):
                async with asyncio.timeout_at(deadline):
                    event = await anext(events, None)
                deltas = () if event is None else reading.feed(event)
            if event is None:
                break
            for delta in deltas:
                if delta.tool_call is None or delta.tool_call.index < calls_at_most:
                    yield delta
        yield _finished(peer, reading.completion())
    finally:
        traffic.close()


async def aside(
    peer: Peer,
    *,
    timeout_s: float,
    ask: Callable[[], Awaitable[object]],
    read: Callable[[object], Aside],
) -> Aside | None:
    """Ask for something free beside a call, and return None where it does not come."""
    try:
        with _failures_of(peer, Traffic()):
            async with asyncio.timeout(timeout_s):
                return read(await ask())
    except ProviderFailed as exc:
        logger.info("%s: not told what was asked beside a call: %s", peer.title, exc.code)
        return None


async def checked(peer: Peer, *, timeout_s: float, count: Callable[[], Awaitable[int]]) -> str:
    """Ask for the list of models, which is free, and say what came. Raises ProviderFailed."""
    with _failures_of(peer, Traffic()):
        async with asyncio.timeout(timeout_s):
            models = await count()
    return f"{peer.title} answers and lists {models} models"


def tool_calls_at_most(call: ProviderCall) -> int:
    """Return how many tool calls of an answer count: none where no tool was offered.

    Google cannot be told to call one tool at a time, so where that was asked the first stands.
    """
    if not call.tools:
        return 0
    return 1 if call.parallel_tool_calls is False else TOOL_CALLS_MAX


@contextmanager
def _failures_of(peer: Peer, traffic: Traffic) -> Iterator[None]:
    with peer.failures(traffic), noting(traffic):
        yield


def _finished(peer: Peer, completion: Completion) -> Completion:
    # OpenAI's SDK ends a stream of garbage without an event and without an error.
    is_empty = completion.finish_reason is None and completion.usage is None
    if is_empty and not completion.vectors:
        raise Broken(f'Provider "{peer.title}" gave an answer that cannot be read')
    return completion
