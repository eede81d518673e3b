"""The protocol of WebSockets on a real socket: what a connection can make the server keep."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.core.body_budget import FREE_BYTES
from gateway.http.websocket.stopping import STOPPING
from pulse.server.protocol import Limits
from pulse.server.websocket_protocol import COUNT_MESSAGES, BoundedWebSocket, settings_of
from tests.server.listening import HOST, Listening, eventually, listening

MAX_BYTES: Final = 1_000_000
BUDGET_BYTES: Final = 400_000
SOON_S: Final = 0.3
TEXT, CONTINUED, PING = 1, 0, 9


@dataclass(slots=True)
class Application:
    """Echoes messages once `admits` is set; counts what of them has come."""

    admits: asyncio.Event = field(default_factory=asyncio.Event)
    taken: int = 0
    received: list[Any] = field(default_factory=list)
    floods: bool = False
    refuses: bool = False

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(SOON_S)
            await send({"type": "http.response.body", "body": b"whole"})
            return
        await self.admits.wait()
        if self.refuses:
            start = {"status": 401, "headers": [(b"x-why", b"key")]}
            await send({"type": "websocket.http.response.start", **start})
            await send({"type": "websocket.http.response.body", "body": b"no"})
            return
        scope["state"][COUNT_MESSAGES](self._take, self._give_back)
        await receive()
        await send({"type": "websocket.accept"})
        with suppress(OSError):
            await self._echo(receive, send)

    async def _echo(self, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            self.received.append(message)
            if message["type"] == STOPPING:
                await send({"type": "websocket.close", "code": 1001})
            while self.floods:
                await send({"type": "websocket.send", "text": "a" * 2**16})
            await send({"type": "websocket.send", "text": str(len(message.get("text") or ""))})

    def _take(self, n_bytes: int) -> bool:
        if self.taken + n_bytes > BUDGET_BYTES:
            return False
        self.taken += n_bytes
        return True

    def _give_back(self, n_bytes: int) -> None:
        self.taken -= n_bytes


@asynccontextmanager
async def serving(
    application: Application, **limits: float
) -> AsyncIterator[tuple[Listening, str]]:
    """Serve the application; `limits` are those of the protocol's class."""
    protocol = type("Limited", (BoundedWebSocket,), dict(limits))
    websockets = settings_of(MAX_BYTES) | {"ws": protocol}
    async with listening(application, Limits(), websockets=websockets) as server:
        yield server, f"ws://{HOST}:{server.port}/"


@pytest.fixture
def application() -> Application:
    """An application that admits everyone."""
    made = Application()
    made.admits.set()
    return made


def frame(opcode: int, payload: bytes, *, is_last: bool = True) -> bytes:
    """Return a client's frame; its mask changes nothing."""
    head = bytes([opcode | (0x80 if is_last else 0)])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 2**16:
        head += bytes([0x80 | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", len(payload))
    return head + bytes(4) + payload


def sent_raw(client: ClientConnection, data: bytes) -> None:
    """Send bytes that the client's library would not."""
    client.transport.write(data)


async def closed(client: ClientConnection) -> tuple[int, str]:
    """Return the code and reason of the server's close frame."""
    with pytest.raises(ConnectionClosed) as ended:
        while True:
            await client.recv()
    assert ended.value.rcvd is not None
    return ended.value.rcvd.code, ended.value.rcvd.reason


async def test_message_in_any_frames_is_one_message(application: Application) -> None:
    async with serving(application) as (server, url), connect(url) as client:
        await client.send("abc")
        assert await client.recv() == "3"
        for n in range(1000):
            sent_raw(client, frame(CONTINUED if n else TEXT, b"ab", is_last=False))
        [protocol] = websockets_of(server)
        await eventually(lambda: sum(map(len, protocol.frames)) == 2000)
        assert len(protocol.frames) == 1  # small ones are joined as they come
        sent_raw(client, frame(PING, b"x") + frame(CONTINUED, b""))
        assert await client.recv() == "2000"


async def test_nothing_is_received_before_upgrade_is_accepted(application: Application) -> None:
    application.admits.clear()
    async with serving(application) as (server, _):
        with socket.create_connection((HOST, server.port)) as stranger:
            stranger.setblocking(False)
            stranger.send(_upgrade())
            await eventually(lambda: websockets_of(server))
            [protocol] = websockets_of(server)
            begun = frame(TEXT, bytes(MAX_BYTES))[:1000]
            for block in (begun, *[bytes(1000)] * 100):
                with suppress(BlockingIOError):
                    stranger.send(block)
                await asyncio.sleep(0.001)
            assert len(protocol.conn.reader.buffer) == 0
            application.admits.set()
            await eventually(lambda: len(protocol.conn.reader.buffer) > 0)


def websockets_of(server: Listening) -> list[BoundedWebSocket]:
    """Return the WebSockets of a server."""
    return [each for each in server.state.connections if isinstance(each, BoundedWebSocket)]


def _upgrade(*lines: str) -> bytes:
    head = (
        "GET / HTTP/1.1",
        f"host: {HOST}",
        "upgrade: websocket",
        "connection: Upgrade",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    return "\r\n".join((*head, *lines, "", "")).encode()


async def test_arriving_message_is_counted_until_it_is_complete(application: Application) -> None:
    async with serving(application) as (_, url), connect(url) as client:
        size = FREE_BYTES + 100_000
        whole = frame(TEXT, b"a" * size)
        sent_raw(client, whole[:-1])
        await eventually(lambda: application.taken == 100_000 - 1)
        sent_raw(client, whole[-1:])
        assert await client.recv() == str(size)
        assert application.taken == 0
        half = frame(TEXT, b"a" * size, is_last=False)
        sent_raw(client, half)
        await eventually(lambda: application.taken == 100_000)
        client.transport.abort()
        await eventually(lambda: application.taken == 0)


async def test_message_without_room_ends_connection(application: Application) -> None:
    async with serving(application) as (_, url), connect(url) as client:
        sent_raw(client, frame(TEXT, b"a" * (FREE_BYTES + BUDGET_BYTES + 1), is_last=False))
        assert await closed(client) == (1013, "Too many large request bodies are in memory")
        await eventually(lambda: application.taken == 0)


async def test_message_above_limit_ends_connection(application: Application) -> None:
    async with serving(application) as (_, url), connect(url) as client:
        await client.send("a" * (MAX_BYTES + 1))
        assert (await closed(client))[0] == 1009


async def test_message_must_arrive_in_time(application: Application) -> None:
    async with serving(application, message_max_s=1.5) as (_, url), connect(url) as client:
        await client.send("abc")
        await asyncio.sleep(2)
        assert await client.recv() == "3"
        message = frame(TEXT, b"abc")
        sent_raw(client, message[:-1])
        for _ in range(6):  # each has its own time
            await asyncio.sleep(0.3)
            sent_raw(client, message[-1:] + message[:-1])
            assert await client.recv() == "3"
        assert await closed(client) == (1008, "A message must arrive within 1.5 s")


async def test_text_must_be_utf8(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(application) as (_, url), connect(url) as client:
        sent_raw(client, frame(TEXT, b"\xff"))
        assert await closed(client) == (1007, "Messages must be UTF-8")
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("pings", [False, True])
async def test_client_that_does_not_read_is_disconnected(
    application: Application, pings: bool
) -> None:
    application.floods = not pings
    async with serving(application, unread_s=SOON_S) as (server, url), connect(url) as client:
        await client.send("begin")
        client.transport.pause_reading()
        [connection] = server.state.connections
        pings_of_128_kib = frame(PING, b"p" * 125) * 1000
        while pings and server.state.connections:
            if client.transport.get_write_buffer_size() < 2**20:
                sent_raw(client, pings_of_128_kib)
            assert connection.transport.get_write_buffer_size() < 2**20
            await asyncio.sleep(0.001)
        await eventually(lambda: not server.state.connections)
        client.transport.abort()


async def test_refusal_is_answered_and_not_logged(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    application.refuses = True
    async with serving(application) as (server, url):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        await eventually(lambda: not server.state.connections)
    response = refused.value.response
    assert (response.status_code, response.body) == (401, b"no")
    assert response.headers["x-why"] == "key"
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_websockets_count_for_their_address(application: Application) -> None:
    async with serving(application) as (server, url):
        async with connect(url), connect(url):
            assert server.by_address == {HOST: 2}
        await eventually(lambda: server.by_address == {})


async def test_stop_lets_application_close(application: Application) -> None:
    async with serving(application) as (server, url), connect(url) as client:
        [connection] = server.state.connections
        connection.shutdown()
        assert (await closed(client))[0] == 1001


@pytest.mark.parametrize(
    "head",
    [
        _upgrade("x: " + "v" * 9_000),  # longer than the WebSockets' parser takes
        _upgrade().replace(b"GET", b"POST"),
        _upgrade().replace(b"version: 13", b"version: 12"),
        _upgrade("content-length: 3") + b"abc",
        _upgrade().replace(b"GET /", b"GET /\xff?\xfe"),
        _upgrade().replace(b"sec-websocket-key", b"sec-websocket-k\xff"),
    ],
    ids=["long", "post", "version", "body", "path", "name"],
)
async def test_strange_upgrade_is_answered_or_closed(
    application: Application, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(application) as (server, _):
        answer = await server.ask(head)
        assert b" 101 " not in answer
    assert application.received == []
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_upgrade_cannot_begin_in_answer_to_earlier_request(application: Application) -> None:
    async with serving(application) as (server, _):
        answer = await server.ask(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n" + _upgrade())
        assert b" 101 " not in answer
        await eventually(lambda: not server.state.connections)
