"""kill -9 at any moment, repeatedly: nothing is lost or doubled, the ledger verifies."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import signal
import time
from contextlib import suppress
from typing import Any, Final

import pytest

from tests.fake_provider import FOREVER
from tests.system.clients import ClientCall, Outcome, ask_one, until
from tests.system.load import Load
from tests.system.rows import Charge, Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Seen, Upstream, prompt_in

pytestmark = pytest.mark.both_databases

ROUNDS: Final = 3
PARTS_LONG: Final = 10  # of so many rounds each
# How long a round's servers live, at least and at most.
LIVES_S: Final = (1.0, 3.0)
RECOVERS_ALONE_WITHIN_S: Final = 60.0
# What the provider does in a round, besides answering well. Without an error status it has billed.
TROUBLE: Final[tuple[dict[str, Any], ...]] = (
    {"pause_s": 0.05},
    {"pause_s": 0.3},
    {"drip_s": 0.02},
    {"drip_s": 0.08},
    {"reset": "after"},
    {"cut_after_bytes": 100},
    {"cut_after_bytes": 900},
    {"status": 500},
    {"status": 429},
    {"no_usage": True},
    {"usage_twice": True},
    {"output_tokens": 5_000},
)


@pytest.fixture
def server_count(rows: Rows) -> int:
    """SQLite is for one machine and, in production, one process."""
    return 1 if rows.is_sqlite else 2


async def test_kill_never_loses_doubles_or_undercharges_call(
    installation: Installation, upstream: Upstream, rows: Rows, server_count: int
) -> None:
    await _rounds(installation, upstream, rows, server_count)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS_LONG))
async def test_many_kills_never_lose_double_or_undercharge_call(
    installation: Installation, upstream: Upstream, rows: Rows, server_count: int, part: int
) -> None:
    await _rounds(installation, upstream, rows, server_count)


async def _rounds(
    installation: Installation, upstream: Upstream, rows: Rows, server_count: int
) -> None:
    chance = random.Random(secrets.randbits(32))  # noqa: S311
    before = len(upstream.recorded())
    for _ in range(ROUNDS):
        outcomes = await _round(installation, upstream, server_count, chance)
        rows.let_instances_look_dead()
        installation.run_each(("ledger", "reap"), ("ledger", "verify"), ("audit", "verify"))
        _check_books(rows)
        _check_record(upstream.recorded(), rows, outcomes)
    assert len(upstream.recorded()) - before > 20 * ROUNDS


async def _round(
    installation: Installation, upstream: Upstream, count: int, chance: random.Random
) -> list[Outcome]:
    """Serve under load, kill the server, and return the finished calls."""
    upstream.reset()
    upstream.answers(*chance.choices(TROUBLE, k=300), {"times": FOREVER, "pause_s": 0.1})
    servers = await asyncio.to_thread(installation.serve, count)
    load = Load(servers=lambda: servers, key=installation.key, leaves=True)
    load.begin()
    # A vendor's SDK takes seconds to import, and a kill before the first call proves little.
    await until(lambda: len({call["vendor"] for call in upstream.calls()}) >= 3)
    for server in servers:
        await asyncio.sleep(chance.uniform(*LIVES_S) / count)
        _kill(server, chance)
    await load.end()
    return load.outcomes


def _kill(server: Server, chance: random.Random) -> None:
    """Kill everything at once, or the worker first and the parent a moment later."""
    if chance.random() < 0.5:
        for worker in server.workers():
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        time.sleep(chance.random() * 0.1)
    server.kill()


def _check_books(rows: Rows) -> None:
    assert rows.unresolved() == 0
    assert rows.disagreements() == []


def _check_record(recorded: list[Seen], rows: Rows, outcomes: list[Outcome]) -> None:
    """Compare every call that the provider recorded with the ledger."""
    charges: dict[str, Charge] = {charge.call: charge for charge in rows.charges()}
    answered = {outcome.asked.call: outcome for outcome in outcomes if outcome.is_answered}
    names = [prompt_in(call).split(" ")[0] for call in recorded]
    assert len(names) == len(set(names)), "a call went out twice"
    for name, call in zip(names, recorded, strict=True):
        charge = charges.get(name)
        assert charge is not None, f"{name} was called without a hold"
        assert charge.held_at < call["received_at"]
        _check_charge(charge, call["billed"], answered.get(name))
    for name, outcome in answered.items():
        assert outcome.answer["estimatedCostEur"] == charges[name].charged_nanoeur / 1e9


def _check_charge(charge: Charge, billed: dict[str, Any] | None, answered: Outcome | None) -> None:
    price = charge.price_of(billed) if billed else 0
    assert charge.charged_nanoeur >= min(price, charge.amount_nanoeur), "undercharged"
    if charge.state == "settled":
        assert charge.charged_nanoeur == price
    elif charge.state == "unknown":
        streamed = charge.code != "abandoned"  # its process saw something of the answer
        assert charge.is_unknown_of(stream=streamed)
    else:
        assert (charge.state, billed) == ("released", None)
    if answered is not None and answered.answer["totalTokens"] is not None:
        assert charge.charged_nanoeur == price


async def _one_held_call(installation: Installation, upstream: Upstream) -> ClientCall:
    """Kill a gateway in the middle of a call."""
    upstream.reset()
    upstream.answers({"stall": "headers"})
    server = (await asyncio.to_thread(installation.serve))[0]
    asked = ClientCall(call=secrets.token_hex(8))
    running = asyncio.create_task(ask_one(server.url, installation.key, asked))
    await upstream.arrived(asked.prompt)
    server.kill()
    assert (await running).status == 0
    return asked


async def test_idle_restarted_gateway_settles_abandoned_holds(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    asked = await _one_held_call(installation, upstream)
    left = rows.charge(asked.call)
    rows.let_instances_look_dead()
    server = (await asyncio.to_thread(installation.serve))[0]
    await until(lambda: rows.charge(asked.call).state != "held")
    settled = rows.charge(asked.call)
    server.terminate()
    await asyncio.to_thread(server.wait)
    assert (left.state, left.status) == ("held", "pending")
    assert (settled.state, settled.status, settled.code) == ("unknown", "unknown", "abandoned")
    assert settled.charged_nanoeur == settled.amount_nanoeur


@pytest.mark.long
async def test_recovery_is_automatic_within_minute(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    asked = await _one_held_call(installation, upstream)
    server = (await asyncio.to_thread(installation.serve))[0]
    await until(lambda: rows.charge(asked.call).state != "held", within_s=RECOVERS_ALONE_WITHIN_S)
    server.kill()
    assert rows.charge(asked.call).state == "unknown"


async def test_verify_finds_rows_changed_by_hand(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    upstream.reset()
    server = (await asyncio.to_thread(installation.serve))[0]
    asked = ClientCall(call=secrets.token_hex(8))
    assert (await ask_one(server.url, installation.key, asked)).is_answered
    server.kill()
    [(period,)] = rows.query("SELECT id FROM period")
    for change in (1, -1):
        rows.execute("UPDATE period SET settled_nanoeur = settled_nanoeur + %s", change)
        found = json.dumps(rows.disagreements())
        exit_codes = {installation.exit_code("ledger", "verify"), 0}
        assert (len(exit_codes) > 1) is (change == 1)
        assert ("period's charges" in found) is (change == 1), period
