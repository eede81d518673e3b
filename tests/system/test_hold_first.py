"""No provider is called before the hold and the audit row of the call are committed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import pytest
from aiohttp import web

from tests.fake_provider import VENDORS
from tests.system.clients import ClientCall, Outcome, ask_all
from tests.system.rows import Charge, Rows
from tests.system.servers import HOST, Installation, free_port, provider_keys, upstream_environment
from tests.system.upstream import Upstream, prompt_in

pytestmark = pytest.mark.both_databases

CALLS: Final = 64
HOP_HEADERS: Final = frozenset({"transfer-encoding", "content-length", "connection", "host"})


@dataclass(slots=True, kw_only=True)
class Witness:
    """A proxy of the fake provider that reads the database before it forwards a call."""

    upstream: Upstream
    rows: Rows
    seen: dict[str, Charge | None] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    async def relay(self, request: web.Request) -> web.Response:
        """Record the call's rows as seen by another connection, then forward the call."""
        body = await request.read()
        call = prompt_in({"body": await request.json()}).split(" ")[0]
        self.seen[call] = await asyncio.to_thread(self.rows.find, call)
        headers = {n: v for n, v in request.headers.items() if n.lower() not in HOP_HEADERS}
        url = f"http://{HOST}:{self.upstream.port}{request.path_qs}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                headers={"content-type": answer.headers["content-type"]},
            )


@pytest.fixture
async def witness(upstream: Upstream, rows: Rows) -> AsyncIterator[Witness]:
    """A witness on a port of its own, for one test."""
    made = Witness(upstream=upstream, rows=rows)
    app = web.Application()
    app.router.add_post("/{anything:.*}", made.relay)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, made.port).start()
    yield made
    await runner.cleanup()


async def test_every_sent_call_is_already_held_and_recorded(
    installation: Installation, upstream: Upstream, witness: Witness
) -> None:
    variables = upstream_environment(witness.port, provider_keys())
    server = (await asyncio.to_thread(lambda: installation.serve(**variables)))[0]
    asked = [
        ClientCall(call=secrets.token_hex(8), vendor=VENDORS[n % 4], stream=n % 8 >= 4)
        for n in range(CALLS)
    ]
    outcomes: list[Outcome] = await ask_all(server.url, installation.key, *asked)

    assert all(outcome.is_answered for outcome in outcomes)
    assert set(witness.seen) == {each.call for each in asked}
    states = {
        (charge.state, charge.status, charge.amount_nanoeur > 0) if charge else None
        for charge in witness.seen.values()
    }
    assert states == {("held", "pending", True)}
