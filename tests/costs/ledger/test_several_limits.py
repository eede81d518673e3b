"""Calls that count in several periods: the day, and budgets of other windows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest

from costs.core.admission import Admitted, InsufficientRoom, ReserveRequest
from costs.core.calendar.periods import BudgetWindow
from costs.core.holds import State
from costs.models import HoldPeriod, Period
from gateway.guards.budgets import BudgetRule
from orgs.models import Organization
from tests.costs.books import (
    Clock,
    Desk,
    ask,
    check_the_books,
    settlement,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

# A Wednesday; the organization's day and month are those of Paris.
MOMENT = datetime(2026, 11, 25, 12, tzinfo=UTC)


def limit(scope: str, nanoeur: int | None, span: BudgetWindow = BudgetWindow.MONTH) -> BudgetRule:
    return BudgetRule(
        id=scope,
        name=scope,
        scope=scope,
        span=span,
        limit_nanoeur=nanoeur or 0,
        is_hard=nanoeur is not None,
        of={},
    )


def period(scope: str) -> Period:
    return Period.objects.get(scope=scope)


def test_call_is_held_and_charged_in_all_its_periods(desk: Desk, acme: Organization) -> None:
    budgets = (limit("budget:a", 500), limit("budget:b", None, BudgetWindow.WEEK))
    asked, admitted = desk.hold(acme, 100, limit=1000, budgets=budgets)
    assert len(admitted.period_ids) == 3
    held = Period.objects.order_by("scope").values_list("scope", "held_nanoeur", "limit_nanoeur")
    assert list(held) == [("budget:a", 100, 500), ("budget:b", 100, None), ("org", 100, 1000)]
    desk.settle(settlement(asked, admitted, State.SETTLED, 40))
    charged = Period.objects.order_by("scope").values_list("held_nanoeur", "settled_nanoeur")
    assert list(charged) == [(0, 40)] * 3
    check_the_books()


def test_limit_with_least_left_refuses_call_without_any_hold(
    desk: Desk, acme: Organization
) -> None:
    budgets = (limit("budget:a", 150), limit("budget:b", 120))
    desk.hold(acme, 100, limit=1000, budgets=budgets)
    answer = desk.reserve(ask(acme, 51, limit=1000, budgets=budgets))
    assert isinstance(answer, InsufficientRoom)
    assert (answer.limit.scope, answer.balance.left_nanoeur) == ("budget:b", 20)
    looser = (limit("budget:a", 150), limit("budget:b", 170))
    answer = desk.reserve(ask(acme, 71, limit=1000, budgets=looser))
    assert isinstance(answer, InsufficientRoom)
    assert (answer.limit.scope, answer.balance.left_nanoeur) == ("budget:a", 50)
    assert [balance.held_nanoeur for balance in answer.before] == [100, 100, 100]
    assert set(Period.objects.values_list("held_nanoeur", flat=True)) == {100}
    desk.hold(acme, 20, limit=1000, budgets=budgets)
    check_the_books()


def test_spent_limit_is_named_before_one_that_calls_in_flight_keep_full(
    desk: Desk, acme: Organization
) -> None:
    budgets = (limit("budget:a", 100), limit("budget:b", 100))
    asked, admitted = desk.hold(acme, 60, budgets=budgets[1:])
    desk.settle(settlement(asked, admitted, State.UNKNOWN))
    desk.hold(acme, 60, budgets=budgets[:1])
    answer = desk.reserve(ask(acme, 41, budgets=budgets))
    assert isinstance(answer, InsufficientRoom)
    assert (answer.limit.scope, answer.balance.charged_nanoeur) == ("budget:b", 60)
    assert [each.held_nanoeur for each in answer.before[1:]] == [60, 0]
    fits_later = desk.reserve(ask(acme, 40, budgets=(*budgets[:1], limit("budget:b", 101))))
    assert isinstance(fits_later, Admitted)


def test_budget_without_limit_counts_and_never_refuses(desk: Desk, acme: Organization) -> None:
    warning = (limit("budget:w", None),)
    asked, admitted = desk.hold(acme, 10**15, budgets=warning)
    desk.settle(settlement(asked, admitted, State.UNKNOWN))
    assert isinstance(desk.reserve(ask(acme, 10**15, budgets=warning)), Admitted)
    assert period("budget:w").settled_nanoeur == 10**15
    check_the_books()


def test_carried_amount_is_deducted_from_limit(desk: Desk, acme: Organization) -> None:
    budgets = (limit("budget:a", 500),)
    desk.hold(acme, 1, limit=1000, budgets=budgets)
    Period.objects.filter(scope="budget:a").update(carried_nanoeur=450)
    assert isinstance(desk.reserve(ask(acme, 50, limit=1000, budgets=budgets)), InsufficientRoom)
    _, admitted = desk.hold(acme, 49, limit=1000, budgets=budgets)
    assert admitted.before[1].charged_nanoeur == 450
    assert period("budget:a").limit_nanoeur == 50, "what is left of it, for the trigger"
    check_the_books()


@pytest.mark.parametrize(
    ("span", "starts_on", "starts_at", "ends_at"),
    [
        (BudgetWindow.DAY, date(2026, 11, 25), "2026-11-24T23:00", "2026-11-25T23:00"),
        (BudgetWindow.WEEK, date(2026, 11, 23), "2026-11-22T23:00", "2026-11-29T23:00"),
        (BudgetWindow.MONTH, date(2026, 11, 1), "2026-10-31T23:00", "2026-11-30T23:00"),
        (BudgetWindow.QUARTER, date(2026, 10, 1), "2026-09-30T22:00", "2026-12-31T23:00"),
    ],
)
def test_window_follows_calendar_of_organization(
    acme: Organization, span: BudgetWindow, starts_on: date, starts_at: str, ends_at: str
) -> None:
    Organization.objects.filter(pk=acme.pk).update(timezone="Europe/Paris")
    desk = Desk(Clock(MOMENT))
    desk.hold(acme, 1, budgets=(limit("budget:s", 10, span),))
    desk.close()
    found = period("budget:s")
    assert found.starts_on == starts_on
    window = (found.starts_at.isoformat()[:16], found.ends_at.isoformat()[:16])
    assert window == (starts_at, ends_at)


def test_week_ends_while_month_continues(acme: Organization) -> None:
    clock = Clock(MOMENT)
    desk = Desk(clock)
    budgets = (
        limit("budget:w", 100, BudgetWindow.WEEK),
        limit("budget:m", 150, BudgetWindow.QUARTER),
    )
    desk.hold(acme, 100, budgets=budgets)
    assert isinstance(desk.reserve(ask(acme, 1, budgets=budgets)), InsufficientRoom)
    desk.pass_s(7 * 24 * 3600)
    desk.hold(acme, 50, budgets=budgets)
    refused = desk.reserve(ask(acme, 1, budgets=budgets))
    desk.close()
    assert isinstance(refused, InsufficientRoom)
    assert refused.limit.scope == "budget:m"
    assert Period.objects.filter(scope="budget:w").count() == 2
    check_the_books()


def test_racing_processes_admit_exactly_what_fits_budget(acme: Organization) -> None:
    budgets = (limit("budget:a", 1000), limit("budget:b", 700, BudgetWindow.WEEK))
    answers: list[object] = []

    def spend(asks: Sequence[ReserveRequest]) -> None:
        desk = Desk()
        try:
            for start in range(0, len(asks), 3):
                answers.extend(desk.commit(asks[start : start + 3])[0])
        finally:
            desk.close()

    everybody = [[ask(acme, 30, limit=5000, budgets=budgets) for _ in range(30)] for _ in range(3)]
    threads = [threading.Thread(target=spend, args=(asks,)) for asks in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(answer, Admitted) for answer in answers) == 23
    assert period("budget:b").held_nanoeur == 690
    assert HoldPeriod.objects.count() == 3 * 23
    check_the_books()
