"""Uvicorn's HTTP/1.1 with a limit on everything that a connection can make the server keep."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Final

from django.conf import settings
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from orgs.core.addresses import counted_address, is_among
from pulse.server.websocket_protocol import BoundedWebSocket

# Data is parsed in pieces of this size, so that what has no end yet is measured this exactly.
PIECE_BYTES: Final = 16 * 1024
# What a header line has besides its name and value.
LINE_EXTRA_BYTES: Final = len(": \r\n")
COUNTS: Final = "connections_by_address"
# In the application's state: a function to be called when the server begins to stop. Uvicorn tells
# the application only when all connections have ended.
ON_STOP: Final = "on_stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one process accepts from connections. `fields` are header lines and trailers."""

    connections: int = 10_000
    # Also of everyone behind one router; an address in PULSE_PROXY_ADDRESSES has no such limit.
    connections_per_address: int = 2_500
    url_bytes: int = 16 * 1024
    fields: int = 100
    head_bytes: int = 64 * 1024  # URL, headers and trailers
    head_s: float = 30.0
    pipelined: int = 16  # requests that wait for the answer to an earlier one
    unread_s: float = 120.0  # how long a client may leave an answer unread


class UntilClosed(RequestResponseCycle):
    """The answer to an HTTP/1.0 request, which knows no chunks: the connection's end is its end.

    https://www.rfc-editor.org/rfc/rfc9112#section-6.3-2.8
    """

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the answer, whose length Uvicorn compares with nothing."""
        self.chunked_encoding = False
        if message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class BoundedProtocol(HttpToolsProtocol):
    """One connection within the limits.

    The headers are final when the head is complete: trailers only count against its limits.
    """

    limits: ClassVar[Limits] = Limits()

    _fields = 0
    _head_bytes = 0
    # Received since the current head or trailers began: httptools delivers only whole lines.
    _pending_bytes = 0
    _is_in_fields = True
    _has_begun = False
    _has_head = False
    _is_upgraded = False
    _refusal: tuple[int, str] | None = None
    _running: RequestResponseCycle | None = None
    _address: str | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    # --- connections --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._has_room():
            self._arm_head()
        else:
            self._answer(503, "Too many connections; retry in a moment.")
            self._close()

    def _has_room(self) -> bool:
        counts: Counter[str] = self.app_state.setdefault(COUNTS, Counter())
        peer = self.client[0] if self.client else ""
        self._address = counted_address(peer)
        counts[self._address] += 1
        if len(self.connections) > self.limits.connections:
            return False
        is_few = counts[self._address] <= self.limits.connections_per_address
        return is_few or is_among(peer, settings.PROXY_NETWORKS)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, with its place among those of its address."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._close()  # the answer to an earlier request would be written into the WebSocket
            return
        super().handle_websocket_upgrade()
        self._is_upgraded = True
        upgraded = self.transport.get_protocol()
        if isinstance(upgraded, BoundedWebSocket):
            upgraded.leave = self._leave
            upgraded.on_stop = self.app_state.get(ON_STOP)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_head()
        self._disarm_unread()
        self._leave()
        # Uvicorn informs only the last of several pipelined requests.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _leave(self) -> None:
        counts = self.app_state[COUNTS]
        counts[self._address] -= 1
        if not counts[self._address]:
            del counts[self._address]

    def shutdown(self) -> None:
        super().shutdown()
        if (on_stop := self.app_state.get(ON_STOP)) is not None:
            on_stop()

    # --- heads and trailers -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            # Also a line break ends the idle time, and begins no request.
            self._begin_head()
        for at in range(0, len(data), PIECE_BYTES):
            if self.transport.is_closing() or self._is_upgraded:
                return
            self._parse(data[at : at + PIECE_BYTES])

    def _parse(self, piece: bytes) -> None:
        super().data_received(piece)
        if not self._is_in_fields or self.transport.is_closing():
            return
        self._pending_bytes = 0 if self._has_begun else self._pending_bytes + len(piece)
        self._has_begun = False
        if self._pending_bytes > self.limits.head_bytes:
            self._refusal = self._too_large()
            self.send_400_response("")
        elif self._head_timer is None and not self._has_head:
            self._arm_head()

    def on_message_begin(self) -> None:
        self._fields = self._head_bytes = 0
        self._begin_head()
        super().on_message_begin()

    def _begin_head(self) -> None:
        self._has_head = False
        self._begin_fields()

    def _begin_fields(self) -> None:
        self._is_in_fields = self._has_begun = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head_bytes += len(url)
        if len(self.url) > self.limits.url_bytes:
            kibibytes = self.limits.url_bytes // 1024
            self._refuse(414, f"The URL must be at most {kibibytes} KiB.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._head_bytes += len(name) + len(value) + LINE_EXTRA_BYTES
        if self._fields > self.limits.fields or self._head_bytes > self.limits.head_bytes:
            self._refuse(*self._too_large())
        if not self._has_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_fields, self._has_head = False, True
        self._disarm_head()
        super().on_headers_complete()
        if len(self.pipeline) > self.limits.pipelined:
            self._refuse(400, "Too many pipelined requests.")

    def on_chunk_header(self) -> None:
        """Trailers may follow, if this is the last chunk; a body follows if it is not."""
        self._begin_fields()

    def on_body(self, body: bytes) -> None:
        self._is_in_fields = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_fields = False
        super().on_message_complete()

    def _too_large(self) -> tuple[int, str]:
        kibibytes = self.limits.head_bytes // 1024
        return (
            431,
            f"Headers and trailers must be at most {self.limits.fields} and {kibibytes} KiB.",
        )

    def _refuse(self, status: int, sentence: str) -> None:
        """End the parsing; `send_400_response` sends the answer."""
        self._refusal = status, sentence
        raise ValueError(sentence)

    def send_400_response(self, msg: str) -> None:
        """Answer and close; only close where this would come into the answer to another request."""
        cycle = self.cycle
        is_next = cycle is None or cycle.response_complete
        is_own = cycle is not None and cycle.more_body and not cycle.response_started
        if is_next or (is_own and not self.pipeline):
            self._answer(*(self._refusal or (400, msg)))
        self._close()

    # --- time -----------------------------------------------------------------------------------

    def _arm_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_s, self.transport.abort)

    def _disarm_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm_unread()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._disarm_unread()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._arm_unread()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()

    def _arm_unread(self) -> None:
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.limits.unread_s, self.transport.abort)

    def _disarm_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    # --- answers without a request --------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: object) -> None:
        if cycle.scope["http_version"] == "1.0":
            cycle.__class__ = UntilClosed
        self._running = cycle
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def _answer(self, status: int, sentence: str) -> None:
        lines = [
            STATUS_LINE[status],
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(sentence),
            b"connection: close\r\n",
            b"retry-after: 1\r\n" if status == 503 else b"",
            b"\r\n",
            sentence.encode("ascii"),
        ]
        self.transport.write(b"".join(lines))

    def _close(self) -> None:
        """Close when what was written has been read, or its time is over."""
        self.transport.close()
        self._arm_unread()
