"""One connection to a vendor, and the answer that is on its way: bytes in, and their order kept.

Answers are parsed by httptools (Node's llhttp, which Uvicorn brings).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import httptools

HEAD_MAX_BYTES: Final = 128 * 1024
# What may wait unread before the vendor is held back.
UNREAD_MAX_BYTES: Final = 128 * 1024
# Where one of these is, the end of the connection is not the end of the answer.
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_HAVE_NO_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class BrokenOff(Exception):
    """The connection ended, or what came is not HTTP: the outcome is unknown."""


class Origin(NamedTuple):
    """What connections may be shared between."""

    host: str
    port: int
    is_tls: bool


class Connection(asyncio.Protocol):
    """One connection to a vendor, and the answer that is on its way."""

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        # As lenient as other clients are, for servers that speak a little carelessly.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._waiter: asyncio.Future[None] | None = None
        self._error: BrokenOff | None = None
        self._is_over = True
        self._is_paused = self._is_spoilt = False
        self._start()

    def _start(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._is_head_over = self._ends_with_connection = False
        self._pieces: list[bytes] = []
        self._unread_bytes = 0

    # --- for the wire and the answer ----------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent on it."""
        transport = self._transport
        return not (self._is_spoilt or transport is None or transport.is_closing())

    @property
    def is_free(self) -> bool:
        """Whether its answer was read to the end, and neither side has more to say."""
        transport = self._transport
        if transport is None or not self.is_open or transport.get_write_buffer_size():
            return False
        return self._is_over and not self._pieces

    def send(self, head: bytes, body: bytes) -> None:
        """Send a request; `is_open` was asked just before."""
        self._start()
        self._is_over = False
        if self._transport is not None:
            self._transport.write(head + body)

    async def head(self) -> tuple[int, Sequence[tuple[bytes, bytes]]]:
        """Wait for the answer's head and return its status and headers."""
        while not self._is_head_over:
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._status, self._headers

    async def next(self) -> bytes:
        """Return what has arrived of the body, waiting for it; nothing is the end."""
        while not self._pieces:
            if self._is_over:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            await self._waiter
        pieces, self._pieces = self._pieces, []
        self._unread_bytes = 0
        if self._is_paused:
            self._pause(is_paused=False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> None:
        """End the connection at once."""
        self._is_spoilt = True
        # What belonged to a loop that has closed goes with its last reference.
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _pause(self, *, is_paused: bool) -> None:
        self._is_paused = is_paused
        if self._transport is None or self._transport.is_closing():
            return
        if is_paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _break_off(self, reason: str) -> None:
        self._is_spoilt = True
        if not self._is_over and self._error is None:
            self._error = BrokenOff(reason)
        self._wake()

    def _fail(self, reason: str) -> None:
        self._break_off(reason)
        self.end()

    # --- for asyncio --------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._is_over:  # nobody asked
            self.end()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._fail(f"the answer is not HTTP: {type(exc).__name__}")
        if not self._is_head_over:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES:
                self._fail("the answer's head is too large")
        if self._unread_bytes > UNREAD_MAX_BYTES and not self._is_paused:
            self._pause(is_paused=True)
        self._wake()

    def eof_received(self) -> None:
        """Nothing more comes; the transport closes itself, once it has sent what it still has."""
        if self._is_head_over and self._ends_with_connection:
            self._is_over = True
        self._break_off("the connection ended")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._break_off("the connection ended")

    # --- for httptools ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_over:  # more than one answer to one request
            self._is_spoilt = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_head_over:  # what follows a body is not of the head
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._is_over or status < HTTPStatus.OK:  # an interim answer: another follows
            self._headers = []
            return
        names = {name for name, _ in self._headers}
        self._ends_with_connection = names.isdisjoint(_FRAMING) and status not in _HAVE_NO_BODY
        self._status, self._is_head_over = status, True

    def on_body(self, body: bytes) -> None:
        if not self._is_over:
            self._pieces.append(body)
            self._unread_bytes += len(body)

    def on_message_complete(self) -> None:
        if not self._is_head_over or self._is_over:
            return
        self._is_over = True
        self._is_spoilt = self._is_spoilt or not self._parser.should_keep_alive()
