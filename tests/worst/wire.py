"""What attacks are made of: a target, raw connections, HTTP clients, loops."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from tests.system.servers import HOST

# Attackers have an address of their own, as limits count by address.
ATTACKER: Final = "127.0.0.2"
RETRY_DELAY_S: Final = 0.5
# An attacker is another machine: it must not take the processor from the server.
NICENESS: Final = 10
FAULTS: Final = (OSError, EOFError, aiohttp.ClientError, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server that is attacked, with the attacker's credentials."""

    port: int
    provider_port: int
    key: str
    email: str
    password: str

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://{HOST}:{self.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection; answers stay in the kernel's buffers until they are read."""
        reader, writer = await asyncio.open_connection(
            HOST, self.port, limit=1, local_addr=(ATTACKER, 0)
        )
        writer.transport.set_write_buffer_limits(high=0)
        return reader, writer

    def session(self, **headers: str) -> aiohttp.ClientSession:
        """Return an HTTP client with as many connections as it wants."""
        connector = aiohttp.TCPConnector(limit=0, local_addr=(ATTACKER, 0))
        return aiohttp.ClientSession(self.url, connector=connector, headers=headers)

    def with_key(self) -> aiohttp.ClientSession:
        """Return an HTTP client that sends the key."""
        return self.session(**{"x-pulse-key": self.key})


Attack = Callable[[Target], Coroutine[Any, Any, None]]


def run(attack: Attack, target: Target, seconds: float) -> None:
    """Run an attack in this process, which the alarm ends when the time is over."""
    os.nice(NICENESS)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    asyncio.run(attack(target))


async def nothing(_: Target) -> None:
    """Do nothing, to measure what the machine itself does."""
    await asyncio.Event().wait()


async def side_by_side(count: int, step: Callable[[], Awaitable[object]]) -> None:
    """Run `step` in `count` loops, for ever; a refused or lost connection is tried again."""

    async def loop() -> None:
        while True:
            try:
                await step()
            except FAULTS:
                await asyncio.sleep(RETRY_DELAY_S)

    await asyncio.gather(*(loop() for _ in range(count)))


async def flood(
    session: aiohttp.ClientSession, count: int, method: str, path: str, **options: Any
) -> None:
    """Send the same request from `count` loops, and read the answers."""

    async def step() -> None:
        await send(session, method, path, **options)

    await side_by_side(count, step)


async def send(session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> str:
    """Send one request and return its answer, whatever its status."""
    async with session.request(method, path, allow_redirects=False, **options) as answer:
        return (await answer.read()).decode(errors="replace")


def head(method: str, path: str, *lines: str) -> bytes:
    """Return a request's head."""
    whole = (f"{method} {path} HTTP/1.1", f"host: {HOST}", *lines, "", "")
    return "\r\n".join(whole).encode()
