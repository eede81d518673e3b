"""Rates over several processes: never passed, as providers see it, and free after kills."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
import pytest

from tests.fake_provider import FOREVER
from tests.system.clients import ClientCall, Outcome, ask, until, warm_up
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

PAUSE_S: Final = 0.4
IN_FLIGHT: Final = "SELECT in_flight FROM rate_bucket WHERE org_id = %s"
HELD_AT: Final = "SELECT held_at FROM hold WHERE org_id = %s ORDER BY held_at"
USED: Final = "SELECT sum(input_tokens + output_tokens) FROM cost_event WHERE org_id = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """An organization with one rate, and the processes that it uses."""

    servers: Sequence[Server]
    org_id: Any
    key: str

    async def send(self, count: int) -> list[Outcome]:
        """Send calls at once, to each process in turn."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            calls = (ClientCall(call=f"call-{secrets.token_hex(6)}") for _ in range(count))
            sent = [
                ask(session, self.servers[n % len(self.servers)].url, self.key, each)
                for n, each in enumerate(calls)
            ]
            return await asyncio.gather(*sent)


@pytest.fixture(scope="module")
def servers(installation: Installation) -> list[Server]:
    """Two processes on one database."""
    started = installation.serve(2)
    for server in started:
        asyncio.run(warm_up(server.url, installation.key))
    return started


@pytest.fixture
def team(
    installation: Installation, upstream: Upstream, servers: list[Server], rows: Rows
) -> Callable[..., Team]:
    """Create an organization with a rate."""
    upstream.reset()
    upstream.answers({"times": FOREVER, "pause_s": PAUSE_S})

    def made(option: str, most: int, *, wait_s: int) -> Team:
        slug = f"rated-{secrets.token_hex(4)}"
        key = installation.organizations(slug)[slug]
        terms = (option, str(most), "--wait", str(wait_s))
        installation.run("policies", "create", slug, "--name", "Rate", *terms)
        org_id = rows.value("SELECT id FROM organization WHERE slug = %s", slug)
        return Team(servers=servers, org_id=org_id, key=key)

    return made


async def test_provider_never_has_more_calls_than_may_be_in_flight(
    team: Callable[..., Team], upstream: Upstream, rows: Rows
) -> None:
    most = 4
    outcomes = await (rated := team("--concurrent", most, wait_s=600)).send(3 * most + 1)
    assert Counter(each.status for each in outcomes) == {200: 3 * most + 1}
    at = sorted(call["received_at"] for call in upstream.calls())
    # Each is kept for so long: the one that comes `most` later comes after its end.
    assert all(later - at_once >= PAUSE_S for at_once, later in zip(at, at[most:], strict=False))
    assert rows.value(IN_FLIGHT, rated.org_id) == 0
    assert rows.disagreements() == []


async def test_calls_per_minute_are_exact_over_processes(
    team: Callable[..., Team], upstream: Upstream, rows: Rows
) -> None:
    most = 15
    outcomes = await (rated := team("--rpm", most, wait_s=0)).send(2 * most)
    held_at = [datetime.fromisoformat(str(each)) for (each,) in rows.query(HELD_AT, rated.org_id)]
    refilled = int((held_at[-1] - held_at[0]).total_seconds() * most / 60)
    statuses = Counter(each.status for each in outcomes)
    assert statuses == {200: len(held_at), 429: 2 * most - len(held_at)}
    assert most <= len(held_at) <= most + refilled
    assert len(upstream.calls()) == len(held_at)


async def test_tokens_per_minute_are_kept_over_processes(
    team: Callable[..., Team], rows: Rows
) -> None:
    most = 1_000
    outcomes = await (rated := team("--tpm", most, wait_s=0)).send(30)
    assert {each.status for each in outcomes} == {200, 429}
    held_at = [datetime.fromisoformat(str(each)) for (each,) in rows.query(HELD_AT, rated.org_id)]
    refilled = (held_at[-1] - held_at[0]).total_seconds() * most / 60
    assert 0 < rows.value(USED, rated.org_id) <= most + refilled


async def test_calls_of_killed_process_are_in_flight_no_more(
    team: Callable[..., Team], installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    rated = team("--concurrent", 2, wait_s=600)
    [doomed] = await asyncio.to_thread(installation.serve, 1)
    upstream.reset()
    upstream.answers({"times": 2, "stall": "headers"}, {"times": FOREVER})
    of_doomed = Team(servers=[doomed], org_id=rated.org_id, key=rated.key)
    lost = asyncio.create_task(of_doomed.send(2))
    await until(lambda: len(upstream.calls()) == 2)
    waiting = asyncio.create_task(rated.send(1))
    doomed.kill()
    await asyncio.gather(lost, return_exceptions=True)
    assert rows.value(IN_FLIGHT, rated.org_id) == 2
    rows.let_instances_look_dead()
    [outcome] = await waiting
    assert outcome.status == 200
    assert rows.value(IN_FLIGHT, rated.org_id) == 0
    installation.run_each(("ledger", "verify"), ("audit", "verify"))
