"""Alerts from the ledger: each raised once, by one process, and for the right reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.utils.timezone import now
from pytest_django import Settings

from costs.core.admission import ORG_SCOPE
from costs.core.calendar.periods import BudgetWindow
from costs.core.money import format_eur
from costs.models import ExchangeRate, Period
from costs.prices.exchange_rates import utc_day
from gateway.alerts.evaluate import EvaluationCache, evaluate, record
from gateway.alerts.rules import past
from gateway.alerts.rules.installation import organizations_without, stale_exchange_rate
from gateway.alerts.rules.past import costs_by_hour
from gateway.budgets.operations import BudgetTerms, create_budget, update_budget
from gateway.call.runtime import Gateway
from gateway.models import Alert, AlertDelivery, Budget
from orgs.models import Organization
from tests.factories import (
    AlertChannelFactory,
    AlertFactory,
    ApiKeyFactory,
    BudgetFactory,
    CostEventFactory,
    DailyCostFactory,
    ExchangeRateFactory,
    OrganizationFactory,
    PolicyFactory,
)
from tests.gateway.alerts.june import EUR, NOON, PARIS, TODAY, charge_day, count, mondays
from tests.gateway.conftest import Asking

HELLO: dict[str, Any] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def current_rate(prices: object) -> ExchangeRate:
    """An exchange rate that is not stale."""
    return ExchangeRateFactory.create(on_date=utc_day(now()))


def sentences() -> list[str]:
    return [alert.sentence for alert in Alert.objects.order_by("id")]


# --- budgets and the day ------------------------------------------------------------------------


def test_each_budget_threshold_alerts_once_per_period(acme: Organization) -> None:
    budget = BudgetFactory.create(org=acme, name="Team 1")
    count(budget, 55 * EUR)
    (alert,) = evaluate(NOON, EvaluationCache())
    assert (alert.org, alert.percent, alert.budget_id) == (acme, 50, budget.pk)
    assert "groupBy=day" in alert.figures["costs_query"]
    assert evaluate(NOON, EvaluationCache()) == []
    counted = Period.objects.filter(scope=budget.scope)
    counted.update(settled_nanoeur=100 * EUR)
    (alert,) = evaluate(NOON, EvaluationCache())
    assert alert.percent == 100
    counted.update(settled_nanoeur=85 * EUR)  # a correction
    assert evaluate(NOON, EvaluationCache()) == []
    Budget.objects.update(limit_nanoeur=90 * EUR)
    (alert,) = evaluate(NOON, EvaluationCache())
    assert alert.percent == 80


def test_disabled_budget_raises_no_alert(acme: Organization) -> None:
    count(BudgetFactory.create(org=acme, enabled=False), 100 * EUR)
    assert evaluate(NOON, EvaluationCache()) == []


def test_forecast_alert_is_raised_once_after_week_of_charges(
    acme: Organization,
) -> None:
    count(BudgetFactory.create(org=acme, name="Team 1", limit_nanoeur=100 * EUR), 40 * EUR)
    for back in range(1, 8):
        DailyCostFactory.create(org=acme, day=TODAY - timedelta(days=back), amount_nanoeur=10 * EUR)
        found = evaluate(NOON, EvaluationCache())
        assert bool(found) is (back == 7)
    (alert,) = found
    assert alert.kind == Alert.Kind.FORECAST
    assert "is forecast to be exceeded" in alert.sentence
    assert evaluate(NOON + timedelta(days=1), EvaluationCache()) == []


def test_daily_limit_is_lowest_of_policies(acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="Wide", max_cost_per_day_nanoeur=100 * EUR)
    PolicyFactory.create(org=acme, name="Tight", max_cost_per_day_nanoeur=5 * EUR)
    charge_day(acme, TODAY, {9: 4})
    (alert,) = evaluate(NOON, EvaluationCache())
    assert (alert.kind, alert.percent) == (Alert.Kind.DAY_LIMIT, 80)
    assert 'policy "Tight"' in alert.sentence


def test_refusal_beside_running_call_suppresses_no_share_spent(
    ask: Asking, gateway: Gateway, acme: Organization, current_rate: ExchangeRate
) -> None:
    gateway.waiting_room.wait_max_s = 0.0
    needed = round(ask(HELLO, path="/api/ai/quote").json["boundEur"] * EUR)
    terms = BudgetTerms(name="Team 1", span=BudgetWindow.MONTH, limit_nanoeur=needed)
    budget = create_budget(organization_id=acme.pk, terms=terms)
    counted = Period.objects.filter(scope=budget.scope)
    memory = EvaluationCache()
    counted.update(held_nanoeur=needed)
    assert evaluate(now(), memory) == []
    for _ in range(2):
        assert ask(HELLO).json["code"] == "rate_limited"
    (alert,) = evaluate(now(), memory)
    assert (alert.kind, alert.percent, alert.budget_id) == ("refusal", None, budget.pk)
    assert f"0.00 EUR of {format_eur(needed)} were spent for" in alert.sentence
    assert f"and {format_eur(needed)} were held by running calls" in alert.sentence
    for percent in (50, 80, 100):
        counted.update(held_nanoeur=0, settled_nanoeur=-(-needed * percent // 100))
        (alert,) = evaluate(now(), memory)
        assert (alert.kind, alert.percent) == ("budget", percent)
    counted.update(settled_nanoeur=0)
    assert evaluate(now(), EvaluationCache()) == []


def test_spent_budget_still_reports_refusal(
    ask: Asking, acme: Organization, current_rate: ExchangeRate
) -> None:
    needed = round(ask(HELLO, path="/api/ai/quote").json["boundEur"] * EUR)
    terms = BudgetTerms(name="Team 1", span=BudgetWindow.MONTH, limit_nanoeur=2 * needed)
    budget = create_budget(organization_id=acme.pk, terms=terms)
    Period.objects.filter(scope=budget.scope).update(settled_nanoeur=2 * needed)
    assert [each.percent for each in evaluate(now(), EvaluationCache())] == [100]
    assert ask(HELLO).json["code"] == "budget_limit"
    assert [each.kind for each in evaluate(now(), EvaluationCache())] == ["refusal"]
    update_budget(
        organization_id=acme.pk, budget_id=budget.pk, terms=replace(terms, limit_nanoeur=needed)
    )
    # Another limit: the refusal was by the old one.
    assert [each.percent for each in evaluate(now(), EvaluationCache())] == [100]
    assert ask(HELLO).json["code"] == "budget_limit"
    assert [each.kind for each in evaluate(now(), EvaluationCache())] == ["refusal"]


def test_refusal_of_large_call_raises_no_alert(
    ask: Asking, acme: Organization, current_rate: ExchangeRate
) -> None:
    needed = round(ask(HELLO, path="/api/ai/quote").json["boundEur"] * EUR)
    terms = BudgetTerms(name="Team 1", span=BudgetWindow.MONTH, limit_nanoeur=needed - 1)
    create_budget(organization_id=acme.pk, terms=terms)
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=10 * EUR)
    assert ask(HELLO).json["code"] == "budget_limit"
    assert evaluate(now(), EvaluationCache()) == []


def test_daily_limit_that_blocks_raises_alert(
    ask: Asking, acme: Organization, current_rate: ExchangeRate
) -> None:
    first = round(ask(HELLO).json["estimatedCostEur"] * EUR)
    PolicyFactory.create(org=acme, name="P", max_cost_per_day_nanoeur=round(first * 1.2))
    assert ask(HELLO).json["code"] == "daily_cost_limit"
    share, refusal = evaluate(now(), EvaluationCache())
    assert (share.kind, share.percent) == (Alert.Kind.DAY_LIMIT, 80)
    assert refusal.kind == Alert.Kind.REFUSAL
    assert 'The daily limit of policy "P" refused a call' in refusal.sentence
    assert evaluate(now(), EvaluationCache()) == []


def test_refusal_by_policy_of_other_costs_is_none_of_daily_limit(
    ask: Asking, acme: Organization, current_rate: ExchangeRate
) -> None:
    PolicyFactory.create(org=acme, name="All", max_cost_per_day_nanoeur=100 * EUR)
    named = {"team_id": ["a"]}
    PolicyFactory.create(org=acme, name="A", max_cost_per_day_nanoeur=0, applies_to=named)
    assert ask(HELLO).status == 200
    Period.objects.filter(scope=ORG_SCOPE).update(settled_nanoeur=85 * EUR)
    assert 'policy "A" allows' in ask(HELLO | {"teamId": "a"}).json["error"]
    [share] = evaluate(now(), EvaluationCache())
    assert (share.kind, share.percent) == (Alert.Kind.DAY_LIMIT, 80)


def test_upgrade_renames_refusals_that_were_sent_as_spent(acme: Organization) -> None:
    budget = BudgetFactory.create(org=acme, name="Team 1")
    refused, spent = (f"{scope}:2025-06-01:{100 * EUR}" for scope in (budget.scope, "budget:x:1"))
    for key, charged in ((refused, 0), (spent, 100 * EUR)):
        figures = {"charged_nanoeur": charged, "limit_nanoeur": 100 * EUR}
        AlertFactory.create(org=acme, key=f"{key}:100", percent=100, figures=figures)
    import_module("gateway.migrations.0013_alert_kinds").name_refusals(apps, None)
    assert set(Alert.objects.values_list("key", "kind", "percent")) == {
        (f"{refused}:refused", "refusal", None),
        (f"{spent}:100", "budget", 100),
    }
    count(budget, 100 * EUR)
    assert [alert.percent for alert in evaluate(NOON, EvaluationCache())] == [100]


# --- the exchange rate --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_date", "is_stale"),
    [(date(2025, 6, 11), False), (date(2025, 6, 10), True)],  # on Monday, 16 June
)
def test_stale_exchange_rate_alerts_every_organization_once(
    acme: Organization, globex: Organization, on_date: date, is_stale: bool
) -> None:
    channel = AlertChannelFactory.create(org=acme)
    OrganizationFactory.create(ai_gateway_enabled=False)
    ExchangeRateFactory.create(on_date=on_date, usd_per_eur=Decimal("1.1429"))
    found = evaluate(NOON, EvaluationCache())
    assert {alert.org for alert in found} == ({acme, globex} if is_stale else set())
    assert list(AlertDelivery.objects.values_list("channel")) == [(channel.pk,)] * is_stale
    for alert in found:
        assert alert.kind == Alert.Kind.EXCHANGE_RATE
        assert alert.sentence == (
            "The exchange rate, 1.1429 USD per EUR of 2025-06-10, is more than 3 working days old; "
            "an operator must update it with manage.py rates refresh."
        )
        assert alert.figures == {"usd_per_eur": "1.1429", "rate_date": "2025-06-10"}
    assert is_stale is not bool(evaluate(NOON + timedelta(days=1), EvaluationCache()))


def test_next_stale_exchange_rate_alerts_again(acme: Organization) -> None:
    for days, on_date in ((0, date(2025, 6, 10)), (0, TODAY), (3, TODAY), (4, TODAY)):
        ExchangeRate.objects.get_or_create(on_date=on_date, usd_per_eur=Decimal("1.1"))
        found = evaluate(NOON + timedelta(days=days), EvaluationCache())
        assert [alert.figures["rate_date"] for alert in found] == (
            [f"{on_date}"] if (days, on_date) in ((0, date(2025, 6, 10)), (4, TODAY)) else []
        )


def test_installation_without_exchange_rate_raises_no_alert(acme: Organization) -> None:
    assert evaluate(NOON, EvaluationCache()) == []


def test_many_organizations_are_alerted_over_several_rounds(
    acme: Organization, globex: Organization
) -> None:
    ExchangeRateFactory.create()
    finding = stale_exchange_rate(NOON)
    assert finding is not None
    first = organizations_without(finding, most=1)
    record(first[0], [finding], NOON)
    assert {*first, *organizations_without(finding, most=1)} == {acme, globex}


# --- spikes -------------------------------------------------------------------------------------


def test_unusual_cost_by_this_hour_is_spike_with_driver(
    acme: Organization,
) -> None:
    mondays(acme, app_id="chat", team_id="support")
    key = ApiKeyFactory.create(org=acme, name="Nightly")
    charge_day(acme, TODAY, {9: 12}, app_id="crawler", team_id="support", key_id=key.pk)
    (alert,) = evaluate(NOON, EvaluationCache())
    assert alert.kind == Alert.Kind.SPIKE
    assert alert.sentence == (
        "Today's costs are 6.0 times the usual amount: 12.00 EUR by 14:00; a usual Monday has "
        '2.00 EUR by then. App "crawler" accounts for 100 % of the increase.'
    )
    assert alert.figures["costs_query"] == (
        "from=2025-06-16&to=2025-06-16&groupBy=model&appId=crawler"
    )


def test_values_with_highest_costs_today_are_compared_in_all_spellings(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "VALUES_MAX", 2)
    before = TODAY - timedelta(weeks=1)
    for day, app, euros in (
        *((TODAY, "b", 3), (TODAY, "a", 2), (TODAY, "A", 1), (TODAY, "c", 1)),
        *((before, " A", 5), (before, "b", -1), (before, "only before", 9)),
    ):
        DailyCostFactory.create(org=acme, day=day, app_id=app, amount_nanoeur=euros)
    found = past.parts(acme.pk, today=TODAY, days=[before])
    assert [
        (part.value, part.today_nanoeur, part.before_nanoeur)
        for part in found
        if part.dimension == "App"
    ] == [("b", 3, 0), ("a", 3, 5)]


def test_same_cost_late_in_day_is_no_spike(acme: Organization) -> None:
    mondays(acme)
    charge_day(acme, TODAY, {9: 12})
    late = datetime(2025, 6, 16, 21, 30, tzinfo=UTC)
    assert evaluate(late, EvaluationCache()) == []


def test_spike_alerts_once_day_and_again_when_doubled(acme: Organization) -> None:
    mondays(acme)
    charge_day(acme, TODAY, {9: 12})
    day = Period.objects.filter(org=acme, starts_on=TODAY)
    assert len(evaluate(NOON, EvaluationCache())) == 1
    day.update(settled_nanoeur=24 * EUR - 1)
    assert evaluate(NOON, EvaluationCache()) == []
    day.update(settled_nanoeur=24 * EUR)
    assert len(evaluate(NOON, EvaluationCache())) == 1
    assert evaluate(NOON, EvaluationCache()) == []
    assert [alert.key for alert in Alert.objects.order_by("id")] == [
        "spike:2025-06-16:1",
        "spike:2025-06-16:2",
    ]


def test_new_organization_has_no_spike(acme: Organization) -> None:
    mondays(acme, weeks=3)
    charge_day(acme, TODAY, {9: 500})
    assert evaluate(NOON, EvaluationCache()) == []


def test_cents_are_no_spike(acme: Organization, settings: Settings) -> None:
    mondays(acme)
    charge_day(acme, TODAY, {9: 6})
    assert evaluate(NOON, EvaluationCache()) == []
    settings.ALERTS_SPIKE_MIN_NANOEUR = 4 * EUR
    assert len(evaluate(NOON, EvaluationCache())) == 1


def test_corrections_reduce_usual_cost(acme: Organization) -> None:
    day = TODAY - timedelta(weeks=1)
    at = datetime(2025, 6, 9, 8, 5, tzinfo=UTC)
    CostEventFactory.create(org=acme, occurred_at=at, amount_nanoeur=5 * EUR)
    CostEventFactory.create(org=acme, occurred_at=at, amount_nanoeur=-3 * EUR, kind="correction")
    CostEventFactory.create(org=acme, occurred_at=datetime(2025, 6, 8, 21, 59, 59, tzinfo=UTC))
    CostEventFactory.create(org=acme, occurred_at=datetime(2025, 6, 9, 22, tzinfo=UTC))
    assert costs_by_hour(acme.pk, [day], PARIS) == {at.replace(minute=0): 2 * EUR}
    assert costs_by_hour(acme.pk, [], PARIS) == {}
