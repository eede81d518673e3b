"""Two rows share a model over two processes while one of them fails and works again."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import pytest

from gateway.providers.routing.breaker import FAILURES_MAX
from tests.fake_provider import FOREVER
from tests.system.clients import ClientCall, Outcome, ask
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

CALLS: Final = 120
AT_ONCE: Final = 12
RPM: Final = 20
SPENT_EUR: Final = "0.0005"
# Both are used before OpenAI itself, which has a key and order 1.
ADD_ROWS: Final = """
from datetime import UTC, datetime
from costs.models import Rate
from gateway.models import Provider
for name in ("eu", "us"):
    Provider.objects.create(
        name=name, title=name, base_url="{url}", dialects=["chat"], family="openai",
        secret="env:ROW_SECRET", names={{"gpt-4o-mini": "deployment-" + name}},
        models=["gpt-4o-mini"], weight=1, order=0, allow_loopback=True,
    )
    Rate.objects.create(
        provider=name, model="gpt-4o-mini", starts_at=datetime(2024, 1, 1, tzinfo=UTC),
        input_usd_per_mtok="0.15", output_usd_per_mtok="0.60", source="tests",
    )
"""
CHARGES: Final = """
    SELECT l.client_id, e.provider, count(*) FROM cost_event e JOIN hold h ON h.id = e.hold_id
    JOIN ai_request_log l ON l.id = h.request_id GROUP BY l.client_id, e.provider
"""


@pytest.fixture(scope="module")
def servers(installation: Installation, upstream: Upstream) -> list[Server]:
    """Two processes on one database with two rows for one model."""
    url = installation.environment["OPENAI_BASE_URL"]
    installation.environment["ROW_SECRET"] = "sk-row"
    installation.script(ADD_ROWS.format(url=url))
    return installation.serve(2)


LIMITED: Final = """
    SELECT count(e.id), coalesce(sum(e.amount_nanoeur), 0), max(p.limit_nanoeur),
           max(p.settled_nanoeur), max(p.held_nanoeur), max(p.overrun_nanoeur)
    FROM period p LEFT JOIN cost_event e ON e.org_id = p.org_id
    WHERE p.org_id = %s AND p.scope = 'org'
"""


async def _send(servers: Sequence[Server], key: str, count: int) -> list[Outcome]:
    """Send calls to each process in turn, so many at once."""
    places = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(n: int) -> Outcome:
            call = ClientCall(call=f"call-{secrets.token_hex(6)}", stream=n % 4 < 2)
            async with places:
                return await ask(session, servers[n % len(servers)].url, key, call)

        return await asyncio.gather(*(one(n) for n in range(count)))


def _answered_by(upstream: Upstream) -> Counter[tuple[str, bool]]:
    """Return how many calls each row got, and whether they were billed."""
    return Counter(
        (call["body"]["model"].removeprefix("deployment-"), call["billed"] is not None)
        for call in upstream.calls()
    )


async def test_failing_row_loses_no_call_and_gets_its_share_again(
    installation: Installation, servers: list[Server], upstream: Upstream, rows: Rows
) -> None:
    failing: dict[str, Any] = {"times": FOREVER, "when": ["deployment-eu"], "status": 503}
    upstream.reset()
    upstream.answers(failing)
    outcomes = await _send(servers, installation.key, CALLS)
    assert Counter(each.is_answered for each in outcomes) == {True: CALLS}
    got = _answered_by(upstream)
    assert got["us", True] == CALLS
    assert got["eu", True] == 0
    # Those on their way when it opens, and one call that tries it: of each process.
    assert 2 * FAILURES_MAX <= got["eu", False] <= 2 * (FAILURES_MAX + AT_ONCE + 1)

    upstream.reset()
    while not _answered_by(upstream)["eu", True]:  # until its time is over
        outcomes += await _send(servers, installation.key, 2 * AT_ONCE)
    assert all(each.is_answered for each in outcomes)
    own = {each.asked.call for each in outcomes}
    charges = [charge for charge in rows.query(CHARGES) if charge[0] in own]
    assert {call: count for call, _, count in charges} == {each.asked.call: 1 for each in outcomes}
    assert {provider for _, provider, _ in charges} == {"eu", "us"}
    assert rows.disagreements() == []
    installation.run("ledger", "verify")


@pytest.mark.usefixtures("servers")
async def test_failing_row_passes_no_limit(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    """What an attempt at the failing row took of money and rate is there for others again."""
    keys = installation.organizations("spent", "rated")
    installation.run_each(
        ("policies", "create", "spent", "--name", "Day", "--max-cost-per-day", SPENT_EUR),
        ("policies", "create", "rated", "--name", "Rate", "--rpm", str(RPM), "--wait", "0"),
    )
    upstream.reset()
    upstream.answers({"times": FOREVER, "when": ["deployment-eu"], "status": 503})
    others = installation.serve(2)  # in which no row has failed yet
    begun_s = time.monotonic()
    spent, rated = await asyncio.gather(
        *(_send(others, keys[slug], CALLS // 2) for slug in ("spent", "rated"))
    )
    refilled = int((time.monotonic() - begun_s) * RPM / 60)
    assert rows.unresolved() == 0
    # Where another call took the room of a second attempt, the vendor is the third.
    assert {"eu", "us"} <= {row for row, _ in _answered_by(upstream)}
    ends = [Counter(each.code for each in outcomes) for outcomes in (spent, rated)]
    # Where the limit is reached meanwhile, a call whose first row failed ends with that.
    refusals = {"daily_cost_limit", "rate_limited", "provider_error"}
    assert [each.keys() <= {None, *refusals} for each in ends] == [True, True]
    assert 0 < ends[1][None] <= RPM + refilled
    assert ends[0]["daily_cost_limit"] + ends[0]["rate_limited"] > 0
    for slug, outcomes in (("spent", spent), ("rated", rated)):
        org_id = rows.value("SELECT id FROM organization WHERE slug = %s", slug)
        [(count, charged, limit, settled, held, overrun)] = rows.query(LIMITED, org_id)
        assert count == sum(each.is_answered for each in outcomes) > 0
        assert (charged, held, overrun) == (settled, 0, 0)
        assert limit is None or settled <= limit
    assert rows.disagreements() == []
    installation.run("ledger", "verify")
