"""The lists of requests, and the two probes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote as quoted

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpResponseBase
from django.test import RequestFactory
from django.utils.timezone import now

from costs.core.calendar.target_days import working_days_since
from costs.models import ExchangeRate, Hold
from gateway.call.runtime import Gateway
from gateway.core.errors import Broken
from gateway.http.health import CHECKS_KEPT_S, COMMIT_WITHIN_S, readyz
from gateway.http.native.reads import LIMIT_MAX
from gateway.http.openapi.requests import SUMMARY_FIELDS
from orgs.fields import new_id
from orgs.models import Organization
from tests.factories import AiRequestLogFactory, ExchangeRateFactory, PolicyFactory, RateCardFactory
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
KNOWN = (
    "Known parameters: status, code, model, provider, userId, teamId, projectId, appId, clientId, "
    "taskType, sessionId, agentId, from, to, estimated, watched, limit, cursor"
)
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def listed(ask: Asking, query: str = "", **how: Any) -> Any:
    reply = ask(method="GET", path=f"/api/ai/requests{query}", **how)
    assert reply.status == 200, reply.body
    return reply.json


def refused(ask: Asking, query: str) -> str:
    reply = ask(method="GET", path=f"/api/ai/requests{query}")
    status, code, sentence = reply.refusal
    assert (status, code) == (400, "invalid_request")
    assert "x-pulse-request-id" in reply.headers
    return sentence


def ids(page: Any) -> list[str]:
    return [request["requestId"] for request in page["requests"]]


def test_requests_of_every_status_are_listed_newest_first(
    ask_both: Asking, gateway: Gateway
) -> None:
    answered = ask_both(HELLO | {"teamId": "t"}).headers["x-pulse-request-id"]
    refused_id = ask_both(HELLO | {"model": "no-such"}).headers["x-pulse-request-id"]
    gateway.providers = Only(StandIn(failure=Broken("cut")))
    broken = ask_both(HELLO | {"stream": True}).headers["x-pulse-request-id"]
    page = listed(ask_both)
    assert ids(page) == [broken, refused_id, answered]
    assert page["nextCursor"] is None
    assert [request["status"] for request in page["requests"]] == ["unknown", "blocked", "ok"]
    last = page["requests"][2]
    assert set(last) == set(SUMMARY_FIELDS)
    assert (last["model"], last["provider"], last["teamId"]) == ("sandbox-small", "sandbox", "t")
    assert (last["inputTokens"], last["outputTokens"]) == (9, 2)
    assert (last["costEur"], last["estimatedEur"], last["code"]) == (0.000002319, 0, None)


def test_pagination_returns_every_row_exactly_once(ask: Asking, acme: Organization) -> None:
    made = [
        # Three rows share each moment: only the id can tell them apart.
        AiRequestLogFactory.create(org=acme, occurred_at=NOON + timedelta(microseconds=n // 3))
        for n in range(10)
    ]
    newest = sorted(made, key=lambda row: (row.occurred_at, row.id), reverse=True)
    found: list[str] = []
    query = "?limit=4"
    sizes = []
    while query:
        page = listed(ask, query)
        found += ids(page)
        sizes.append(len(page["requests"]))
        cursor = page["nextCursor"]
        query = f"?limit=4&cursor={quoted(cursor)}" if cursor else ""
    assert found == [str(row.id) for row in newest]
    assert sizes == [4, 4, 2]
    assert listed(ask, "?limit=10")["nextCursor"] is None


def test_page_limit_is_between_1_and_200(ask: Asking, acme: Organization) -> None:
    AiRequestLogFactory.create_batch(LIMIT_MAX + 1, org=acme)
    assert len(ids(listed(ask))) == 50
    assert len(ids(listed(ask, "?limit=1"))) == 1
    assert len(ids(listed(ask, "?limit=200"))) == 200
    for wrong in ("0", "201", "-1", "", "x", "1.5", "٣", "1e2", "000000001999", "0" * 5000 + "1"):
        assert (
            refused(ask, f"?limit={quoted(wrong)}") == "limit must be an integer between 1 and 200"
        )


def test_every_filter_narrows_list(ask: Asking, acme: Organization) -> None:
    columns = {
        "status": ("status", "error"),
        "code": ("code", "model_blocked"),
        "model": ("model", "gpt-4o"),
        "provider": ("provider", "google"),
        "userId": ("user_id", "u"),
        "teamId": ("team_id", "é & 1"),
        "projectId": ("project_id", "p"),
        "appId": ("app_id", "a"),
        "clientId": ("client_id", "c"),
        "taskType": ("task_type", "t"),
    }
    AiRequestLogFactory.create(org=acme)
    for name, (column, value) in columns.items():
        status = {"status": "blocked"} if name == "code" else {}  # answers have none
        row = AiRequestLogFactory.create(org=acme, **{column: value, **status})
        assert ids(listed(ask, f"?{name}={quoted(value)}")) == [str(row.id)]
        other = "code" if name == "model" else "model"
        assert ids(listed(ask, f"?{name}={quoted(value)}&limit=1&{other}=no")) == []


def test_estimated_part_is_listed_and_what_had_no_price(ask: Asking, acme: Organization) -> None:
    unpriced = ["service tier ultrafast"]
    row = AiRequestLogFactory.create(
        org=acme, estimated_nanoeur=2_328, usage={"buckets": {}, "unpriced": unpriced}
    )
    AiRequestLogFactory.create(org=acme)
    AiRequestLogFactory.create(org=acme, refused_by_watched=True)
    [watched] = listed(ask, "?watched=yes")["requests"]
    assert watched["estimatedEur"] == 0
    [found] = listed(ask, "?estimated=yes")["requests"]
    assert (found["requestId"], found["estimatedEur"]) == (str(row.pk), 0.000002328)
    detail = ask(method="GET", path=f"/api/ai/requests/{row.pk}").json["request"]
    assert detail["unpriced"] == unpriced


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?estimated=no", "estimated must be yes"),
        ("?org_id=x", f'Unknown parameter "org_id". {KNOWN}'),
        ("?order_by=model", f'Unknown parameter "order_by". {KNOWN}'),
        ("?%00=x", f"Unknown parameter '\\x00'. {KNOWN}"),
        ("?teamid=x", f'Unknown parameter "teamid"; did you mean "teamId"? {KNOWN}'),
        ("?limit=5&Model=x", f'Unknown parameter "Model"; did you mean "model"? {KNOWN}'),
        ("?form=2026-01-01", f'Unknown parameter "form"; did you mean "from"? {KNOWN}'),
        ("?model=a&model=a", 'Parameter "model" must be given only once'),
        ("?status=fine", "status must be one of pending, ok, blocked, error, unknown"),
        ("?model=%00", "model must have at most 200 characters, all printable"),
        (f"?teamId={'x' * 201}", "teamId must have at most 200 characters, all printable"),
        ("?cursor=", "cursor must be a nextCursor value of this list"),
        ("?cursor=%F0%9F%99%82", "cursor must be a nextCursor value of this list"),
        ("?cursor=MjAyNS0wNi0wMXxub25l", "cursor must be a nextCursor value of this list"),
        (
            "?cursor=MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OXww",
            "cursor must be a nextCursor value of this list",
        ),
        ("?" + "&".join(["model=x"] * 1001), "Too many query parameters"),
    ],
)
def test_invalid_parameter_is_named(ask: Asking, query: str, sentence: str) -> None:
    assert refused(ask, query) == sentence


def test_request_detail_has_its_trace(ask_both: Asking, acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="P", max_cost_per_day_nanoeur=10**9)
    sent = ask_both(HELLO | {"maxTokens": 100, "taskType": "greeting"}).json
    reply = ask_both(method="GET", path=f"/api/ai/requests/{sent['requestId']}")
    assert reply.status == 200
    found = reply.json["request"]
    assert found["requestId"] == sent["requestId"]
    assert (found["finishReason"], found["taskType"]) == ("stop", "greeting")
    assert len(found["promptHash"]) == 64
    assert found["usage"]["input_uncached"] == 9
    assert found["reportedUsage"] == {"input_tokens": 9, "output_tokens": 2}
    trace = found["decision"]
    assert trace["model"] == {
        "requested": "sandbox-small",
        "meant": "sandbox-small",
        "provider": "sandbox",
    }
    assert (trace["output_cap"], trace["bound_by"]) == (100, "bytes")
    assert [(policy["name"], policy["verdict"]) for policy in trace["policies"]] == [("P", "ok")]
    assert trace["before"]["left_nanoeur"] == 10**9
    assert trace["after"]["left_nanoeur"] == 10**9 - trace["bound_nanoeur"]
    assert found["holdEur"] == trace["bound_nanoeur"] / 10**9
    assert trace["rates"]["source"]


def test_refusal_detail_has_its_reason(ask: Asking, acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="P", max_cost_per_day_nanoeur=0)
    refusal = ask(HELLO)
    found = ask(method="GET", path=f"/api/ai/requests/{refusal.json['requestId']}").json["request"]
    assert (found["status"], found["code"], found["error"]) == ("blocked", *refusal.refusal[1:])
    verdicts = [policy["verdict"] for policy in found["decision"]["policies"]]
    assert verdicts == ["daily_cost_limit"]
    assert (found["costEur"], found["estimatedEur"], found["usage"]) == (0, 0, None)
    assert found["unpriced"] == []


def test_request_of_another_organization_is_404(ask_both: Asking, globex: Organization) -> None:
    theirs = AiRequestLogFactory.create(org=globex)
    answers = set()
    for request_id in (theirs.id, new_id(), "x", "%00", "0" * 400, "{" + str(theirs.id) + "}"):
        reply = ask_both(method="GET", path=f"/api/ai/requests/{request_id}")
        assert reply.refusal == (404, "not_found", "Request not found")
        answers.add(reply.body.replace(reply.json["requestId"].encode(), b""))
    assert len(answers) == 1
    assert ids(listed(ask_both)) == []


def test_key_sees_only_requests_within_its_scope(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    ours = AiRequestLogFactory.create(org=acme, team_id="t", project_id="p")
    other = AiRequestLogFactory.create(org=acme, team_id="other")
    text = make_key(acme, "scoped", team_id="t")
    assert ids(listed(ask, key=text)) == [str(ours.id)]
    assert ids(listed(ask, "?teamId=other", key=text)) == []
    reply = ask(method="GET", path=f"/api/ai/requests/{other.id}", key=text)
    assert reply.refusal == (404, "not_found", "Request not found")


def test_model_is_as_requested_or_as_called_as_on_page(ask: Asking, acme: Organization) -> None:
    row = AiRequestLogFactory.create(org=acme, model="gpt-4o-2024", requested_model="gpt-4o")
    for name in ("gpt-4o", "gpt-4o-2024"):
        assert ids(listed(ask, f"?model={name}")) == [str(row.id)]


def test_email_address_of_user_has_its_own_length(ask: Asking) -> None:
    address = f"{'x' * 242}@example.com"
    assert refused(ask, f"?userId={address}").startswith("No user of this organization")
    assert refused(ask, f"?userId=x{address}") == (
        "userId must have at most 254 characters, all printable"
    )


# --- probes -----------------------------------------------------------------------------------


def test_health_and_readiness_are_ok(ask_both: Asking) -> None:
    hello = ask_both(method="HEAD", path="/api/hello", key="")
    assert (hello.status, hello.body) == (200, b"")
    assert ask_both(method="GET", path="/api/hello", key="").json == {"message": "hello"}
    alive = ask_both(method="GET", path="/healthz", key="")
    assert (alive.status, alive.json) == (200, {"status": "ok"})
    ready = ask_both(method="GET", path="/readyz", key="")
    assert ready.status == 200
    assert ready.json == {
        "status": "ready",
        "database": "ok",
        "migrations": "applied",
        "databaseMs": ready.json["databaseMs"],
        "oldestUnsettledHoldS": None,
        "overdueHolds": 0,
        "exchangeRate": ready.json["exchangeRate"],
        "ledger": "ok",
    }


@pytest.mark.parametrize(("working_days", "is_stale"), [(0, False), (3, False), (4, True)])
def test_readiness_shows_age_of_exchange_rate(
    ask: Asking, working_days: int, is_stale: bool
) -> None:
    on_date = today = now().astimezone(UTC).date()
    while working_days_since(on_date, today) < working_days:
        on_date -= timedelta(days=1)
    ExchangeRate.objects.all().delete()
    ExchangeRateFactory.create(on_date=on_date)
    ready = ask(method="GET", path="/readyz")
    assert (ready.status, ready.json["status"]) == (200, "ready")
    assert ready.json["exchangeRate"] == {
        "date": f"{on_date}",
        "workingDays": working_days,
        "isStale": is_stale,
    }


def test_readiness_without_exchange_rate_is_null(ask: Asking) -> None:
    ExchangeRate.objects.all().delete()
    ready = ask(method="GET", path="/readyz")
    assert (ready.status, ready.json["exchangeRate"]) == (200, None)


def hold(acme: Organization, *, deadline_at: datetime) -> None:
    Hold.objects.create(
        org=acme,
        request_id=new_id(),
        state=Hold.State.HELD,
        amount_nanoeur=1,
        held_at=now() - timedelta(seconds=300),
        deadline_at=deadline_at,
        instance_id=new_id(),
        charge_to={},
        rate_card=RateCardFactory.create(),
    )


@pytest.mark.parametrize(("overdue_s", "overdue"), [(-100, 0), (59, 0), (61, 1)])
def test_unsettled_hold_is_shown_and_does_not_decide_readiness(
    ask: Asking, acme: Organization, overdue_s: float, overdue: int
) -> None:
    hold(acme, deadline_at=now() - timedelta(seconds=overdue_s))
    ready = ask(method="GET", path="/readyz")
    assert (ready.status, ready.json["status"]) == (200, "ready")
    assert 299 <= ready.json["oldestUnsettledHoldS"] <= 310
    assert ready.json["overdueHolds"] == overdue


def test_database_is_read_once_for_many_probes(ask: Asking, acme: Organization) -> None:
    assert ask(method="GET", path="/readyz").json["overdueHolds"] == 0
    hold(acme, deadline_at=now() - timedelta(seconds=61))
    kept = [ask(method="GET", path="/readyz") for _ in range(3)]
    assert [reply.json["overdueHolds"] for reply in kept] == [0, 0, 0]
    time.sleep(CHECKS_KEPT_S)
    assert ask(method="GET", path="/readyz").json["overdueHolds"] == 1


def test_database_is_read_once_for_first_probes_at_once(gateway: Gateway, ask: Asking) -> None:
    reads: list[str] = []

    def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
        connection.execute_wrappers.append(note)

    def note(execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        reads.extend([sql] if "django_migrations" in sql and "SELECT" in sql else [])
        return execute(sql, *more)

    async def probed() -> list[HttpResponseBase]:
        request = RequestFactory().get("/readyz")
        return [*await asyncio.gather(*(readyz(request) for _ in range(20)))]

    connection_created.connect(watch)
    try:
        assert {reply.status_code for reply in asyncio.run(probed())} == {200}
    finally:
        connection_created.disconnect(watch)
    assert len(reads) == 1


def test_ledger_that_cannot_commit_makes_it_not_ready(gateway: Gateway, ask: Asking) -> None:
    gateway.writer.start()
    assert ask(method="GET", path="/readyz").json["ledger"] == "ok"
    assert gateway.writer.stop(timeout_s=10)  # it commits nothing from now on
    gateway.writer._committed_at = time.monotonic() - COMMIT_WITHIN_S
    reply = ask(method="GET", path="/readyz")
    assert (reply.status, reply.json["status"]) == (503, "not ready")
    assert (reply.json["database"], reply.json["ledger"]) == ("ok", "stalled")
    assert ask(method="GET", path="/healthz").status == 200


def test_pending_migration_makes_it_not_ready(ask: Asking) -> None:
    applied = MigrationRecorder.Migration.objects.filter(app="gateway")
    names = list(applied.values_list("name", flat=True))
    applied.delete()
    try:
        reply = ask(method="GET", path="/readyz")
    finally:
        for name in names:
            MigrationRecorder(connection).record_applied("gateway", name)
    assert reply.status == 503
    assert reply.json == {
        "status": "not ready",
        "database": "ok",
        "migrations": "pending",
        "ledger": "ok",
    }
    call_command("migrate", check_unapplied=True, verbosity=0)


# --- from and to --------------------------------------------------------------------------------


def test_from_is_inclusive_and_to_exclusive(ask_both: Asking, acme: Organization) -> None:
    rows = [
        AiRequestLogFactory.create(org=acme, occurred_at=datetime.fromisoformat(f"{text}+02:00"))
        for text in ("2025-06-01T14:29:59.999999", "2025-06-01T14:30", "2025-06-01T23:59:59.999999")
    ]
    before, at, last = (str(row.pk) for row in rows)
    for query, found in (
        ("from=2025-06-01T14:30", [last, at]),  # Paris is the organization's zone
        ("from=2025-06-01T12:30Z&to=2025-06-01", [last, at]),
        ("from=2025-06-01T12:29:59.999999Z&to=2025-06-01T14:30%2B02:00", [before]),
        ("from=2025-06-01&to=2025-06-01", [last, at, before]),
        ("from=2025-06-02", []),
        ("to=2025-05-31", []),
        (f"from={quoted(rows[1].occurred_at.isoformat())}&to=2025-06-01T14:31", [at]),
    ):
        assert ids(listed(ask_both, f"?{query}")) == found
    first = listed(ask_both, "?from=2025-06-01&limit=2")
    rest = listed(ask_both, f"?from=2025-06-01&limit=2&cursor={quoted(first['nextCursor'])}")
    assert (ids(first), ids(rest)) == ([last, at], [before])


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("from=2025-02-30", "from must be a date that exists, not 2025-02-30"),
        ("to=0001-01-01T00:00%2B23:59", "to must be between 2000-01-01 and 2199-12-31"),
        ("from=2025-06-02&to=2025-06-01", "from must be before to"),
        ("from=2025-06-01T14:30&to=2025-06-01T12:30Z", "from must be before to"),
        (
            "from=2025-10-26T02:30",
            "from must have an offset, 2025-10-26T02:30+02:00 or 2025-10-26T02:30+01:00: "
            "clocks in Europe/Paris show 2025-10-26T02:30 twice",
        ),
        (
            "to=2025-03-30T02:30",
            "to must be a time that exists: clocks in Europe/Paris skip 2025-03-30T02:30",
        ),
        ("from=2025-06-01&from=2025-06-02", 'Parameter "from" must be given only once'),
    ],
)
def test_invalid_moment_is_named(ask: Asking, query: str, sentence: str) -> None:
    assert refused(ask, f"?{query}") == sentence


def test_moment_in_other_format_is_refused_with_examples(ask: Asking) -> None:
    for wrong in ("", "now", "2025-06-01T14:30+02:00"):  # a plus that is not escaped is a space
        sentence = refused(ask, f"?from={wrong}")
        assert sentence.startswith("from must be a date, or a date and time, such as 2026-11-29,")
