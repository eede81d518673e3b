"""Turns of Claude Code at once, on little money: they wait for each other, and none is refused."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp
import pytest

from tests.agents import shape
from tests.fake_provider import FOREVER
from tests.system.clients import until, warm_up
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

AGENTS: Final = 30
EUR: Final = 10**9
TURN: Final = shape("claude-code-turn")
PATH: Final = "/v1/messages?beta=true"
# What such a turn costs: 0.045 EUR, of a bound of more than 2.
BILLED: Final = {"input_tokens": 8_500, "output_tokens": 280}
TURN_MAX_S: Final = 600.0
T = TypeVar("T")
BALANCES: Final = """
    SELECT held_nanoeur, settled_nanoeur + overrun_nanoeur FROM period WHERE org_id = %s
"""
WAITED: Final = """
    SELECT count(*) FROM ai_request_log
    WHERE org_id = %s AND CAST(decision AS TEXT) LIKE '%%"waited"%%'
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """How a turn ended."""

    status: int
    headers: dict[str, str]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """An organization with little money, and the processes that its agents use."""

    servers: Sequence[Server]
    rows: Rows
    org_id: Any
    key: str
    limit_nanoeur: int

    async def run(
        self,
        work: Callable[[Server, aiohttp.ClientSession], Awaitable[T]],
        *,
        count: int = AGENTS,
    ) -> list[T]:
        """Run the agents, each at a process; balances must be within the limit all the time.

        At each commit a trigger in the database sees to it.
        """
        timeout = aiohttp.ClientTimeout(total=TURN_MAX_S)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            works = [work(self.servers[n % len(self.servers)], session) for n in range(count)]
            running = asyncio.gather(*works)
            while not running.done():
                for held, charged in self.rows.query(BALANCES, self.org_id):
                    assert held + charged <= self.limit_nanoeur
                await asyncio.sleep(0.05)
            return await running

    async def turn(self, server: Server, session: aiohttp.ClientSession) -> Turn:
        """Send one turn, as an agent does."""
        headers = {**TURN.headers, "x-api-key": self.key}
        async with session.post(f"{server.url}{PATH}", data=TURN.text, headers=headers) as answer:
            named = {name.lower(): value for name, value in answer.headers.items()}
            return Turn(answer.status, named, await answer.text())

    async def turns(self, server: Server, session: aiohttp.ClientSession) -> list[Turn]:
        """Send turns until one is refused."""
        turns = [await self.turn(server, session)]
        while turns[-1].status == 200:
            turns.append(await self.turn(server, session))
        return turns


def turns_at(upstream: Upstream) -> list[dict[str, Any]]:
    """Return the turns that the vendor was asked for; counts of their input are free."""
    return [call for call in upstream.calls() if "count_tokens" not in call["path"]]


@pytest.fixture(scope="module")
def servers(installation: Installation) -> list[Server]:
    """Three processes on one database."""
    started = installation.serve(3)
    for server in started:
        asyncio.run(warm_up(server.url, installation.key))
    return started


@pytest.fixture
def agents(
    installation: Installation, upstream: Upstream, servers: list[Server], rows: Rows
) -> Callable[..., Agents]:
    """Create an organization whose only limit is that of its day."""
    upstream.reset()
    upstream.answers({"times": FOREVER, "pause_s": 0.4, **BILLED})

    def made(*, eur: int, processes: int, more: tuple[str, ...] = ()) -> Agents:
        slug = f"agents-{secrets.token_hex(4)}"
        key = installation.organizations(slug)[slug]
        terms = ("--name", "Day", "--max-cost-per-day", str(eur), *more)
        installation.run("policies", "create", slug, *terms)
        org_id = rows.value("SELECT id FROM organization WHERE slug = %s", slug)
        return Agents(
            servers=servers[:processes], rows=rows, org_id=org_id, key=key, limit_nanoeur=eur * EUR
        )

    return made


@pytest.mark.parametrize("processes", [1, 3])
async def test_turns_at_once_are_all_answered(
    agents: Callable[..., Agents], upstream: Upstream, rows: Rows, processes: int
) -> None:
    of_day = agents(eur=20, processes=processes)
    turns = await of_day.run(of_day.turn)
    assert Counter(each.status for each in turns) == {200: AGENTS}
    assert len(turns_at(upstream)) == AGENTS
    assert 0 < rows.value(WAITED, of_day.org_id) < AGENTS
    assert rows.unresolved() == 0
    assert rows.disagreements() == []


@pytest.mark.parametrize("processes", [1, 3])
async def test_turns_go_on_until_money_is_spent(
    agents: Callable[..., Agents], upstream: Upstream, rows: Rows, processes: int
) -> None:
    of_day = agents(eur=5, processes=processes, more=("--wait", "600"))
    ends = [each[-1] for each in await of_day.run(of_day.turns)]
    assert Counter((end.status, end.headers["x-pulse-error-code"]) for end in ends) == {
        (429, "daily_cost_limit"): AGENTS
    }
    assert {end.headers["x-should-retry"] for end in ends} == {"false"}
    [(held, charged)] = rows.query(BALANCES, of_day.org_id)
    least = rows.value("SELECT min(amount_nanoeur) FROM hold WHERE org_id = %s", of_day.org_id)
    assert held == 0
    assert of_day.limit_nanoeur - charged < least
    assert rows.disagreements() == []


async def test_killed_processes_lose_nothing_of_calls_that_wait(
    agents: Callable[..., Agents], installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    of_day = agents(eur=5, processes=2, more=("--wait", "600"))
    doomed = await asyncio.to_thread(installation.serve, 2)
    upstream.reset()
    upstream.answers({"times": FOREVER, "until_released": True, **BILLED})
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sent = [asyncio.create_task(of_day.turn(doomed[n % 2], session)) for n in range(AGENTS)]
        await until(lambda: len(turns_at(upstream)) >= 2)
        for server in doomed:
            server.kill()
        ends = await asyncio.gather(*sent, return_exceptions=True)
    assert all(isinstance(end, aiohttp.ClientError) for end in ends)
    held = rows.value("SELECT count(*) FROM hold WHERE org_id = %s", of_day.org_id)
    assert len(turns_at(upstream)) <= held < AGENTS
    assert held == rows.value(
        "SELECT count(*) FROM ai_request_log WHERE org_id = %s", of_day.org_id
    )
    rows.let_instances_look_dead()
    installation.run_each(("ledger", "reap"), ("ledger", "verify"), ("audit", "verify"))
    assert rows.disagreements() == []


async def test_call_waits_for_hold_of_killed_process(
    agents: Callable[..., Agents], installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    of_day = agents(eur=5, processes=1, more=("--wait", "600"))
    [doomed] = await asyncio.to_thread(installation.serve, 1)
    upstream.reset()
    upstream.answers({"times": FOREVER, "until_released": True, **BILLED})
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        # The last of them gets what the others leave.
        lost = [asyncio.create_task(of_day.turn(doomed, session)) for _ in range(3)]
        await until(lambda: len(turns_at(upstream)) == 3)
        waiting = asyncio.create_task(of_day.turn(of_day.servers[0], session))
        doomed.kill()
        await asyncio.gather(*lost, return_exceptions=True)
        rows.let_instances_look_dead()
        # All are charged at their holds, so that the limit is spent.
        end = await waiting
    assert (end.status, end.headers["x-pulse-error-code"]) == (429, "daily_cost_limit")
    assert rows.unresolved() == 0
    assert rows.disagreements() == []


async def test_organization_that_waits_keeps_no_other_out(
    agents: Callable[..., Agents], upstream: Upstream
) -> None:
    upstream.reset()
    upstream.answers({"times": FOREVER, "pause_s": 1.0, **BILLED})
    crowded, other = (agents(eur=3, processes=1), agents(eur=20, processes=1))
    turns, theirs = await asyncio.gather(crowded.run(crowded.turn), other.run(other.turn, count=5))
    assert {each.status for each in (*turns, *theirs)} == {200}
    assert other.rows.value(WAITED, other.org_id) == 0
    assert crowded.rows.value(WAITED, crowded.org_id) > 0
