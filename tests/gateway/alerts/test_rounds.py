"""Evaluations of alerts: one process at a time, each organization by itself."""

from __future__ import annotations

import threading
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from pytest_django import DjangoAssertNumQueries

from gateway.alerts import lease
from gateway.alerts.evaluate import EvaluationCache, evaluate
from gateway.alerts.rounds import Rounds
from gateway.models import Alert, AlertDelivery, Budget, Lease
from orgs.fields import new_id
from orgs.models import Organization
from tests.factories import (
    AlertChannelFactory,
    BudgetFactory,
    ExchangeRateFactory,
)
from tests.gateway.alerts.june import EUR, NOON, TODAY, charge_day, count, mondays

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_alerts_use_only_own_costs(acme: Organization, globex: Organization) -> None:
    AlertChannelFactory.create(org=globex)
    channel = AlertChannelFactory.create(org=acme)
    AlertChannelFactory.create(org=acme, enabled=False)
    count(BudgetFactory.create(org=acme), 55 * EUR)
    (alert,) = evaluate(NOON, EvaluationCache())
    assert [each.channel for each in AlertDelivery.objects.filter(alert=alert)] == [channel]


@pytest.mark.django_db(transaction=True)
def test_concurrent_processes_raise_each_alert_once(acme: Organization) -> None:
    AlertChannelFactory.create(org=acme)
    for n in range(5):
        count(BudgetFactory.create(org=acme), (50 + n) * EUR)
    mondays(acme)
    charge_day(acme, TODAY, {9: 50})
    gate, raised = threading.Barrier(2), []

    def look() -> None:
        gate.wait()
        try:
            raised.append(len(evaluate(NOON, EvaluationCache())))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(raised) == 2
    assert sum(raised) == Alert.objects.count() == AlertDelivery.objects.count() == 6


def test_failed_evaluation_does_not_stop_other_organizations(
    acme: Organization, globex: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    count(BudgetFactory.create(org=acme), 55 * EUR)
    count(BudgetFactory.create(org=globex), 55 * EUR)
    Budget.objects.filter(org=acme).update(models=[None])
    assert [alert.org for alert in evaluate(NOON, EvaluationCache())] == [globex]
    assert "could not evaluate the alerts of acme" in caplog.text


def test_fault_of_exchange_rate_does_not_stop_organizations(
    acme: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    ExchangeRateFactory.create(on_date=date(2025, 6, 10))
    count(BudgetFactory.create(org=acme), 55 * EUR)
    answers = iter([ZeroDivisionError()])

    def goes_on() -> bool:
        if fault := next(answers, None):
            raise fault
        return True

    [alert] = evaluate(NOON, EvaluationCache(), goes_on=goes_on)
    assert alert.kind == Alert.Kind.BUDGET
    assert "could not evaluate the installation" in caplog.text


def test_round_without_charges_takes_six_queries(
    acme: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    count(BudgetFactory.create(org=acme), 55 * EUR)
    rounds = Rounds(clock=lambda: NOON)
    assert len(rounds.run().raised) == 1
    # The lease, the exchange rate, refused keys, organizations, their money, what waits.
    with django_assert_num_queries(6):
        assert rounds.run().raised == []


def test_lease_belongs_to_one_process_until_expiry_or_release(db: None) -> None:
    first, second = new_id(), new_id()
    lasts = timedelta(minutes=3)

    def takes(holder: Any, at: datetime) -> bool:
        return lease.take("job", holder_id=holder, now=at, lasts=lasts)

    assert takes(first, NOON)
    assert not takes(second, NOON + lasts - timedelta(microseconds=1))
    assert takes(first, NOON + timedelta(minutes=1))
    assert not takes(second, NOON + lasts)
    assert takes(second, NOON + timedelta(minutes=4))
    lease.give_back("job", holder_id=first, now=NOON + timedelta(minutes=4))
    assert not takes(first, NOON + timedelta(minutes=5))
    lease.give_back("job", holder_id=second, now=NOON + timedelta(minutes=5))
    assert takes(first, NOON + timedelta(minutes=5))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_there", [False, True])
def test_one_concurrent_process_gets_lease(is_there: bool) -> None:
    if is_there:
        Lease.objects.create(name="job", holder_id=new_id(), expires_at=NOON)
    gate, got = threading.Barrier(8), []

    def ask_for_it() -> None:
        gate.wait()
        try:
            got.append(lease.take("job", holder_id=new_id(), now=NOON, lasts=timedelta(minutes=1)))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask_for_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_round_without_lease_does_nothing(acme: Organization) -> None:
    count(BudgetFactory.create(org=acme), 55 * EUR)
    assert Rounds(clock=lambda: NOON).run().is_ours
    Alert.objects.all().delete()
    done = Rounds(clock=lambda: NOON).run()
    assert (done.is_ours, done.raised) == (False, [])
