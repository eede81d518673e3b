"""Uvicorn's WebSockets with a limit on everything that a connection can make the server keep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from gateway.core.body_budget import BODY_MAX_S, FREE_BYTES
from gateway.http.websocket.stopping import STOPPING

# In a connection's state: a function that takes two others, which count and return the bytes of a
# message while it arrives. Nothing is received before it was called.
COUNT_MESSAGES: Final = "count_messages"
# Proxies end connections on which nothing is sent for a minute.
PING_EVERY_S: Final = 30.0


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One WebSocket within the limits. `leave` is called when it is lost."""

    leave: Callable[[], None] | None = None
    on_stop: Callable[[], None] | None = None
    unread_s: float = 120.0
    message_max_s: float = BODY_MAX_S

    _taken = 0
    _take: Callable[[int], bool] | None = None
    _give_back: Callable[[int], None] | None = None
    _late_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    # --- the connection -----------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        """Read no further until the application has accepted: a stranger may send anything."""
        super().handle_connect(event)
        if not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()
            self.scope["state"][COUNT_MESSAGES] = self._count_with

    def connection_lost(self, exc: Exception | None) -> None:
        # What is counted no longer must not wait for the garbage collector.
        self.conn.reader.buffer.clear()
        self.frames = []
        self._release()
        _cancel(self._unread_timer)
        if self.leave is not None:
            self.leave()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Tell the application, which closes when its turns have ended."""
        if self.on_stop is not None:
            self.on_stop()
        self.queue.put_nowait(cast("ASGIReceiveEvent", {"type": STOPPING}))

    async def run_asgi(self) -> None:
        """Run the application; what it has sent must be read in time."""
        await super().run_asgi()
        self._arm_unread()

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message of the application; an HTTP answer in place of the upgrade ends it."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    # --- messages -----------------------------------------------------------------------------

    def _count_with(self, take: Callable[[int], bool], give_back: Callable[[int], None]) -> None:
        self._take, self._give_back = take, give_back

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:  # no request: the parser has written the answer
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
        elif not self.transport.is_closing():
            self._measure()

    def _measure(self) -> None:
        """Count what has come of a message, which must be complete in time."""
        size = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        if not size:
            self._release()
            return
        if self._late_timer is None:
            self._late_timer = self.loop.call_later(self.message_max_s, self._end_late)
        more = size - FREE_BYTES - self._taken
        if more > 0 and self._take is not None:
            if self._take(more):
                self._taken += more
            else:
                self._fail(CloseCode.TRY_AGAIN_LATER, "Too many large request bodies are in memory")

    def _release(self) -> None:
        _cancel(self._late_timer)
        self._late_timer = None
        if self._taken and self._give_back is not None:
            self._give_back(self._taken)
            self._taken = 0

    def _end_late(self) -> None:
        sentence = f"A message must arrive within {self.message_max_s:g} s"
        self._fail(CloseCode.POLICY_VIOLATION, sentence)

    def _fail(self, code: CloseCode, sentence: str) -> None:
        if self.close_sent or self.transport.is_closing():
            self.transport.abort()
            return
        self.conn.fail(code, sentence)
        self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; Uvicorn would log a defect for text that is not UTF-8."""
        self._release()
        message = b"".join(self.frames)
        if self.curr_msg_data_type == "text" and not _is_utf8(message):
            self.frames = []
            self._fail(CloseCode.INVALID_DATA, "Messages must be UTF-8")
            return
        self.frames = [message]
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        """Join the frames at once: many small ones take fifty times their bytes."""
        message = cast("bytes | bytearray", self.frames[0])
        if isinstance(message, bytes):
            message = bytearray(message)
        message += event.data
        self.frames = [cast("bytes", message)]
        if event.fin:
            self.send_receive_event_to_app()

    # --- a client that does not read ----------------------------------------------------------

    def pause_writing(self) -> None:
        """Also read no further: each ping would be answered by bytes that wait."""
        super().pause_writing()
        self.transport.pause_reading()
        self._arm_unread()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()
        _cancel(self._unread_timer)
        self._unread_timer = None

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next message."""
        message = await super().receive()
        if not (self.writable.is_set() or self.transport.is_closing()):
            self.transport.pause_reading()
        return message

    def _arm_unread(self) -> None:
        if self._unread_timer is None and not self.disconnected:
            self._unread_timer = self.loop.call_later(self.unread_s, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def settings_of(max_bytes: int) -> dict[str, Any]:
    """Return Uvicorn's settings of WebSockets. Unpacked messages have no limit of their own."""
    return {
        "ws": BoundedWebSocket,
        "ws_max_size": max_bytes,
        "ws_ping_interval": PING_EVERY_S,
        "ws_ping_timeout": BoundedWebSocket.unread_s,
        "ws_per_message_deflate": False,
    }
