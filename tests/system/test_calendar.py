"""Days and prices through the whole gateway: the moment of admission decides."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

from tests.system.clients import MODELS, ClientCall, Outcome, ask_one
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream, prompt_in


async def _in_flight(
    installation: Installation, server: Server, upstream: Upstream, asked: ClientCall
) -> asyncio.Task[Outcome]:
    """Send a call; return when the provider has received it, which answers once released."""
    upstream.reset()
    upstream.answers({"until_released": True})
    running = asyncio.create_task(ask_one(server.url, installation.key, asked))
    await upstream.arrived(asked.prompt)
    return running


def _sums(rows: Rows, period_id: str) -> tuple[int, int]:
    [sums] = rows.query(
        "SELECT held_nanoeur, settled_nanoeur + overrun_nanoeur FROM period WHERE id = %s",
        period_id,
    )
    return sums[0], sums[1]


async def test_call_across_midnight_is_charged_to_day_of_admission(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    first, second = (ClientCall(call=secrets.token_hex(8)) for _ in range(2))
    running = await _in_flight(installation, server, upstream, first)
    yesterday = rows.charge(first.call).period_id
    spent_before = _sums(rows, yesterday)[1]
    # No test can wait for midnight: the day is cut short, and the next one begins.
    midnight = datetime.now(UTC)
    rows.execute("UPDATE period SET ends_at = %s WHERE id = %s", rows.moment(midnight), yesterday)
    after = await ask_one(server.url, installation.key, second)
    held_meanwhile = _sums(rows, yesterday)[0]
    upstream.release()
    before = await running

    night, morning = rows.charge(first.call), rows.charge(second.call)
    assert before.is_answered
    assert after.is_answered
    assert night.period_id == yesterday != morning.period_id
    assert held_meanwhile == night.amount_nanoeur
    assert _sums(rows, yesterday) == (0, spent_before + night.charged_nanoeur)
    assert _sums(rows, morning.period_id) == (0, morning.charged_nanoeur)
    assert rows.disagreements() == []


async def test_daily_limit_resets_at_midnight(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    asked = ClientCall(call=secrets.token_hex(8), vendor="anthropic")
    upstream.reset()
    assert (await ask_one(server.url, installation.key, asked)).is_answered
    charge = rows.charge(asked.call)
    spent = _sums(rows, charge.period_id)[1]
    limit = f"{(spent + charge.amount_nanoeur - 1) / 1e9:.9f}"
    installation.run("policies", "create", "acme", "--name", "Day", "--max-cost-per-day", limit)
    again, tomorrow = (ClientCall(call=secrets.token_hex(8), vendor="anthropic") for _ in range(2))
    refused = await ask_one(server.url, installation.key, again)
    now = rows.moment(datetime.now(UTC))
    rows.execute("UPDATE period SET ends_at = %s WHERE id = %s", now, charge.period_id)
    answered = await ask_one(server.url, installation.key, tomorrow)
    installation.run("policies", "delete", "acme", "Day")
    assert (refused.status, refused.code) == (403, "daily_cost_limit")
    assert 1 < int(refused.headers["retry-after"]) <= 25 * 3600
    assert answered.is_answered


async def test_price_change_during_call_does_not_change_its_cost(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    model = MODELS["openai"]
    first, second = (ClientCall(call=secrets.token_hex(8)) for _ in range(2))
    running = await _in_flight(installation, server, upstream, first)
    await asyncio.to_thread(
        installation.run,
        *("prices", "set", model, "--provider", "openai", "--input", "1500", "--output", "6000"),
    )
    assert not running.done()
    upstream.release()
    before = await running
    after = await ask_one(server.url, installation.key, second)

    old, new = rows.charge(first.call), rows.charge(second.call)
    billed = {prompt_in(call): call for call in upstream.calls()}
    assert before.is_answered
    assert after.is_answered
    assert old.charged_nanoeur == old.price_of(billed[first.prompt]["billed"])
    assert new.charged_nanoeur == new.price_of(billed[second.prompt]["billed"])
    assert new.charged_nanoeur > 1000 * old.charged_nanoeur
    assert rows.disagreements() == []
