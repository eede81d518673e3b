"""Sums of ledger, lines, pages and files are equal, with the estimated part of each apart."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from costs.core.holds import State
from costs.models import CostEvent, DailyCost, MonthlyCost
from gateway.models import AiRequestLog
from gateway.requests.lines import request_as_json
from gateway.requests.reports import rows_of
from orgs.models import Organization
from tests.answers import text_of
from tests.costs.books import NOON, Clock, Desk, ask, check_the_books, settlement
from tests.factories import AiRequestLogFactory, MembershipFactory, OrganizationFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

HELD = 1_000_000
COSTS = st.integers(0, 2 * HELD)
TEAMS = st.sampled_from(["blue", "研究チーム", None])
JUNE = "from=2025-05-01&to=2025-06-30"

Amounts = tuple[int, int]


@dataclass(frozen=True)
class Ending:
    """What becomes known of a call: an outcome, its cost, and whether something has no price."""

    outcome: State
    cost: int | None = None
    is_estimate: bool = False


SETTLED = st.builds(Ending, st.just(State.SETTLED), COSTS, st.booleans())
UNKNOWN = st.builds(Ending, st.just(State.UNKNOWN), COSTS | st.none())
RELEASED = st.just(Ending(State.RELEASED))
# A call's endings: known at once, or unknown and perhaps known later, by another model's name.
CALLS = st.tuples(
    TEAMS,
    st.integers(0, 30),
    st.tuples(SETTLED | RELEASED | UNKNOWN)
    | st.tuples(UNKNOWN, SETTLED | RELEASED)
    | st.tuples(UNKNOWN, SETTLED, SETTLED),
)


@pytest.fixture
def desk(transactional_db: None) -> Iterator[Desk]:
    """A ledger with a clock of its own."""
    desk = Desk(clock=Clock())
    yield desk
    desk.close()


def expected(endings: Iterable[Ending]) -> Amounts:
    """Return the cost of a call, and how much of it is an estimate."""
    first, *later = endings
    known = later[0] if later else first
    if known.outcome is State.RELEASED:
        return 0, 0
    if known.outcome is State.UNKNOWN:
        charged = HELD if known.cost is None else known.cost
        return charged, charged
    cost = known.cost or 0
    return cost, cost if known.is_estimate else 0


def make(desk: Desk, org: Organization, team: str | None, days: int, endings: Any) -> None:
    """Make a call, and let it end."""
    assert desk.clock is not None
    desk.clock.now = NOON - timedelta(days=days)
    asked = ask(org, HELD)
    asked = replace(asked, charge_to={**asked.charge_to, "team_id": team})
    admitted = desk.reserve(asked)
    for number, ending in enumerate(endings):
        desk.pass_s(3600)
        ended = settlement(asked, admitted, ending.outcome, ending.cost)
        ended = replace(ended, is_estimate=ending.is_estimate)
        if number and ending.outcome is State.SETTLED:
            ended = replace(ended, charge_to={**ended.charge_to, "model": "gpt-4o-mini-2024-07-18"})
        desk.settle(ended)


def of_rows(rows: Any, amount: str = "amount_nanoeur") -> Amounts:
    sums = rows.aggregate(amount=Sum(amount), estimated=Sum("estimated_nanoeur"))
    return sums["amount"] or 0, sums["estimated"] or 0


def of_lines(lines: Iterable[Mapping[str, Any]], amount: str, estimated: str) -> Amounts:
    """Return the sums of a file's lines, whose figures are numbers or text."""
    pairs = [(int(line[amount] or 0), int(line[estimated] or 0)) for line in lines]
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)


def shown(client: Client, query: str) -> dict[str, Amounts]:
    """Return the sums of the page of costs and of its files, in total and of all lines."""
    page = client.get(f"/costs?{query}").context["page"]
    lines = csv.DictReader(text_of(client, f"/costs.csv?{query}").splitlines())
    file = json.loads(text_of(client, f"/costs.json?{query}"))
    total = page.report.total
    return {
        "page": (total.amount_nanoeur, total.estimated_nanoeur),
        "table": (
            sum(line.amount_nanoeur for line in page.lines),
            sum(line.estimated_nanoeur for line in page.lines),
        ),
        "csv": of_lines(lines, "amount_nanoeur", "estimated_nanoeur"),
        "json": of_lines([file["total"]], "amountNanoeur", "estimatedNanoeur"),
        "groups": of_lines(file["groups"], "amountNanoeur", "estimatedNanoeur"),
    }


def of_requests(client: Client) -> dict[str, Amounts]:
    """Return the sums of the files of requests, and of those requests that have estimates."""
    path, columns = "/admin/ai/requests", ("costNanoeur", "estimatedNanoeur")
    found = {}
    for name, query in (("all", ""), ("estimated", "?estimated=yes")):
        lines = csv.DictReader(text_of(client, f"{path}.csv{query}").splitlines())
        found[f"{name} csv"] = of_lines(lines, *columns)
        rows = json.loads(text_of(client, f"{path}.json{query}"))
        found[f"{name} json"] = of_lines(rows, *columns)
    return found


@settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink one takes minutes
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(calls=st.lists(CALLS, min_size=1, max_size=6), group_by=st.sampled_from(["team", "day"]))
def test_sums_and_their_estimates_are_equal_everywhere(
    desk: Desk,
    client_for: Callable[..., Client],
    calls: list[tuple[str | None, int, tuple[Ending, ...]]],
    group_by: str,
) -> None:
    member = MembershipFactory.create(org=OrganizationFactory.create(), role="admin")
    org, client = member.org, client_for(member.user)
    for team, days, endings in calls:
        make(desk, org, team, days, endings)
    costs = [expected(endings) for _, _, endings in calls]
    total = sum(cost for cost, _ in costs), sum(estimated for _, estimated in costs)
    for model in (CostEvent, DailyCost, MonthlyCost):
        assert of_rows(model._default_manager.filter(org=org)) == total, model
    rows = AiRequestLog.objects.filter(org=org)
    assert of_rows(rows, "cost_nanoeur") == total
    by_api = [request_as_json(row) for row in rows]
    assert round(sum(each["estimatedEur"] for each in by_api) * 10**9) == total[1]
    sums = shown(client, f"{JUNE}&groupBy={group_by}&thenBy=model")
    assert sums == dict.fromkeys(sums, total)
    requests = of_requests(client)
    assert requests["all csv"] == requests["all json"] == total
    only = total[1], total[1]  # of a request all is an estimate, or nothing
    assert requests["estimated csv"] == requests["estimated json"] == only
    check_the_books()


@pytest.mark.parametrize(
    "filters", [{}, {"status": "ok"}, {"model": "m"}, {"team_id": "t"}], ids=str
)
def test_estimates_are_found_by_their_index(acme: Organization, filters: dict[str, str]) -> None:
    AiRequestLogFactory.create(org=acme)
    rows = rows_of(acme.pk, estimated=True).filter(**filters).order_by("-occurred_at", "-id")
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # a table of one row needs no index
            cursor.execute("SET LOCAL enable_seqscan = off")
        assert "ai_request_log_estimated" in rows[:51].explain()


@pytest.mark.parametrize(
    "filters", [{}, {"status": "ok"}, {"model": "m"}, {"estimated": "yes"}], ids=str
)
def test_what_watched_policies_would_refuse_is_found_by_its_index(
    acme: Organization, filters: dict[str, str]
) -> None:
    AiRequestLogFactory.create(org=acme, refused_by_watched=True)
    is_estimated = bool(filters.pop("estimated", ""))
    rows = rows_of(acme.pk, watched=True, estimated=is_estimated).filter(**filters)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # a table of one row needs no index
            cursor.execute("SET LOCAL enable_seqscan = off")
        newest = rows.order_by("-occurred_at", "-id")[:51]
        found = newest.explain()
    assert "ai_request_log_watched" in found or (is_estimated and "_estimated" in found)


def test_late_estimate_replaces_earlier_one(desk: Desk) -> None:
    org = OrganizationFactory.create()
    endings = (Ending(State.UNKNOWN, 40), Ending(State.SETTLED, 1_500_000, is_estimate=True))
    make(desk, org, None, 0, endings)
    events = CostEvent.objects.order_by("recorded_at")
    assert list(events.values_list("kind", "amount_nanoeur", "estimated_nanoeur")) == [
        ("estimate", 40, 40),
        ("correction", 1_499_960, 1_499_960),
    ]
    [row] = AiRequestLog.objects.all()
    assert (row.cost_nanoeur, row.estimated_nanoeur) == (1_500_000, 1_500_000)
    check_the_books()
