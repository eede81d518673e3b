"""Budget status: what the ledger counts, what days cost, and the forecast of a period."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from costs.core.calendar.periods import BudgetWindow
from costs.models import Period
from gateway.budgets.operations import BudgetTerms, create_budget, update_budget
from gateway.budgets.status import BudgetStatus, statuses
from gateway.models import Budget
from orgs.models import Organization
from tests.factories import BudgetFactory, DailyCostFactory, PeriodFactory
from tests.gateway.conftest import Asking

pytestmark = pytest.mark.both_databases

EUR = 10**9
NOON = datetime(2025, 6, 16, 12, tzinfo=UTC)  # a Monday
TODAY = NOON.date()
HELLO: dict[str, Any] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}


def spend(org: Organization, nanoeur: int, *, days: int = 30, **fields: Any) -> None:
    """Charge an amount on each day before today."""
    for back in range(1, days + 1):
        day = TODAY - timedelta(days=back)
        DailyCostFactory.create(org=org, day=day, amount_nanoeur=nanoeur, **fields)


def count(budget: Budget, charged: int, held: int = 0) -> None:
    """Set the amount that the budget has counted in June."""
    PeriodFactory.create(
        org=budget.org,
        scope=budget.scope,
        starts_at=datetime(2025, 6, 1, tzinfo=UTC),
        ends_at=datetime(2025, 7, 1, tzinfo=UTC),
        settled_nanoeur=charged,
        held_nanoeur=held,
    )


def the_status(org: Organization) -> BudgetStatus:
    (found,) = statuses(org, NOON)
    return found


def test_status_equals_ledger_balance(acme: Organization) -> None:
    count(BudgetFactory.create(org=acme), charged=30 * EUR, held=5 * EUR)
    found = the_status(acme)
    assert (found.starts_on, found.last_day) == (date(2025, 6, 1), date(2025, 6, 30))
    assert (found.charged_nanoeur, found.held_nanoeur) == (30 * EUR, 5 * EUR)
    assert (found.left_nanoeur, found.share, found.over_nanoeur) == (65 * EUR, 0.3, 0)
    assert not found.is_full
    assert (found.forecast, found.full_on) == (None, None)


def test_unused_budget_has_whole_limit_left(acme: Organization) -> None:
    BudgetFactory.create(org=acme, span="quarter")
    found = the_status(acme)
    assert (found.starts_on, found.last_day) == (date(2025, 4, 1), date(2025, 6, 30))
    assert (found.charged_nanoeur, found.left_nanoeur) == (0, 100 * EUR)


def test_forecast_starts_at_spent_amount(acme: Organization) -> None:
    count(BudgetFactory.create(org=acme), charged=15 * EUR)
    spend(acme, EUR)
    found = the_status(acme)
    assert found.forecast is not None
    assert found.forecast.expected_nanoeur == (15 + 15) * EUR
    assert (found.forecast.last_day, len(found.course)) == (date(2025, 6, 30), 15)
    assert found.full_on is None


def test_forecast_gives_day_limit_is_exceeded(acme: Organization) -> None:
    count(BudgetFactory.create(org=acme, limit_nanoeur=20 * EUR), charged=15 * EUR)
    spend(acme, EUR)
    found = the_status(acme)  # the 16th makes it 16, the 20th 20, the 21st 21
    assert (found.full_on, found.is_full) == (date(2025, 6, 21), False)


def test_reached_limit_gives_its_day(acme: Organization) -> None:
    count(BudgetFactory.create(org=acme, limit_nanoeur=5 * EUR), charged=15 * EUR)
    spend(acme, EUR)
    found = the_status(acme)
    assert (found.full_on, found.is_full, found.is_spent) == (date(2025, 6, 5), True, True)
    assert (found.left_nanoeur, found.over_nanoeur, found.share) == (0, 10 * EUR, 3.0)


def test_budget_is_full_while_running_calls_hold_rest(acme: Organization) -> None:
    count(BudgetFactory.create(org=acme, limit_nanoeur=5 * EUR), charged=EUR, held=4 * EUR)
    found = the_status(acme)
    assert (found.is_full, found.is_spent, found.full_on) == (True, False, None)


def test_zero_limit_is_full_immediately(acme: Organization) -> None:
    BudgetFactory.create(org=acme, limit_nanoeur=0)
    found = the_status(acme)
    assert (found.is_full, found.share, found.full_on) == (True, 1.0, TODAY)


def test_budget_days_have_only_matching_calls(acme: Organization) -> None:
    spend(acme, 1, days=1, team_id="blue")
    spend(acme, 20, days=1, team_id="red", user_id="u1")
    spend(acme, 300, days=1, model="sandbox-small", provider="sandbox")
    spend(acme, 4000, days=1, model="gpt-4o-2024-08-06", team_id="red")
    for fields in (
        {},
        {"team_id": "blue"},
        {"team_id": "red"},
        {"team_id": "red", "user_id": "u1"},
        {"models": ["GPT-4o"]},
        {"models": ["sandbox-*"], "team_id": "red"},
    ):
        BudgetFactory.create(org=acme, **fields)
    days = [found.by_day for found in statuses(acme, NOON)]
    yesterday = date(2025, 6, 15)
    assert [sum(each.values()) for each in days] == [4321, 1, 4020, 20, 4000, 0]
    assert days[1] == {yesterday: 1}


def test_days_before_period_feed_only_forecast(
    acme: Organization,
) -> None:
    BudgetFactory.create(org=acme, span="day")
    spend(acme, EUR)
    found = the_status(acme)
    assert found.by_day == {}
    assert found.forecast is not None
    assert found.forecast.expected_nanoeur == EUR


def test_disabled_budget_shows_costs_of_its_calls(acme: Organization) -> None:
    count(BudgetFactory.create(org=acme, enabled=False), charged=3, held=2)
    spend(acme, 10, days=20)
    found = the_status(acme)
    assert (found.enabled, found.charged_nanoeur, found.held_nanoeur) == (False, 150, 0)


def test_foreign_budgets_and_costs_are_separate(acme: Organization, globex: Organization) -> None:
    BudgetFactory.create(org=acme)
    spend(globex, EUR)
    assert the_status(acme).by_day == {}
    assert statuses(globex, NOON) == []


@pytest.mark.parametrize("budgets", [1, 60])
def test_any_number_of_budgets_takes_three_queries(
    acme: Organization, budgets: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(budgets):
        BudgetFactory.create(org=acme, team_id=f"{n}")
    spend(acme, EUR, team_id="0", days=2)
    with django_assert_num_queries(3):
        assert len(statuses(acme, NOON)) == budgets


def test_days_and_ledger_agree(ask: Asking, acme: Organization) -> None:
    ask(HELLO | {"teamId": "1"})
    terms = BudgetTerms(name="Team 1", span=BudgetWindow.WEEK, limit_nanoeur=EUR, team_id="1")
    budget = create_budget(organization_id=acme.pk, terms=terms)
    ask(HELLO | {"teamId": "1"})
    (found,) = statuses(acme, now())
    assert found.charged_nanoeur == sum(found.by_day.values()) > 0
    assert Period.objects.filter(scope=budget.scope).count() == 1
    update_budget(organization_id=acme.pk, budget_id=budget.pk, enabled=False)
    (off,) = statuses(acme, now())
    assert off.charged_nanoeur == found.charged_nanoeur
