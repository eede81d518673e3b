"""Call a vendor's SDK once, whole or streamed, within a deadline; translate its failures."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from gateway.apis.events import StreamReader
from gateway.core.calls import BEGUN, Completion, Delta, ProviderCall
from gateway.core.errors import Broken, FailedAnswer, ProviderFailed
from gateway.core.seen import SeenOutput
from gateway.upstream.failures import Peer
from gateway.upstream.returned_headers import returned
from gateway.upstream.transport import Traffic, noting

logger = logging.getLogger("pulse.providers")

Aside = TypeVar("Aside")

EVENTS_TYPE: Final = "text/event-stream"
# Above what any model calls at once.
TOOL_CALLS_MAX: Final = 128


class DeltaReader(StreamReader, Protocol):
    """Parse a streamed answer event by event; pure, one instance per answer."""

    def feed(self, event: object) -> tuple[Delta, ...]:
        """Parse one event and return its deltas. Raises ErrorAnswer for an error."""
        ...


class WholeReader(Protocol):
    """Parse a whole answer of a model; pure."""

    def __call__(self, report: object, *, model: str) -> Completion:
        """Parse the JSON of the answer. Raises ErrorAnswer for an error."""
        ...


async def whole(
    peer: Peer,
    call: ProviderCall,
    *,
    ask: Callable[[ProviderCall], Awaitable[object]],
    read: WholeReader,
) -> Completion:
    """Request a whole answer as JSON and parse it. Raises ProviderFailed."""
    traffic = Traffic()
    with _failures_of(peer, traffic):
        async with asyncio.timeout(call.timeout_s):
            report = await ask(call)
        completion = _finished(peer, read(report, model=call.model), traffic)
    calls = completion.tool_calls[: tool_calls_at_most(call)]
    named = (
        replace(
            each,
            name=call.tool_names.get(each.name, each.name),
            arguments=peer.without_key(each.arguments),
        )
        for each in calls
    )
    content = peer.without_key(completion.content)
    return replace(completion, content=content, tool_calls=tuple(named))


async def pieces(
    peer: Peer,
    call: ProviderCall,
    *,
    ask: Callable[[ProviderCall], Awaitable[AsyncIterator[object]]],
    reading: DeltaReader,
    seen: SeenOutput,
) -> AsyncGenerator[Delta | Completion, None]:
    """Request a streamed answer and yield its Deltas, then its Completion. Raises ProviderFailed.

    The first is BEGUN, when the vendor has begun a stream.

    The deadline is the whole stream's. It bounds each wait for the vendor and no `yield`: a
    timeout that spans a `yield` would cancel the consumer. What happens after the final usage
    changes nothing: everything is known.
    """
    deadline = asyncio.get_running_loop().time() + call.timeout_s
    calls_at_most = tool_calls_at_most(call)
    traffic = Traffic()
    try:
        with _failures_of(peer, traffic):
            async with asyncio.timeout_at(deadline):
                events = await ask(call)
        if traffic.answers and traffic.answers[-1].content_type == EVENTS_TYPE:
            yield BEGUN
        while True:
            with _failures_of(peer, traffic):
                try:
                    async with asyncio.timeout_at(deadline):
                        event = await anext(events, None)
                except (Exception, asyncio.CancelledError):
                    if not seen.is_final:
                        raise
                    event = None
                if event is None:
                    break
                seen.arrive(time.monotonic())
                reading.see(event, seen)
                deltas = reading.feed(event)
            for delta in deltas:
                if delta.tool_call is None or delta.tool_call.index < calls_at_most:
                    yield _named(_without_key(delta, peer), call)
        completion = reading.completion()
        if completion.finish_reason is None:  # in every API an answer ends with one
            raise Broken(peer.broke_off(""))
        yield _finished(peer, completion, traffic)
    finally:
        traffic.close()


async def aside(
    peer: Peer,
    *,
    timeout_s: float,
    ask: Callable[[], Awaitable[object]],
    read: Callable[[object], Aside],
) -> Aside | None:
    """Request something free besides a call; return None if that fails."""
    try:
        with _failures_of(peer, Traffic()):
            async with asyncio.timeout(timeout_s):
                return read(await ask())
    except ProviderFailed as exc:
        logger.info("%s: a free request besides a call failed: %s", peer.title, exc.code)
        return None


def tool_calls_at_most(call: ProviderCall) -> int:
    """Return how many tool calls of an answer are kept: none if no tool was given.

    Google has no option to call one tool at a time, so if that was requested the first is kept.
    """
    if not call.tools:
        return 0
    return 1 if call.parallel_tool_calls is False else TOOL_CALLS_MAX


def _without_key(delta: Delta, peer: Peer) -> Delta:
    content = peer.without_key(delta.content)
    return delta if content == delta.content else replace(delta, content=content)


def _named(delta: Delta, call: ProviderCall) -> Delta:
    """Return a delta with the caller's own name of a tool."""
    piece = delta.tool_call
    own = None if piece is None or piece.name is None else call.tool_names.get(piece.name)
    if piece is None or own is None:
        return delta
    return replace(delta, tool_call=replace(piece, name=own))


@contextmanager
def _failures_of(peer: Peer, traffic: Traffic) -> Iterator[None]:
    with peer.failures(traffic), noting(traffic):
        yield


def _finished(peer: Peer, completion: Completion, traffic: Traffic) -> Completion:
    # OpenAI's SDK ends an invalid stream without an event and without an error.
    is_empty = completion.finish_reason is None and completion.usage is None
    if is_empty and not completion.vectors:
        raise Broken(f'Provider "{peer.title}" returned an answer that cannot be read')
    headers = returned(traffic.answers[-1].headers, peer.hidden) if traffic.answers else {}
    completion = replace(completion, headers=headers)
    if completion.failed:
        reason = peer.shown(completion.finish_reason or "").upper()
        sentence = f'Provider "{peer.title}" ended its answer with the error {reason}'
        raise FailedAnswer(sentence, completion=completion)
    return completion
