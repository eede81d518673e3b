"""An HTTP proxy for tests: it opens tunnels, forwards plain requests, or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tests.gateway.upstream.raw_server import HOST

AT_ONCE_BYTES: Final = 65536


@dataclass(slots=True, eq=False)
class ProxyServer:
    """Its address, and the headers of received requests.

    It answers with `refusal` where there is one, which may be nothing at all, and asks for
    `authorization` where that is set.
    """

    port: int = 0
    authorization: str | None = None
    refusal: bytes | None = None
    heads: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, without a user."""
        return f"http://{HOST}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if self.refusal is not None:
                writer.write(self.refusal)
            elif self.authorization and f"Basic {self.authorization}\r\n" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            else:
                await self._pass_on(head, reader, writer)
        writer.close()

    async def _pass_on(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, _ = head.split(" ", 2)
        where = urlsplit(f"//{target}" if method == "CONNECT" else target)
        to_reader, to_writer = await asyncio.open_connection(where.hostname, where.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            to_writer.write(head.encode())
        await asyncio.gather(_pumped(reader, to_writer), _pumped(to_reader, writer))


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(AT_ONCE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxy_server() -> AsyncIterator[ProxyServer]:
    """Listen on a port of its own."""
    made, serving = ProxyServer(), set[asyncio.Task[None]]()

    def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(made.serve(reader, writer)))

    server = await asyncio.start_server(welcome, HOST, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()
