"""Database outage under load: refusals, no call, and quick recovery."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.fake_provider import FOREVER, VENDORS
from tests.system.clients import (
    WAIT_MAX_S,
    ClientCall,
    Outcome,
    ask_all,
    ask_one,
    until,
    warm_up,
)
from tests.system.databases import prepare
from tests.system.load import Load
from tests.system.outages import (
    LockedFile,
    Outage,
    StoppedServer,
    SuspendedServer,
    throw_away_server,
)
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream, prompt_in

pytestmark = pytest.mark.both_databases

# A locked file is waited for as long as SQLite's busy timeout, so it must be away for longer.
AWAY_S: Final = {True: 8.0, False: 7.0}
IN_FLIGHT: Final = 8
FLIGHT_S: Final = 2.0


@pytest.fixture
def fragile(
    installation: Installation, rows: Rows, tmp_path: Path
) -> Iterator[tuple[Installation, Outage]]:
    """An installation whose database can be stopped."""
    if rows.is_sqlite:
        yield installation, LockedFile(rows)
        return
    with (
        throw_away_server() as server,
        _like(installation, at=server.get_uri(), folder=tmp_path) as made,
    ):
        yield made, StoppedServer(server)


@contextmanager
def _like(installation: Installation, *, at: str, folder: Path) -> Iterator[Installation]:
    """Give an installation like another one, at another database."""
    made = replace(installation, database_url=at, folder=folder, servers=[])
    made.key = prepare(made)
    try:
        yield made
    finally:
        made.kill_all()


async def _answers_again(server: Server, key: str) -> None:
    """Send calls until one is answered."""
    give_up_at = time.monotonic() + WAIT_MAX_S
    while True:
        outcome = await ask_one(server.url, key, ClientCall(call=secrets.token_hex(8)))
        if outcome.is_answered:
            return
        assert time.monotonic() < give_up_at, outcome.answer
        await asyncio.sleep(0.05)


async def _in_flight(server: Server, key: str, upstream: Upstream) -> asyncio.Task[list[Outcome]]:
    """Send calls whose answers arrive during the outage; return when all were sent."""
    asked = [
        ClientCall(call=f"flight-{secrets.token_hex(8)}", vendor=VENDORS[n % 4], stream=n % 8 >= 4)
        for n in range(IN_FLIGHT)
    ]
    wanted = {each.prompt for each in asked}
    running = asyncio.create_task(ask_all(server.url, key, *asked))
    await until(lambda: wanted <= {prompt_in(call) for call in upstream.calls()})
    return running


async def test_without_database_calls_are_refused_and_not_sent(
    fragile: tuple[Installation, Outage], upstream: Upstream
) -> None:
    installation, outage = fragile
    rows = Rows(installation.database_url)
    server = (await asyncio.to_thread(installation.serve))[0]
    await warm_up(server.url, installation.key)
    upstream.reset()
    upstream.answers({"times": IN_FLIGHT, "pause_s": FLIGHT_S}, {"times": FOREVER, "pause_s": 0.1})
    flight = await _in_flight(server, installation.key, upstream)
    loads = [Load(servers=lambda: [server], key=installation.key, clients=8) for _ in range(2)]
    loads[0].begin()
    await asyncio.sleep(0.5)

    await asyncio.to_thread(outage.begin)
    loads[1].begin()  # those of before may wait for their calls to be settled
    await asyncio.sleep(AWAY_S[rows.is_sqlite])
    unready = await asyncio.to_thread(server.readiness)
    await until(flight.done)  # answers that have come are not kept back
    back_at = time.time()
    await asyncio.to_thread(outage.end)
    await _answers_again(server, installation.key)
    for load in loads:
        await load.end()
    in_flight = await flight

    of_outage = {outcome.asked.prompt for outcome in loads[1].outcomes}
    called = [call for call in upstream.calls() if prompt_in(call) in of_outage]
    assert all(call["received_at"] > back_at for call in called)
    refused = {(o.status, o.code) for load in loads for o in load.outcomes if not o.is_answered}
    assert refused == {(503, "ledger_unavailable")}
    assert unready[0] == (200 if rows.is_sqlite else 503)
    await _check_settled(in_flight, rows, upstream)


async def _check_settled(in_flight: list[Outcome], rows: Rows, upstream: Upstream) -> None:
    """Assert that calls in flight at the start of the outage are answered and charged exactly."""
    billed = {prompt_in(call): call["billed"] for call in upstream.calls()}
    for outcome in in_flight:
        charge = rows.resolved(outcome.asked.call)
        assert outcome.is_answered
        assert (charge.state, charge.charged_nanoeur) == (
            "settled",
            charge.price_of(billed[outcome.asked.prompt]),
        )
    await until(lambda: rows.unresolved() == 0)
    assert rows.disagreements() == []
    charged = {charge.call for charge in rows.charges()}
    assert {prompt.split(" ")[0] for prompt in billed} <= charged


@pytest.mark.postgres_only  # a file that is locked can still be read
async def test_start_without_database_is_not_ready_and_refuses(
    fragile: tuple[Installation, Outage], upstream: Upstream
) -> None:
    installation, outage = fragile
    upstream.reset()
    outage.begin()
    server = installation.start()
    await until(lambda: server.readiness()[0] != 0)
    status, _ = server.readiness()
    refused = await ask_one(server.url, installation.key, ClientCall(call=secrets.token_hex(8)))
    outage.end()
    await _answers_again(server, installation.key)
    assert (status, refused.status, refused.code) == (503, 503, "ledger_unavailable")
    assert len(upstream.calls()) == 1


class Quoted(ClientCall):
    """A request for a quote, which reads the database."""

    @property
    def path(self) -> str:
        return "/api/ai/quote"


@pytest.mark.postgres_only  # SQLite has no server that could be suspended
async def test_suspended_database_is_given_up_and_leaves_no_hold(
    installation: Installation, upstream: Upstream, tmp_path: Path
) -> None:
    with (
        throw_away_server() as server,
        _like(installation, at=server.get_uri(), folder=tmp_path) as made,
    ):
        outage, rows = SuspendedServer(server), Rows(made.database_url)
        serving = (await asyncio.to_thread(made.serve))[0]
        await warm_up(serving.url, made.key)
        upstream.reset()

        outage.begin()
        try:
            refused = await asyncio.gather(
                *(ask_one(serving.url, made.key, ClientCall(call=f"c{n}")) for n in range(8)),
                *(ask_one(serving.url, made.key, Quoted(call=f"q{n}")) for n in range(16)),
            )
            status, _ = await asyncio.to_thread(serving.readiness)
        finally:
            outage.end()
        await _answers_again(serving, made.key)

        assert {(o.status, o.code) for o in refused} == {(503, "ledger_unavailable")}
        assert status != 200
        assert len(upstream.calls()) == 1
        await until(lambda: rows.unresolved() == 0)
        assert rows.disagreements() == []
