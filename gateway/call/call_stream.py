"""The bounded channel between a running call and its waiting client."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from gateway.core.calls import CallResult, Delta
from gateway.core.errors import (
    ClientGone,
    GatewayError,
    NeverSent,
    ProviderFailed,
    TimedOut,
    Unreachable,
)
from gateway.guards.rates import RateLeft

# Backpressure: a reader slower than its provider slows the provider down, memory stays bounded.
PIECES_MAX: Final = 64
PIECES_MAX_BYTES: Final = 64 * 1024
# A client that hears nothing disconnects, as do proxies: this is how often it hears of silence.
SILENT_MAX_S: Final = 10.0
SILENCE: Final = Delta()

Piece = Delta | bytes
Event = Piece | CallResult | GatewayError
Sink = Callable[[Piece], Awaitable[None]]


@dataclass(slots=True, eq=False)
class CallStream:
    """One running call as its client sees it: pieces, then one result or one GatewayError.

    Pieces are Deltas, or bytes if the provider's stream is relayed; `headers` are then the
    provider's headers for the client. `output_cap` is the cap that was sent, `left_nanoeur` what is
    left in the tightest limit on money, None without one, `rates` what is left of rates. While it
    `awaits` a provider that is not relayed, silence is reported by SILENCE. The call continues
    after the client has disconnected (`abandon`), or the process was asked to stop (`stop`):
    `on_cut` is then called, and the call itself decides what happens to the provider.
    """

    request_id: UUID
    headers: Mapping[str, str] = field(default_factory=dict)
    output_cap: int | None = None
    left_nanoeur: int | None = None
    rates: Sequence[RateLeft] = ()
    has_begun: bool = False
    has_ended: bool = False
    on_cut: Callable[[], None] | None = None
    _is_abandoned: bool = False
    _is_stopped: bool = False
    _pieces: deque[Event] = field(default_factory=deque)
    _waiting_bytes: int = 0
    _reader: asyncio.Future[None] | None = None
    _writer: asyncio.Future[None] | None = None
    _sink: Sink | None = None
    _silent_since_s: float | None = None

    def is_abandoned(self) -> bool:
        """Whether the client has disconnected. A method: it changes while the caller waits."""
        return self._is_abandoned

    def is_cut(self) -> bool:
        """Whether nothing new is to be begun: the client has disconnected, or the process stops."""
        return self._is_abandoned or self._is_stopped

    def is_stopped(self) -> bool:
        """Whether the call is to end because the process stops."""
        return self._is_stopped

    def unsent(self) -> ProviderFailed | None:
        """Return the failure of the call if it is cut before it was sent, or None."""
        if self._is_abandoned:
            return NeverSent("The client disconnected before the request was sent")
        if self._is_stopped:
            return Unreachable("This gateway process is stopping; nothing was sent")
        return None

    def cut_off(self, total_s: float, *, was_sent: bool) -> ProviderFailed:
        """Return the failure of the call that ended before its answer was complete."""
        if not was_sent:
            late = f"No connection was made within {total_s:g} s; nothing was sent"
            return self.unsent() or Unreachable(late)
        if self._is_abandoned:
            return ClientGone("The client disconnected before the answer was complete")
        if self._is_stopped:
            return TimedOut(
                "This gateway process is stopping; it could not wait for the end of the answer"
            )
        return TimedOut(f"The provider's answer was not complete within {total_s:g} s")

    def awaits(self) -> None:
        """Record that a provider was called: the client hears of its silence from now on."""
        self._silent_since_s = time.monotonic()
        _wake(self._reader)

    async def put(self, piece: Piece) -> None:
        """Pass one piece to the client, waiting while it is behind; drop it after a disconnect."""
        self.has_begun = True
        if self._silent_since_s is not None:
            self._silent_since_s = time.monotonic()
        while self._sink is None and self._is_behind() and not self._is_abandoned:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        if self._is_abandoned:
            return
        if self._sink is not None:
            try:
                await self._sink(piece)
            except OSError:  # some servers raise this after a disconnect; Uvicorn raises nothing
                self.abandon()
            return
        self._pieces.append(piece)
        if type(piece) is bytes:
            self._waiting_bytes += len(piece)
        _wake(self._reader)

    def _is_behind(self) -> bool:
        return len(self._pieces) >= PIECES_MAX or self._waiting_bytes >= PIECES_MAX_BYTES

    def append(self, piece: Piece) -> None:
        """Pass on one last piece before the end, without waiting."""
        if not self._is_abandoned:
            self._pieces.append(piece)
            _wake(self._reader)

    def end(self, event: CallResult | GatewayError) -> None:
        """Pass on the last event, without waiting; only the first one counts."""
        if self.has_ended:
            return
        self.has_ended = True
        self._pieces.append(event)
        _wake(self._reader)

    def abandon(self) -> None:
        """Record that the client has disconnected. Idempotent."""
        if self._is_abandoned:
            return
        self._is_abandoned = True
        self._pieces.clear()
        _wake(self._writer)
        if self.on_cut is not None:
            self.on_cut()

    def stop(self) -> None:
        """Record that the process stops: the call ends, and its client hears why."""
        self._is_stopped = True
        if self.on_cut is not None:
            self.on_cut()

    async def next(self) -> Event:
        """Return the next event, waiting for it. Being cancelled abandons the call."""
        try:
            while not self._pieces:
                self._reader = asyncio.get_running_loop().create_future()
                if self._silent_since_s is None:
                    await self._reader
                elif (wait_s := self._silent_since_s + SILENT_MAX_S - time.monotonic()) > 0:
                    await asyncio.wait([self._reader], timeout=wait_s)
                else:
                    self._silent_since_s = time.monotonic()
                    return SILENCE
        except asyncio.CancelledError:
            self.abandon()
            raise
        event = self._pieces.popleft()
        if type(event) is bytes:
            self._waiting_bytes -= len(event)
        _wake(self._writer)
        return event

    async def pour(self, sink: Sink) -> CallResult | GatewayError:
        """Send every piece to the client through `sink`, and return the last event.

        Once the queue is empty, the call itself sends: one loop iteration less per piece, which is
        12 us of the 30 us that a chunk costs above the bare relay.
        """
        while self._pieces:
            event = await self.next()
            if isinstance(event, CallResult | GatewayError):
                return event
            await sink(event)
        self._sink = sink
        _wake(self._writer)
        while True:
            event = await self.next()
            if isinstance(event, CallResult | GatewayError):
                return event
            await sink(event)

    async def result(self) -> CallResult:
        """Wait for the result, skipping the pieces. Raises GatewayError."""
        while True:
            event = await self.next()
            if isinstance(event, CallResult):
                return event
            if isinstance(event, GatewayError):
                raise event


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
