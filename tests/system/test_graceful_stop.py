"""SIGTERM under load: running calls finish and are charged, none is cut, no hold is left."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.fake_provider import FOREVER, VENDORS
from tests.system.clients import ClientCall, RawClient, ask_all, until, warm_up
from tests.system.load import Load
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream, prompt_in

pytestmark = pytest.mark.both_databases

CALLS = 48
ANSWERED_BEFORE = 60
ANSWER_S = 3.0
IMPORTED_WITHIN_S = 240.0
# A compiled part of OpenAI's and Anthropic's libraries, which nothing else needs.
PART_OF_A_LIBRARY: Final = "/jiter."


async def _statuses(server: Server) -> list[int]:
    """Call /readyz until there is no answer; return the statuses, without repeats."""
    statuses: list[int] = []
    while True:
        status, _ = await asyncio.to_thread(server.readiness)
        if status not in statuses[-1:]:
            statuses.append(status)
        if status == 0:
            return statuses
        await asyncio.sleep(0.05)


async def test_stop_under_load_finishes_answers_and_leaves_no_hold(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    server = installation.serve()[0]
    await warm_up(server.url, installation.key)
    upstream.reset()
    # Plain answers take ANSWER_S; streams drip for about as long.
    upstream.answers(
        {"times": CALLS // 2, "pause_s": ANSWER_S}, {"times": FOREVER, "drip_s": ANSWER_S / 14}
    )
    asked = [
        ClientCall(call=secrets.token_hex(8), vendor=VENDORS[n % 4], stream=n % 8 >= 4)
        for n in range(CALLS)
    ]
    running = asyncio.create_task(ask_all(server.url, installation.key, *asked))
    await until(lambda: len(upstream.calls()) >= CALLS)

    server.terminate()
    statuses = await _statuses(server)
    outcomes = await running
    exit_code = await asyncio.to_thread(server.wait)

    by_call = {prompt_in(call): call for call in upstream.calls()}
    cut = [outcome for outcome in outcomes if not outcome.is_answered]
    assert cut == []
    assert all(outcome.text == outcome.asked.prompt for outcome in outcomes)
    for outcome in outcomes:
        charge = rows.charge(outcome.asked.call)
        billed = by_call[outcome.asked.prompt]["billed"]
        assert (charge.state, charge.charged_nanoeur) == ("settled", charge.price_of(billed))
    assert rows.unresolved() == 0
    assert exit_code == 0
    assert 200 not in statuses[1:]
    assert rows.query("SELECT 1 FROM instance WHERE stopped_at IS NULL") == []
    assert rows.disagreements() == []


async def test_disconnected_call_is_drained_and_charged_before_stop(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    rows.execute("UPDATE organization SET on_disconnect = 'drain'")
    [server] = installation.serve()
    await warm_up(server.url, installation.key)
    upstream.reset()
    upstream.answers({"pause_s": ANSWER_S})
    asked = ClientCall(call=secrets.token_hex(8))
    client = await RawClient.sending(server.url, installation.key, asked)
    await until(lambda: len(upstream.calls()) == 1)
    await client.leave()
    server.terminate()
    exit_code = await asyncio.to_thread(server.wait)
    rows.execute("UPDATE organization SET on_disconnect = 'close'")

    charge = rows.charge(asked.call)
    [call] = upstream.calls()
    assert exit_code == 0
    assert (charge.state, charge.charged_nanoeur) == ("settled", charge.price_of(call["billed"]))


async def test_calls_during_stop_are_refused_or_answered_completely(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    server = installation.serve()[0]
    upstream.reset()
    upstream.answers({"times": FOREVER, "pause_s": 0.3})
    load = Load(servers=lambda: [server], key=installation.key)
    load.begin()
    await until(lambda: sum(o.is_answered for o in load.outcomes) >= ANSWERED_BEFORE)
    server.terminate()
    exit_code = await asyncio.to_thread(server.wait)
    await load.end()

    refused = {(o.status, o.code) for o in load.outcomes if o.status not in (0, 200)}
    unanswered = {outcome.asked.call for outcome in load.outcomes if outcome.status == 0}
    charged = {charge.call: charge for charge in rows.charges()}
    assert exit_code == 0
    assert all(outcome.is_answered for outcome in load.outcomes if outcome.status == 200)
    assert refused <= {(503, "ledger_unavailable")}
    # Clients without an answer could not connect, and were not charged.
    assert not unanswered & set(charged)
    assert {charge.state for charge in charged.values()} == {"settled"}
    assert rows.disagreements() == []


def test_libraries_are_imported_before_any_call_and_do_not_keep_server_from_stopping(
    installation: Installation,
) -> None:
    at_once, later = replace(installation, forks=False).serve(2)
    at_once.terminate()
    assert at_once.wait() == 0
    deadline = time.monotonic() + IMPORTED_WITHIN_S
    while not all(_has_loaded(pid, PART_OF_A_LIBRARY) for pid in later.workers()):
        assert time.monotonic() < deadline, later.log.read_text()
        time.sleep(0.1)
    assert later.readiness()[0] == 200
    later.terminate()
    assert later.wait() == 0


def _has_loaded(pid: int, name: str) -> bool:
    return name in Path(f"/proc/{pid}/maps").read_text()
