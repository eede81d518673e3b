"""Several processes on one database: shared limits, and changes that apply at once in each."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fake_provider import FOREVER
from tests.system.clients import MODELS, ClientCall, Outcome, ask_all, ask_one, until, warm_up
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

CLIENTS = 64
TENANTS = 24
# OpenAI's models are tried a second time, with a bound by tokens; others have one bound.
VENDOR = "anthropic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An organization of one test."""

    id: str
    slug: str
    key: str


@pytest.fixture(scope="module")
def servers(installation: Installation) -> list[Server]:
    """Three processes on one database; each has called every vendor."""
    started = installation.serve(3)
    for server in started:
        asyncio.run(warm_up(server.url, installation.key))
    return started


@pytest.fixture(scope="module")
def tenants(installation: Installation) -> Iterator[tuple[str, str]]:
    """Slugs and keys of unused organizations, each with a policy that has room."""
    keys = installation.organizations(*(f"org-{n}" for n in range(TENANTS)))
    policy = ("--name", "P", "--max-cost-per-day", "90")
    installation.run_each(*(("policies", "create", slug, *policy) for slug in keys))
    return iter(keys.items())


@pytest.fixture
def tenant(tenants: Iterator[tuple[str, str]], rows: Rows) -> Tenant:
    """An organization of this test alone: its gateway is on."""
    slug, key = next(tenants)
    org_id = rows.value("SELECT id FROM organization WHERE slug = %s", slug)
    return Tenant(id=str(org_id), slug=slug, key=key)


@pytest.fixture(autouse=True)
def _a_quiet_provider(upstream: Upstream) -> Iterator[None]:
    upstream.reset()
    yield
    upstream.reset()


async def _ask_each(servers: list[Server], key: str, **changes: Any) -> list[Outcome]:
    """Send the same request to every process, one after the other."""
    return [
        await ask_one(
            server.url,
            key,
            ClientCall(call=secrets.token_hex(6), vendor=VENDOR, **changes),
        )
        for server in servers
    ]


def _holds_of(rows: Rows, tenant: Tenant) -> list[tuple[str, int, int]]:
    return rows.query(
        "SELECT state, amount_nanoeur, charged_nanoeur FROM hold WHERE org_id = %s", tenant.id
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("policies", "--name", "Last euro", "--max-cost-per-day"), "daily_cost_limit"),
        (("budgets", "Last euro", "--per", "month", "--limit"), "budget_limit"),
    ],
    ids=["of the day", "of a month, with what was spent before"],
)
async def test_64_clients_spend_last_euro_exactly(  # noqa: PLR0913  the fixtures
    words: tuple[str, ...],
    code: str,
    installation: Installation,
    servers: list[Server],
    upstream: Upstream,
    rows: Rows,
    tenant: Tenant,
) -> None:
    first = await _ask_each(servers[:1], tenant.key)
    [(_, bound, charged)] = _holds_of(rows, tenant)
    fitting = 23
    limit = charged + bound * fitting + bound // 2
    command, *terms = words
    installation.run(command, "create", tenant.slug, *terms, f"{limit / 1e9:.9f}")
    # A call whose outcome is unknown keeps its whole bound, so that nothing gives room back.
    upstream.answers({"times": FOREVER, "pause_s": 1, "reset": "after"})

    asked = [
        ClientCall(call=f"{n:02d}{secrets.token_hex(5)}", vendor=VENDOR) for n in range(CLIENTS)
    ]
    shares = [asked[n :: len(servers)] for n in range(len(servers))]
    with rows.busy():  # so that every process has all of its share before one can decide
        asking = asyncio.gather(
            *(
                ask_all(server.url, tenant.key, *share)
                for server, share in zip(servers, shares, strict=True)
            )
        )
        await asyncio.sleep(2)
    answers = await asking

    outcomes = [outcome for answer in answers for outcome in answer]
    holds = _holds_of(rows, tenant)
    ends = Counter((outcome.status, outcome.code) for outcome in outcomes)
    assert first[0].is_answered
    assert ends == {(502, "provider_error"): fitting, (403, code): CLIENTS - fitting}
    assert len(holds) == fitting + 1
    assert {amount for _, amount, _ in holds} == {bound}
    assert len(upstream.calls()) == fitting + 1
    assert rows.disagreements() == []


async def test_refusal_separates_held_from_spent(
    installation: Installation,
    servers: list[Server],
    upstream: Upstream,
    rows: Rows,
    tenant: Tenant,
) -> None:
    await _ask_each(servers[:1], tenant.key)
    [(_, bound, charged)] = _holds_of(rows, tenant)
    limit = charged + bound + bound // 2
    installation.run(
        *("policies", "create", tenant.slug, "--name", "One at a time"),
        *("--max-cost-per-day", f"{limit / 1e9:.9f}", "--wait", "1"),
    )
    upstream.answers({"until_released": True})
    holding = ClientCall(call=secrets.token_hex(6), vendor=VENDOR)
    holder = asyncio.create_task(ask_one(servers[0].url, tenant.key, holding))
    await upstream.arrived(holding.prompt)
    [meanwhile] = await _ask_each(servers[1:2], tenant.key)
    [dearer] = await _ask_each(servers[2:3], tenant.key, max_tokens=600)
    upstream.release()
    held = await holder
    [afterwards] = await _ask_each(servers[1:2], tenant.key)

    assert held.is_answered
    assert afterwards.is_answered
    assert (meanwhile.code, meanwhile.headers["retry-after"]) == ("rate_limited", "1")
    assert dearer.code == "daily_cost_limit"
    assert int(dearer.headers["retry-after"]) > 1


def _revoke_by_sql(rows: Rows, tenant: Tenant) -> None:
    now = rows.moment(datetime.now(UTC))
    rows.execute("UPDATE api_key SET revoked_at = %s WHERE org_id = %s", now, tenant.id)


def _expire_by_sql(rows: Rows, tenant: Tenant) -> None:
    past = rows.moment(datetime.now(UTC) - timedelta(seconds=1))
    rows.execute("UPDATE api_key SET expires_at = %s WHERE org_id = %s", past, tenant.id)


def _delete_key_by_sql(rows: Rows, tenant: Tenant) -> None:
    rows.execute("DELETE FROM api_key WHERE org_id = %s", tenant.id)


def _switch_off_by_sql(rows: Rows, tenant: Tenant) -> None:
    rows.execute("UPDATE organization SET ai_gateway_enabled = %s WHERE id = %s", False, tenant.id)


def _tighten_a_policy_by_sql(rows: Rows, tenant: Tenant) -> None:
    rows.execute("UPDATE policy SET max_tokens_per_request = 5 WHERE org_id = %s", tenant.id)


def _block_by_sql(rows: Rows, tenant: Tenant) -> None:
    blocked = f'["{MODELS[VENDOR]}"]'
    rows.execute("UPDATE policy SET blocked_models = %s WHERE org_id = %s", blocked, tenant.id)


def _lower_the_limit_by_sql(rows: Rows, tenant: Tenant) -> None:
    rows.execute("UPDATE policy SET max_cost_per_day_nanoeur = 1 WHERE org_id = %s", tenant.id)


BY_SQL: list[tuple[Callable[[Rows, Tenant], None], int, str]] = [
    (_revoke_by_sql, 401, "unauthenticated"),
    (_expire_by_sql, 401, "unauthenticated"),
    (_delete_key_by_sql, 401, "unauthenticated"),
    (_switch_off_by_sql, 403, "gateway_disabled"),
    (_tighten_a_policy_by_sql, 403, "token_limit"),
    (_block_by_sql, 403, "model_blocked"),
    (_lower_the_limit_by_sql, 403, "daily_cost_limit"),
]


@pytest.mark.parametrize(
    ("change", "status", "code"), BY_SQL, ids=[change.__name__.strip("_") for change, *_ in BY_SQL]
)
async def test_sql_change_applies_to_next_request_of_each_process(  # noqa: PLR0913
    servers: list[Server],
    upstream: Upstream,
    rows: Rows,
    tenant: Tenant,
    change: Callable[[Rows, Tenant], None],
    status: int,
    code: str,
) -> None:
    before = await _ask_each(servers, tenant.key)
    seen = len(upstream.calls())
    change(rows, tenant)
    after = await _ask_each(servers, tenant.key)
    assert [outcome.status for outcome in before] == [200] * len(servers)
    assert [(o.status, o.code) for o in after] == [(status, code)] * len(servers)
    assert len(upstream.calls()) == seen


BY_COMMAND = {
    "revoking a key": (("keys", "revoke", "{slug}", "tests"), 401, "unauthenticated"),
    "switching the gateway off": (("orgs", "disable", "{slug}"), 403, "gateway_disabled"),
    "a policy that blocks": (
        ("policies", "create", "{slug}", "--name", "No", "--block", "claude-*"),
        403,
        "model_blocked",
    ),
    "a policy that allows something else": (
        ("policies", "create", "{slug}", "--name", "No", "--allow", "gpt-4o"),
        403,
        "model_not_allowed",
    ),
}


@pytest.mark.parametrize("words", BY_COMMAND)
async def test_command_applies_to_next_request_of_each_process(
    installation: Installation,
    servers: list[Server],
    upstream: Upstream,
    tenant: Tenant,
    words: str,
) -> None:
    command, status, code = BY_COMMAND[words]
    before = await _ask_each(servers, tenant.key)
    seen = len(upstream.calls())
    installation.run(*(word.format(slug=tenant.slug) for word in command))
    after = await _ask_each(servers, tenant.key)
    assert all(outcome.is_answered for outcome in before)
    assert [(o.status, o.code) for o in after] == [(status, code)] * len(servers)
    assert len(upstream.calls()) == seen


async def test_change_that_allows_again_applies_immediately(
    installation: Installation, servers: list[Server], rows: Rows, tenant: Tenant
) -> None:
    _switch_off_by_sql(rows, tenant)
    off = await _ask_each(servers, tenant.key)
    rows.execute("UPDATE organization SET ai_gateway_enabled = %s WHERE id = %s", True, tenant.id)
    on = await _ask_each(servers, tenant.key)
    assert {outcome.code for outcome in off} == {"gateway_disabled"}
    assert all(outcome.is_answered for outcome in on)


async def test_removed_price_refuses_next_request_of_each_process(
    installation: Installation,
    servers: list[Server],
    upstream: Upstream,
    rows: Rows,
    tenant: Tenant,
) -> None:
    model = MODELS["mistral"]
    more = {"vendor": "mistral"}
    asked = [ClientCall(call=secrets.token_hex(6), **more) for _ in servers]  # type: ignore[arg-type]
    before = [await ask_one(s.url, tenant.key, a) for s, a in zip(servers, asked, strict=True)]
    names = f"{model.removesuffix('-latest')}%"
    rows.execute("DELETE FROM rate WHERE model LIKE %s", names)
    upstream.reset()
    asked = [ClientCall(call=secrets.token_hex(6), **more) for _ in servers]  # type: ignore[arg-type]
    after = [await ask_one(s.url, tenant.key, a) for s, a in zip(servers, asked, strict=True)]
    installation.run("prices", "load")
    asked = [ClientCall(call=secrets.token_hex(6), **more) for _ in servers]  # type: ignore[arg-type]
    again = [await ask_one(s.url, tenant.key, a) for s, a in zip(servers, asked, strict=True)]

    assert all(outcome.is_answered for outcome in before)
    assert [(o.status, o.code) for o in after] == [(403, "model_unpriced")] * len(servers)
    assert len(upstream.calls()) == len(again)
    assert all(outcome.is_answered for outcome in again)


@pytest.mark.parametrize("change", [_revoke_by_sql, _switch_off_by_sql, _block_by_sql])
async def test_no_call_is_admitted_after_committed_change_under_load(
    servers: list[Server],
    rows: Rows,
    tenant: Tenant,
    change: Callable[[Rows, Tenant], None],
) -> None:
    stop = asyncio.Event()

    answers: list[list[Outcome]] = [[] for _ in servers * 5]

    async def hammer(server: Server, answers: list[Outcome]) -> None:
        while not stop.is_set():
            answers += await _ask_each([server], tenant.key)

    hammering = asyncio.gather(*map(hammer, servers * 5, answers))
    await until(lambda: all(each and each[-1].is_answered for each in answers))
    await asyncio.to_thread(change, rows, tenant)
    committed_at = time.time()
    await until(lambda: not any(each[-1].is_answered for each in answers))
    await asyncio.sleep(0.5)  # and it stays so
    stop.set()
    await hammering
    outcomes = [outcome for each in answers for outcome in each]

    admitted_at = [
        charge.held_at
        for charge in rows.charges()
        if charge.call in {o.asked.call for o in outcomes}
    ]
    assert not any(each[-1].is_answered for each in answers)
    assert [moment for moment in admitted_at if moment > committed_at] == []
