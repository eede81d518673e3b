"""The server's protocol on a real socket, in front of a small application."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from uvicorn.server import ServerState

from pulse.server.protocol import COUNTS, BoundedProtocol, Limits

HOST: Final = "127.0.0.1"
ANSWER_MAX_S: Final = 120.0
NO_WEBSOCKETS: Final = {"ws": "none"}
Application = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """A listening server: its port, and what its process remembers of connections."""

    port: int
    state: ServerState
    by_address: dict[str, int]

    async def ask(self, *pieces: bytes, source: str = HOST) -> bytes:
        """Send the pieces over a connection of their own and return all that came until its end.

        Raises TimeoutError if the server leaves it open.
        """
        async with self.connected(source=source) as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                with suppress(ConnectionError):
                    await writer.drain()
            return await rest_of(reader)

    @asynccontextmanager
    async def connected(
        self, *, source: str = HOST
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect; at the end close, and wait until the server knows."""
        before = len(self.state.connections)
        reader, writer = await asyncio.open_connection(HOST, self.port, local_addr=(source, 0))
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            await eventually(lambda: len(self.state.connections) <= before)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server ends the connection, by whatever means."""
    came = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(ANSWER_MAX_S):
            while piece := await reader.read(4096):
                came += piece
    return came


async def eventually(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds. Raises TimeoutError if it does not."""
    async with asyncio.timeout(ANSWER_MAX_S):
        while not condition():  # noqa: ASYNC110  what it looks at has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(
    application: Application,
    limits: Limits,
    *,
    keep_alive_s: int = 60,
    websockets: Mapping[str, Any] = NO_WEBSOCKETS,
) -> AsyncIterator[Listening]:
    """Serve the application within these limits; `websockets` are Uvicorn's settings of them."""

    class Limited(BoundedProtocol):
        """The protocol with the limits of one test."""

    Limited.limits = limits
    config = uvicorn.Config(
        application,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=keep_alive_s,
        **websockets,
    )
    state, app_state = ServerState(), {}  # type: ignore[var-annotated]  # as Uvicorn's own
    server = await asyncio.get_running_loop().create_server(
        lambda: Limited(config=config, server_state=state, app_state=app_state), HOST, 0
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Listening(port=port, state=state, by_address=app_state.setdefault(COUNTS, Counter()))


def status_of(answer: bytes) -> int:
    """Return the status of an answer; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0
