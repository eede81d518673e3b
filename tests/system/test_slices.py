"""Streams in slices at real processes: they end at a full limit, and a killed one loses nothing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import pytest

from gateway.call.slices.choice import SLICE_TOKENS
from tests.fake_provider import FOREVER
from tests.system.clients import until, warm_up
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

STREAMS: Final = 6
# An event of 11 tokens; 20 of them a second are as fast as the model is known to be.
WORD: Final = "and," * 10
EVENT_TOKENS: Final = 11
TOKENS_PER_S: Final = 220
TOKEN_NANOEUR: Final = 600 / 1.15
BODY: Final = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 16_000,
    "stream": True,
}
BALANCE: Final = """
    SELECT limit_nanoeur, held_nanoeur, settled_nanoeur, overrun_nanoeur FROM period
    WHERE org_id = %s
"""
ENDS: Final = "SELECT status, finish_reason FROM ai_request_log WHERE org_id = %s"
HOLDS: Final = "SELECT amount_nanoeur, charged_nanoeur, state FROM hold WHERE org_id = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicedDay:
    """An organization whose day's limit is held in slices, and the processes that it uses."""

    servers: Sequence[Server]
    rows: Rows
    org_id: Any
    key: str

    async def stream(self, session: aiohttp.ClientSession, server: Server) -> str:
        """Read one stream to its end."""
        headers = {"authorization": f"Bearer {self.key}"}
        url = f"{server.url}/v1/chat/completions"
        async with session.post(url, json=BODY, headers=headers) as answer:
            return await answer.text()

    async def streams(self, count: int) -> list[str]:
        """Read streams at once. What is held and charged is within the limit all the time, and what
        is above it at the end is an overrun.
        """
        async with aiohttp.ClientSession() as session:
            works = [
                self.stream(session, self.servers[n % len(self.servers)]) for n in range(count)
            ]
            running = asyncio.gather(*works)
            while not running.done():
                for limit, held, settled, _ in self.rows.query(BALANCE, self.org_id):
                    assert limit is None or held + settled <= limit
                await asyncio.sleep(0.05)
            return await running


@pytest.fixture(scope="module")
def servers(installation: Installation) -> list[Server]:
    """Two processes on one database; SQLite is for one."""
    started = installation.serve(1 if Rows(installation.database_url).is_sqlite else 2)
    for server in started:
        asyncio.run(warm_up(server.url, installation.key))
    return started


def answers_at(upstream: Upstream, tokens_per_s: int) -> None:
    """Have the provider write long answers, so many tokens a second."""
    content, drip_s = " ".join([WORD] * 700), EVENT_TOKENS / tokens_per_s
    upstream.reset()
    upstream.answers({"times": FOREVER, "content": content, "drip_s": drip_s})


def sliced_day(
    installation: Installation, rows: Rows, servers: Sequence[Server], *, slices: float
) -> SlicedDay:
    """Create an organization whose day pays for so many slices of output."""
    slug = f"slices-{secrets.token_hex(4)}"
    key = installation.organizations(slug)[slug]
    installation.run("policies", "create", slug, "--name", "Day", "--max-cost-per-day", "1")
    org_id = rows.value("SELECT id FROM organization WHERE slug = %s", slug)
    nanoeur = round(slices * SLICE_TOKENS * TOKEN_NANOEUR)
    rows.execute(
        f"UPDATE policy SET hold = 'slices', max_cost_per_day_nanoeur = {nanoeur} "  # noqa: S608
        "WHERE org_id = (SELECT id FROM organization WHERE slug = %s)",
        slug,
    )
    return SlicedDay(servers=servers, rows=rows, org_id=org_id, key=key)


async def test_streams_at_full_limit_end_in_order_and_are_charged(
    installation: Installation, upstream: Upstream, servers: list[Server], rows: Rows
) -> None:
    answers_at(upstream, TOKENS_PER_S)
    before = len(upstream.written())
    day = sliced_day(installation, rows, servers, slices=1.1 * STREAMS)
    bodies = await day.streams(STREAMS)
    assert all('"finish_reason":"length"' in body for body in bodies)
    assert all(body.endswith("data: [DONE]\n\n") for body in bodies)
    await until(lambda: rows.unresolved() == 0)
    assert rows.query(ENDS, day.org_id) == [("ok", "length")] * STREAMS
    await until(lambda: len(upstream.written()) == before + STREAMS)
    written = [call["written_tokens"] * EVENT_TOKENS for call in upstream.written()[before:]]
    [(limit, held, settled, overrun)] = rows.query(BALANCE, day.org_id)
    assert held == 0
    assert settled <= limit
    assert settled + overrun >= sum(written) * TOKEN_NANOEUR
    # Most of what there was is used, and no more than half a second of each stream is above it.
    assert sum(written) * TOKEN_NANOEUR > limit / 2
    assert overrun <= STREAMS * TOKENS_PER_S / 2 * TOKEN_NANOEUR
    assert rows.disagreements() == []
    installation.run_each(("ledger", "verify"), ("audit", "verify"))


async def test_killed_stream_is_charged_at_what_it_held(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    answers_at(upstream, 5 * TOKENS_PER_S)
    doomed = await asyncio.to_thread(installation.serve, 1)
    day = sliced_day(installation, rows, doomed, slices=1_000)

    def has_grown() -> bool:
        held = [amount for amount, _, state in rows.query(HOLDS, day.org_id) if state == "held"]
        return bool(held) and held[0] > 2.5 * SLICE_TOKENS * TOKEN_NANOEUR

    async with aiohttp.ClientSession() as session:
        lost = asyncio.create_task(day.stream(session, doomed[0]))
        await until(has_grown)
        doomed[0].kill()
        with pytest.raises(aiohttp.ClientError):
            await lost
    [(held, _, state)] = rows.query(HOLDS, day.org_id)
    assert state == "held"
    rows.let_instances_look_dead()
    installation.run_each(("ledger", "reap"), ("ledger", "verify"), ("audit", "verify"))
    assert rows.query(HOLDS, day.org_id) == [(held, held, "unknown")]
    assert rows.disagreements() == []
