"""A session of 200 turns with subagents over two processes: its page, its costs and its cap."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, Final

import pytest

from tests.system.browser import Browser
from tests.system.clients import ClientCall, Outcome, ask_all, warm_up
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

ADMIN: Final = "admin@acme.example"
PASSWORD: Final = "correct horse battery staple"
SESSION: Final = "5b0e8f34-0e1c-4f7a-9d51-2f7f3f9b8a10"
# Turns of the main agent (None) and of its subagents, which run at the same time.
TURNS: Final = {None: 140, "explorer": 25, "tester": 20, "reviewer": 15}
AT_ONCE: Final = 48
LEFT_CALLS: Final = 7


def _turn(session: str, agent: str | None = None) -> ClientCall:
    return ClientCall(call=secrets.token_hex(8), session=session, agent=agent)


async def _agent(servers: list[Server], key: str, agent: str | None, turns: int) -> list[Outcome]:
    """Take turns, one after another, at either process."""
    return [
        (await ask_all(servers[turn % 2].url, key, _turn(SESSION, agent)))[0]
        for turn in range(turns)
    ]


async def test_long_session_has_page_costs_and_cap(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    servers = await asyncio.to_thread(installation.serve, 2)
    installation.members(("acme", ADMIN, "admin"), password=PASSWORD)
    for server in servers:
        await warm_up(server.url, installation.key)
    agents = [_agent(servers, installation.key, agent, turns) for agent, turns in TURNS.items()]
    outcomes = [outcome for some in await asyncio.gather(*agents) for outcome in some]
    assert len(outcomes) == 200
    assert all(outcome.is_answered for outcome in outcomes)

    costs = _costs_by_agent(rows)
    spent = sum(costs.values())
    assert {agent: turns for agent, turns in TURNS.items() if costs[agent] > 0} == TURNS
    async with Browser(servers[0].url) as browser:
        await browser.sign_in(ADMIN, PASSWORD)
        await _check_page(browser, spent, costs)
        await _check_costs(browser, spent, costs)
    await _check_cap(installation, servers, rows, spent)
    assert rows.disagreements() == []
    assert "no differences found" in installation.run("ledger", "verify")


def _costs_by_agent(rows: Rows) -> dict[str | None, int]:
    found = rows.query(
        "SELECT agent_id, SUM(amount_nanoeur) FROM cost_event WHERE session_id = %s "
        "GROUP BY agent_id",
        SESSION,
    )
    return {agent: int(amount) for agent, amount in found}


async def _check_page(browser: Browser, spent: int, costs: dict[str | None, int]) -> None:
    page = await browser.send("GET", f"/admin/ai/session?id={SESSION}")
    assert page.status == 200
    assert page.body.count('id="row-') == 100  # the first of two pages
    assert ">Later requests</a>" in page.body
    for amount in (spent, *costs.values()):
        assert f'<data value="{amount}"' in page.body
    for agent in filter(None, TURNS):
        assert f"agentId={agent}" in page.body
    assert "<dt>Requests</dt><dd>200" in page.body


async def _check_costs(browser: Browser, spent: int, costs: dict[str | None, int]) -> None:
    by_session = await _groups(browser, "groupBy=session&period=7d")
    assert {each["session"]: each["amountNanoeur"] for each in by_session}[SESSION] == spent
    by_agent = await _groups(browser, f"groupBy=agent&sessionId={SESSION}&period=7d")
    assert {each["agent"]: each["amountNanoeur"] for each in by_agent} == costs
    assert {each["agent"]: each["requests"] for each in by_agent} == TURNS


async def _groups(browser: Browser, query: str) -> list[dict[str, Any]]:
    page = await browser.send("GET", f"/costs.json?{query}")
    groups: list[dict[str, Any]] = json.loads(page.body)["groups"]
    return groups


async def _check_cap(
    installation: Installation, servers: list[Server], rows: Rows, spent: int
) -> None:
    """Calls of both processes at once take what is left of the session, and no more."""
    bound = rows.value(
        "SELECT MAX(hold_nanoeur) FROM ai_request_log WHERE session_id = %s", SESSION
    )
    limit = spent + LEFT_CALLS * bound
    limit_eur = f"{limit // 10**9}.{limit % 10**9:09d}"
    installation.run(
        "policies", "create", "acme", "--name", "Agents", "--max-cost-per-session", limit_eur
    )
    asked = [_turn(SESSION, "explorer") for _ in range(AT_ONCE)]
    half = AT_ONCE // 2
    both = await asyncio.gather(
        ask_all(servers[0].url, installation.key, *asked[:half]),
        ask_all(servers[1].url, installation.key, *asked[half:]),
    )
    outcomes = [outcome for some in both for outcome in some]
    refused = [outcome for outcome in outcomes if not outcome.is_answered]
    assert {(each.status, each.code) for each in refused} == {(403, "budget_limit")}
    assert len(outcomes) - len(refused) >= LEFT_CALLS
    assert sum(_costs_by_agent(rows).values()) <= limit
    # Other sessions, and calls of none, go on.
    others = (_turn("another"), ClientCall(call=secrets.token_hex(8)))
    answers = await ask_all(servers[0].url, installation.key, *others)
    assert all(outcome.is_answered for outcome in answers)
