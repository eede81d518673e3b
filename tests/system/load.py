"""Load: many clients that call all vendors, plain and streamed, until they are stopped."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.fake_provider import VENDORS
from tests.system.clients import ClientCall, Outcome, RawClient, ask
from tests.system.servers import Server

RETRY_DELAY_S = 0.05
# One call in so many is left by its client before the end.
LEFT_ONE_IN = 12


@dataclass(slots=True, kw_only=True)
class Load:
    """Clients that run side by side. `servers` is called for each call."""

    servers: Callable[[], Sequence[Server]]
    key: str
    clients: int = 24
    leaves: bool = False
    chance: random.Random = field(default_factory=lambda: random.Random(secrets.randbits(32)))  # noqa: S311
    outcomes: list[Outcome] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    def begin(self) -> None:
        """Start the clients."""
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self.clients)]

    async def end(self) -> None:
        """Let every client finish the call it is in."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _client(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not self._stopping:
                server = self.chance.choice(list(self.servers()))
                asked = ClientCall(
                    call=secrets.token_hex(8),
                    vendor=self.chance.choice(VENDORS),
                    stream=self.chance.random() < 0.5,
                )
                if self.leaves and self.chance.randrange(LEFT_ONE_IN) == 0:
                    await self._leave(server, asked)
                    continue
                outcome = await ask(session, server.url, self.key, asked)
                self.outcomes.append(outcome)
                if outcome.status in (0, 503):
                    await asyncio.sleep(RETRY_DELAY_S)

    async def _leave(self, server: Server, asked: ClientCall) -> None:
        self.left.add(asked.call)
        try:
            client = await RawClient.sending(server.url, self.key, asked)
        except OSError:
            await asyncio.sleep(RETRY_DELAY_S)
            return
        await asyncio.sleep(self.chance.random() * 0.2)
        await client.leave()
