"""A raw byte server: it records what it received, and sends exactly what it is given."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from gateway.upstream.http_client import HttpClient, UpstreamResponse, address

HOST: Final = "127.0.0.1"
# Far above what anything here takes: a test that waits so long has failed.
WAIT_MAX_S: Final = 120.0
OK: Final = b"HTTP/1.1 200 OK\r\n"
HELLO: Final = OK + b"X-Id: 7\r\nContent-Length: 5\r\n\r\nhello"
# More than all buffers on the way hold together.
LARGE_BYTES: Final = 32 * 1024 * 1024
SMALL_BUFFER_BYTES: Final = 16 * 1024
# So many turns of the loop bring a piece to the client before the next one is written.
TURNS_FOR_A_PIECE: Final = 3


@dataclass(slots=True, eq=False)
class Visit:
    """One connection that was made to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes] = field(default_factory=list)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, *pieces: bytes) -> None:
        """Send each piece by itself."""
        for piece in pieces:
            self.writer.write(piece)
            for _ in range(TURNS_FOR_A_PIECE):
                await asyncio.sleep(0)

    def end(self) -> None:
        """Send nothing more."""
        self.writer.close()

    def reset(self) -> None:
        """Reset the connection, as a crashed server does."""
        at_once = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, at_once
        )
        self.writer.transport.abort()

    async def ended(self) -> None:
        """Wait until the client has closed it."""
        async with asyncio.timeout(WAIT_MAX_S):
            await self._ended.wait()

    async def hear(self, heard: asyncio.Queue[Visit], *, bodies: bool) -> None:
        """Record each request until the client closes the connection."""
        try:
            while True:
                request = await self.reader.readuntil(b"\r\n\r\n")
                size = re.search(rb"(?i)content-length: (\d+)", request)
                if size and bodies:
                    request += await self.reader.readexactly(int(size[1]))
                self.requests.append(request)
                heard.put_nowait(self)
                if not bodies:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self._ended.set()


@dataclass(slots=True, eq=False)
class RawServer:
    """Its address, and its connections."""

    port: int = 0
    is_tls: bool = False
    visits: list[Visit] = field(default_factory=list)
    _heard: asyncio.Queue[Visit] = field(default_factory=asyncio.Queue)
    _hearing: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> URL:
        """Its address; over TLS by the name that its certificate has."""
        where = f"https://localhost:{self.port}" if self.is_tls else f"http://{HOST}:{self.port}"
        return address(f"{where}/v1/chat")

    async def asked(self) -> Visit:
        """Wait for the next request, and return the connection that it came over."""
        async with asyncio.timeout(WAIT_MAX_S):
            return await self._heard.get()

    def welcome(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, bodies: bool
    ) -> None:
        """Take a connection."""
        visit = Visit(reader, writer)
        self.visits.append(visit)
        self._hearing.add(asyncio.create_task(visit.hear(self._heard, bodies=bodies)))

    async def leave(self) -> None:
        """Close every connection."""
        for task in self._hearing:
            task.cancel()
        await asyncio.gather(*self._hearing, return_exceptions=True)
        for visit in self.visits:
            visit.writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def raw_server(
    *, tls: ssl.SSLContext | None = None, bodies: bool = True
) -> AsyncIterator[RawServer]:
    """Listen on a port of its own; without `bodies` only the heads of requests are read."""
    made = RawServer(is_tls=tls is not None)
    listening = socket.create_server((HOST, 0))
    # For what it accepts too: a piece must not wait until the one before it is acknowledged.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    if not bodies:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    server = await asyncio.start_server(
        lambda reader, writer: made.welcome(reader, writer, bodies=bodies), sock=listening, ssl=tls
    )
    made.port = listening.getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.leave()
        await server.wait_closed()


async def send(client: HttpClient, server: RawServer) -> UpstreamResponse:
    """Send a small request."""
    async with asyncio.timeout(WAIT_MAX_S):
        return await client.send(server.url, headers={"x-key": "k"}, body=b"{}")


async def answered(
    client: HttpClient, server: RawServer, *pieces: bytes, ends: bool = False
) -> UpstreamResponse:
    """Send a request, answer it with these pieces, and return the answer."""
    sending = asyncio.create_task(send(client, server))
    visit = await server.asked()
    await visit.say(*pieces)
    if ends:
        visit.end()
    return await sending


async def read(answer: UpstreamResponse) -> bytes:
    """Return the whole body, and release the answer."""
    pieces = []
    try:
        async with asyncio.timeout(WAIT_MAX_S):
            while piece := await answer.next():
                pieces.append(piece)
    finally:
        answer.release()
    return b"".join(pieces)
