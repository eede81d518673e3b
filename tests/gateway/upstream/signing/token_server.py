"""A fake token server: it keeps the forms that it receives and sends set answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gateway.upstream.signing.tokens import TokenCache

HOST = "localhost"


@dataclass(slots=True)
class TokenServer:
    """Answers each POST with the next of `answers`, then with tokens, while it `may_answer`."""

    origin: str = ""
    answers: list[tuple[int, object]] = field(default_factory=list)
    received: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with the next status and body; a text is sent as it is."""
        form = await request.post()
        self.received.append((request.path, {name: str(value) for name, value in form.items()}))
        self.asked.set()
        await self.may_answer.wait()
        number = len(self.received)
        token = {"access_token": f"token-{number}", "token_type": "Bearer", "expires_in": 3600}
        status, body = self.answers.pop(0) if self.answers else (200, token)
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        return web.json_response(body, status=status)


@asynccontextmanager
async def token_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[TokenServer]:
    """Listen on a port of its own."""
    made = TokenServer()
    made.may_answer.set()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    made.origin = f"{'https' if tls else 'http'}://{HOST}:{port}"
    try:
        yield made
    finally:
        made.may_answer.set()
        await runner.cleanup()


@dataclass(slots=True)
class Clock:
    """Seconds since 1970 that pass when a test says so."""

    now: float

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def set_clock(cache: TokenCache, now: float) -> Clock:
    """Give a cache a clock that stands still."""
    clock = cache.clock = Clock(now)
    return clock
