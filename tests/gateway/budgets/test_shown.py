"""The list of budgets, its files, and the page of one: what was spent, and what is forecast."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow, day_around
from costs.models import Period
from gateway.budgets.views import BUDGETS_PER_PAGE
from gateway.models import Budget
from orgs.models import Organization, User
from tests.answers import text_of
from tests.cast import CLIENTS
from tests.factories import AiRequestLogFactory, BudgetFactory, DailyCostFactory, PeriodFactory

pytestmark = pytest.mark.django_db

BUDGETS = "/costs/budgets"
CREATE = "/costs/budgets/create"
EUR = 10**9
QUERIES_MAX = 13


@pytest.fixture
def utc(acme: Organization) -> Organization:
    """Acme, in UTC."""
    acme.timezone = "UTC"
    acme.save()
    return acme


def spend(org: Organization, nanoeur: int, *, days: int = 20, **fields: Any) -> None:
    """Charge an amount on each day before today."""
    for back in range(1, days + 1):
        day = now().date() - timedelta(days=back)
        DailyCostFactory.create(org=org, day=day, amount_nanoeur=nanoeur, **fields)


def count(budget: Budget, charged: int, held: int = 0, **terms: Any) -> Period:
    """Set the amount that the budget has counted in its current period."""
    first, _ = BudgetWindow(budget.span).days_around(now().date())
    return PeriodFactory.create(
        org=budget.org,
        scope=budget.scope,
        **{
            "starts_on": first,
            "starts_at": now() - timedelta(hours=1),
            "ends_at": now() + timedelta(hours=1),
            "settled_nanoeur": charged,
            "held_nanoeur": held,
            **terms,
        },
    )


# --- the list -----------------------------------------------------------------------------------


def test_empty_list_has_explanation(admin: Client) -> None:
    page = admin.get(BUDGETS).content.decode()
    assert "No budgets yet" in page
    assert "Create budget" in page
    assert "Download CSV" not in page


def test_list_shows_spent_held_and_remaining(
    utc: Organization, client_for: CLIENTS, member_user: User
) -> None:
    budget = BudgetFactory.create(org=utc, name="Support", team_id="support", limit_nanoeur=4 * EUR)
    count(budget, charged=EUR, held=2 * EUR)
    response = client_for(member_user).get(BUDGETS)
    (line,) = response.context["lines"]
    assert (line.share_percent, line.used_width, line.held_width) == ("25.0", "25.00", "50.00")
    page = response.content.decode()
    for fields in ("Calls of team support", "25.0 % of", "per month", "blocks at the limit"):
        assert fields in page
    assert "25.00 % of the limit spent, 50.00 % held" in page
    assert f"/costs?teamId=support&amp;from={line.status.starts_on}" in page
    assert "/admin/ai?status=pending&amp;teamId=support" in page


def test_list_is_paged(acme: Organization, admin: Client) -> None:
    for n in range(BUDGETS_PER_PAGE + 1):
        BudgetFactory.create(org=acme, name=f"Number {n}.")
    first = admin.get(BUDGETS)
    assert len(first.context["lines"]) == BUDGETS_PER_PAGE
    rest = admin.get(BUDGETS, {"newer_than": first.context["newer_than"]})
    assert [line.budget.name for line in rest.context["lines"]] == [f"Number {BUDGETS_PER_PAGE}."]
    assert rest.context["newer_than"] is None
    assert admin.get(BUDGETS, {"newer_than": "x"}).status_code == 400
    after_all = admin.get(BUDGETS, {"newer_than": rest.context["lines"][0].budget.pk})
    assert "No more budgets" in after_all.content.decode()


@pytest.mark.parametrize("budgets", [1, 60])
def test_pages_take_constant_queries(
    utc: Organization,
    admin: Client,
    member_user: User,
    budgets: int,
    django_assert_max_num_queries: Callable[[int], CaptureQueriesContext],
) -> None:
    for n in range(budgets):
        budget = BudgetFactory.create(org=utc, team_id=f"{n}", user_id=str(member_user.pk))
        count(budget, charged=EUR)
    spend(utc, EUR, team_id="0", user_id=str(member_user.pk))
    for address in (BUDGETS, f"{BUDGETS}/{budget.pk}", CREATE):
        with django_assert_max_num_queries(QUERIES_MAX):
            assert admin.get(address).status_code == 200


def test_files_have_every_budget_exactly(
    utc: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    for n in range(BUDGETS_PER_PAGE + 1):
        BudgetFactory.create(org=utc, name=f"={n}", models=["gpt-4o", "gpt-4"], app_id="a")
    count(Budget.objects.first() or BudgetFactory.create(), charged=1, held=2)
    client = client_for(auditor_user)
    rows = json.loads(text_of(client, f"{BUDGETS}.json"))
    assert len(rows) == BUDGETS_PER_PAGE + 1
    assert {name: rows[0][name] for name in ("limitEur", "spentEur", "heldEur", "leftEur")} == {
        "limitEur": "100.00",
        "spentEur": "0.000000001",
        "heldEur": "0.000000002",
        "leftEur": "99.999999997",
    }
    assert (rows[0]["models"], rows[0]["appId"], rows[0]["teamId"]) == (
        ["gpt-4o", "gpt-4"],
        "a",
        None,
    )
    lines = list(csv.DictReader(text_of(client, f"{BUDGETS}.csv").splitlines()))
    assert (lines[0]["name"], lines[0]["models"]) == ("'=0", "gpt-4o gpt-4")
    assert text_of(client, f"{BUDGETS}.json").startswith("[")


# --- one budget ---------------------------------------------------------------------------------


def test_budget_page_links_days_to_costs(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, team_id="support", span="quarter", limit_nanoeur=9 * EUR)
    count(budget, charged=2 * EUR)
    DailyCostFactory.create(
        org=utc, day=now().date(), amount_nanoeur=2 * EUR, team_id="support", model="gpt-4o"
    )
    DailyCostFactory.create(org=utc, day=now().date(), amount_nanoeur=EUR, team_id="other")
    response = admin.get(f"{BUDGETS}/{budget.pk}")
    page = response.context["page"]
    first, after = BudgetWindow.QUARTER.days_around(now().date())
    assert [each.day.on for each in page.days] == [
        first + timedelta(days=n) for n in range((after - first).days)
    ]
    (line,) = [each for each in page.days if each.day.on == now().date()]
    assert (line.day.spent_nanoeur, line.day.so_far_nanoeur) == (2 * EUR, 2 * EUR)
    assert line.day.left_nanoeur == 7 * EUR
    assert page.uncounted_nanoeur == 0
    day = now().date()
    assert line.costs_query == f"teamId=support&from={day}&to={day}&groupBy=model"
    costs = admin.get(f"/costs?{line.costs_query}")
    assert costs.context["page"].report.total.amount_nanoeur == 2 * EUR


def test_forecast_overrun_is_shown_on_both_pages(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, span="day", limit_nanoeur=EUR // 2)
    spend(utc, EUR)
    for address in (BUDGETS, f"{BUDGETS}/{budget.pk}"):
        assert "forecast to exceed the limit today" in admin.get(address).content.decode()
    page = admin.get(f"{BUDGETS}/{budget.pk}")
    assert page.context["page"].chart.expected_line
    assert "80 % range" in page.content.decode()


def test_past_periods_show_share_of_limit(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, span="day")
    yesterday = now().date() - timedelta(days=1)
    starts_at, ends_at = day_around(now() - timedelta(days=1), ZoneInfo("UTC"))
    count(
        budget,
        charged=3 * EUR,
        starts_on=yesterday,
        starts_at=starts_at,
        ends_at=ends_at,
        carried_nanoeur=EUR,
        limit_nanoeur=4 * EUR,
    )
    stranger = BudgetFactory.create(org=utc, span="day")
    (past,) = admin.get(f"{BUDGETS}/{budget.pk}").context["page"].past
    assert (past.period.charged_nanoeur, past.period.limit_nanoeur) == (4 * EUR, 5 * EUR)
    assert (past.share_percent, past.is_over) == ("80.0", False)
    assert past.costs_query == f"from={yesterday}&to={yesterday}&groupBy=model"
    assert admin.get(f"{BUDGETS}/{stranger.pk}").context["page"].past == ()


def test_page_notes_uncounted_calls(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, span="day")
    count(budget, charged=EUR)
    DailyCostFactory.create(org=utc, day=now().date(), amount_nanoeur=3 * EUR)
    response = admin.get(f"{BUDGETS}/{budget.pk}")
    assert response.context["page"].uncounted_nanoeur == 2 * EUR
    assert "running when the budget was created" in response.content.decode()


def test_refused_requests_link_filters_list(utc: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=utc, team_id="support")
    fields = {"org": utc, "status": "blocked", "team_id": "support"}
    row = AiRequestLogFactory.create(**fields, code="budget_limit")
    AiRequestLogFactory.create(**fields, code="model_blocked")
    query = admin.get(f"{BUDGETS}/{budget.pk}").context["page"].refused_query
    assert query == "status=blocked&code=budget_limit&teamId=support"
    assert [line.row.pk for line in admin.get(f"/admin/ai?{query}").context["lines"]] == [row.pk]


def test_code_filter_covers_all_statuses(utc: Organization, admin: Client) -> None:
    ids = {
        AiRequestLogFactory.create(org=utc, status=status, code="x").pk
        for status in ("blocked", "error", "unknown")
    }
    AiRequestLogFactory.create(org=utc, status="error", code="y")
    AiRequestLogFactory.create(org=utc)
    found = admin.get("/admin/ai", {"code": "x"}).context["lines"]
    assert {line.row.pk for line in found} == ids
