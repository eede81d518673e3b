"""A client of responses over WebSocket."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.system.clients import CALL_MAX_S, MODELS, prompt_of

ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "error")
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turns:
    """One connection. `call` is its client's name for it: in prompts and in the rows."""

    wire: ClientConnection
    call: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def prompt(self) -> str:
        """A prompt; the fake provider repeats it, word by word."""
        return prompt_of(self.call)

    async def begin(self, **fields: Any) -> None:
        """Send a turn."""
        asked = {"type": "response.create", "model": MODELS["openai"], "store": False}
        await self.wire.send(json.dumps({**asked, "input": self.prompt, **fields}))

    async def next(self) -> Event:
        """Return the next event."""
        async with asyncio.timeout(CALL_MAX_S):
            event: Event = json.loads(await self.wire.recv())
            return event

    async def rest(self) -> list[Event]:
        """Return the events up to the end of the turn."""
        events = [await self.next()]
        while events[-1]["type"] not in ENDS:
            events.append(await self.next())
        return events

    async def turn(self, **fields: Any) -> Event:
        """Send a turn and return its last event."""
        await self.begin(**fields)
        return (await self.rest())[-1]

    async def answer(self, **fields: Any) -> tuple[str, list[Event]]:
        """Send a turn that is answered; return its response's id and output."""
        response = (await self.turn(**fields))["response"]
        return response["id"], response["output"]

    async def closed(self) -> tuple[int, str]:
        """Return the code and reason with which the server closes; events before it are dropped."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as exc:
            assert exc.rcvd is not None, "the server did not close in order"
            return exc.rcvd.code, exc.rcvd.reason


@asynccontextmanager
async def turns(url: str, key: str, **headers: str) -> AsyncIterator[Turns]:
    """Connect with a key; the client's name is in a header."""
    call = secrets.token_hex(8)
    sent = {"authorization": f"Bearer {key}", "x-pulse-client-id": call, **headers}
    address = f"{url.replace('http', 'ws', 1)}/v1/responses"
    async with connect(address, additional_headers=sent, max_size=None) as wire:
        yield Turns(wire, call)
