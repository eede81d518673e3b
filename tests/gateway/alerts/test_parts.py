"""Alerts on budgets that limit each member, key or other value for itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from costs.models import Period
from gateway.alerts.evaluate import EvaluationCache, evaluate
from gateway.budgets.parts.status import FULLEST_MAX
from gateway.guards.budgets import part_of
from gateway.models import Alert, Budget, BudgetRaise
from orgs.models import ApiKey, Organization, User
from tests.factories import ApiKeyFactory, BudgetFactory, DailyCostFactory, PeriodFactory
from tests.gateway.alerts.june import EUR, NOON, TODAY

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def spent(budget: Budget, value: str, eur: int) -> Period:
    """Charge the part of a value."""
    DailyCostFactory.create(
        org=budget.org, day=TODAY, amount_nanoeur=eur * EUR, **{budget.each: value}
    )
    return PeriodFactory.create(
        org=budget.org,
        scope=f"{budget.scope}:{part_of(value)}",
        starts_at=NOON - timedelta(days=15),
        ends_at=NOON + timedelta(days=15),
        settled_nanoeur=eur * EUR,
    )


def test_part_alerts_at_80_and_100_percent_with_its_name(
    acme: Organization, member_user: User
) -> None:
    budget = BudgetFactory.create(org=acme, name="Daily", each="user_id")
    period = spent(budget, str(member_user.pk), 79)
    spent(budget, "u-1", 10)
    assert evaluate(NOON, EvaluationCache()) == []
    Period.objects.filter(pk=period.pk).update(settled_nanoeur=80 * EUR)
    (alert,) = evaluate(NOON, EvaluationCache())
    assert (alert.kind, alert.percent, alert.budget_id) == (Alert.Kind.BUDGET, 80, budget.pk)
    assert alert.sentence.startswith(
        f'Budget "Daily" of member "{member_user.email}" is 80 % spent: 80.00 EUR of 100.00 EUR'
    )
    assert f"userId={member_user.pk}" in alert.figures["costs_query"]
    assert evaluate(NOON, EvaluationCache()) == []
    Period.objects.filter(pk=period.pk).update(settled_nanoeur=100 * EUR)
    (alert,) = evaluate(NOON, EvaluationCache())
    assert alert.percent == 100
    assert alert.sentence.endswith("Calls that could exceed it are blocked.")


def test_raised_limit_counts_in_alert(acme: Organization) -> None:
    budget = BudgetFactory.create(org=acme, each="team_id")
    BudgetRaise.objects.create(
        org=acme,
        budget=budget,
        part=part_of("Blue"),
        value="Blue",
        limit_nanoeur=200 * EUR,
        until=TODAY,
    )
    spent(budget, "blue", 100)
    assert evaluate(NOON, EvaluationCache()) == []
    (alert,) = evaluate(NOON + timedelta(days=1), EvaluationCache())
    assert alert.percent == 100


def test_rotated_key_is_one_part_of_its_name(acme: Organization) -> None:
    first: ApiKey = ApiKeyFactory.create(org=acme, name="CI")
    later = ApiKeyFactory.create(org=acme, name="CI", replaces=first, lineage_id=first.pk)
    budget = BudgetFactory.create(org=acme, each="key_id")
    spent(budget, str(first.pk), 90)
    DailyCostFactory.create(org=acme, day=TODAY, amount_nanoeur=1, key_id=later.pk)
    (alert,) = evaluate(NOON, EvaluationCache())
    assert ' of key "CI" is 90 % spent' in alert.sentence
    assert "groupBy=key" in alert.figures["costs_query"]


def test_number_of_alerts_in_round_is_limited(acme: Organization) -> None:
    budget = BudgetFactory.create(org=acme, each="user_id")
    for n in range(FULLEST_MAX + 3):
        spent(budget, f"u-{n}", 100 + n)
    assert len(evaluate(NOON, EvaluationCache())) == FULLEST_MAX
