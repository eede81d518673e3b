"""Parts of a limit, one for each value of a dimension: independent, exact, of one tenant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction

from costs.core.admission import Admitted, InsufficientRoom, RaisedLimit, ReserveRequest
from costs.core.calendar.periods import BudgetWindow, local_day
from costs.core.holds import State
from costs.ledger.new_periods import Counting, open_periods
from costs.ledger.time_zones import follow_time_zone
from costs.ledger.writer import Writer
from costs.models import Period
from gateway.guards.budgets import BudgetRule
from orgs.models import Organization
from tests.costs.books import (
    Clock,
    Desk,
    admitted_and_full,
    ask,
    check_the_books,
    settlement,
)
from tests.costs.clients import reserve_together
from tests.factories import OrganizationFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

CLIENTS: Final = 48
LIMIT: Final = 1000


def budget(span: BudgetWindow = BudgetWindow.DAY) -> BudgetRule:
    return BudgetRule(
        id="1",
        name="Each",
        scope="budget:1:1",
        of={},
        span=span,
        limit_nanoeur=LIMIT,
        is_hard=True,
        each="user_id",
    )


def counting(rule: BudgetRule) -> Counting:
    return Counting(
        limit=rule.limit,
        each=rule.each,
        part_scope=lambda value: rule.part(value).scope,
    )


def of_user(org: Organization, nanoeur: int, user: str, *rules: BudgetRule) -> ReserveRequest:
    """Return the request of a call by a user, which counts in their part of some budgets."""
    parts = [rule.part(user) for rule in rules or [budget()]]
    asked = ask(org, nanoeur, budgets=tuple(parts))
    return replace(asked, charge_to={**asked.charge_to, "user_id": user})


def spend(desk: Desk, asked: ReserveRequest) -> bool:
    """Admit a call and settle it at its bound, or return False without room."""
    answer = desk.reserve(asked)
    if isinstance(answer, InsufficientRoom):
        return False
    desk.settle(settlement(asked, answer, State.SETTLED, asked.amount_nanoeur))
    return True


def charged(org: Organization, user: str) -> int:
    scope = budget().part(user).scope
    return Period.objects.filter(org=org, scope=scope).latest("starts_at").charged_nanoeur


def test_each_value_has_whole_limit_for_itself(desk: Desk, acme: Organization) -> None:
    assert spend(desk, of_user(acme, 700, "ann"))
    assert spend(desk, of_user(acme, LIMIT, "bob"))
    assert not spend(desk, of_user(acme, 301, "ann"))
    assert not spend(desk, of_user(acme, 1, "bob"))
    assert spend(desk, of_user(acme, 300, "ANN "))
    assert not spend(desk, of_user(acme, 1, "ann"))
    assert (charged(acme, "ann"), charged(acme, "bob")) == (LIMIT, LIMIT)
    check_the_books()


def test_same_value_of_another_tenant_is_another_part(desk: Desk, acme: Organization) -> None:
    other = OrganizationFactory.create()
    assert spend(desk, of_user(acme, LIMIT, "ann"))
    assert spend(desk, of_user(other, LIMIT, "ann"))
    assert not spend(desk, of_user(other, 1, "ann"))


def test_next_window_gives_each_part_its_limit_again(desk: Desk, acme: Organization) -> None:
    assert spend(desk, of_user(acme, LIMIT, "ann"))
    desk.pass_s(86_400)
    assert spend(desk, of_user(acme, LIMIT, "ann"))
    check_the_books()


def test_scope_of_long_value_fits_its_column() -> None:
    rule = replace(budget(), scope=f"budget:{'0' * 36}:9999999")
    assert len(rule.part("𐍈" * 128).scope) == 64
    assert rule.part("Straße").scope == rule.part(" STRASSE").scope != rule.part("Strase").scope


def test_refused_call_leaves_no_period(desk: Desk, acme: Organization) -> None:
    assert not spend(desk, of_user(acme, LIMIT + 1, "ann"))
    assert not Period.objects.filter(org=acme).exists()
    batch = [of_user(acme, LIMIT + 1, "bob"), of_user(acme, LIMIT, "bob")]
    refused, admitted = desk.commit(batch)[0]
    assert isinstance(refused, InsufficientRoom)
    assert isinstance(admitted, Admitted)
    assert Period.objects.filter(org=acme).count() == 2  # the day's, and Bob's
    check_the_books()


def test_race_for_one_part_admits_exactly_what_fits(
    new_writer: Callable[..., Writer], acme: Organization
) -> None:
    asks = [of_user(acme, 30, ("ann", "bob")[n % 2]) for n in range(2 * CLIENTS)]
    answers = reserve_together([new_writer() for _ in range(2)], asks)
    for n in range(2):
        assert admitted_and_full(answers[n::2]) == (33, CLIENTS - 33)
    parts = Period.objects.filter(scope__startswith="budget:")
    assert list(parts.values_list("held_nanoeur", flat=True)) == [990, 990]
    check_the_books()


# --- raised limits ------------------------------------------------------------------------------


def test_raised_limit_ends_at_its_moment_by_clock_of_ledger(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    ends_at = clock.now + timedelta(minutes=1)
    rule = budget()
    raised = replace(
        rule,
        raises={
            rule.part("ann").scope.rpartition(":")[2]: RaisedLimit(
                limit_nanoeur=2 * LIMIT, ends_at=ends_at
            )
        },
    )
    assert spend(desk, of_user(acme, LIMIT + 1, "ann", raised))
    assert not spend(desk, of_user(acme, LIMIT + 1, "bob", raised))
    same = of_user(acme, 1, "ann", raised)  # checked before the end, reserved after it
    clock.now = ends_at - timedelta(microseconds=1)
    assert spend(desk, of_user(acme, 1, "ann", raised))
    clock.now = ends_at
    answer = desk.reserve(same)
    assert isinstance(answer, InsufficientRoom)
    assert answer.balance.limit_nanoeur == LIMIT
    check_the_books()


# --- a limit that begins in the middle of its window ----------------------------------------------


@pytest.mark.parametrize("span", BudgetWindow)
def test_parts_begin_with_what_each_has_cost_in_window(
    desk: Desk, clock: Clock, acme: Organization, span: BudgetWindow
) -> None:
    plain = [(300, "ann"), (500, "Bob"), (200, "bob")]
    for nanoeur, user in plain:
        asked = ask(acme, nanoeur)
        spend(desk, replace(asked, charge_to={**asked.charge_to, "user_id": user}))
    spend(desk, ask(acme, 400))  # no user is named
    rule = budget(span)
    with transaction.atomic():
        open_periods(acme, counting(rule), now=clock.now)
    parts = Period.objects.filter(scope__startswith="budget:")
    assert sorted(parts.values_list("carried_nanoeur", flat=True)) == [300, 700]
    assert not spend(desk, of_user(acme, 701, "ann", rule))
    assert spend(desk, of_user(acme, 700, "ann", rule))
    assert not spend(desk, of_user(acme, 301, "BOB", rule))
    assert spend(desk, of_user(acme, LIMIT, "eve", rule))
    check_the_books()


# --- a change of time zone ------------------------------------------------------------------------


def move(org: Organization, zone: str, clock: Clock, *rules: BudgetRule) -> None:
    clock.pass_s(1)
    with transaction.atomic():
        Organization.objects.filter(pk=org.pk).update(timezone=zone)
        org.refresh_from_db()
        follow_time_zone(org, list(map(counting, rules)), now=clock.now)


@pytest.mark.parametrize(
    ("zone", "later", "other"),
    [
        ("UTC", "2025-06-10 20:00", "Asia/Tokyo"),
        ("UTC", "2025-06-10 20:00", "Pacific/Kiritimati"),
        ("Asia/Tokyo", "2025-06-10 20:00", "UTC"),
    ],
)
def test_change_of_time_zone_gives_parts_no_new_room(
    desk: Desk, clock: Clock, zone: str, later: str, other: str
) -> None:
    org = OrganizationFactory.create(timezone=zone)
    clock.now = datetime(2025, 6, 10, 16, tzinfo=UTC)
    rules = [replace(budget(span), scope=f"budget:{span.value}:1") for span in BudgetWindow]
    spend(desk, of_user(org, 300, "ann", *rules))
    spend(desk, of_user(org, 600, "bob", *rules))
    clock.now = datetime.fromisoformat(later).replace(tzinfo=UTC)
    for _ in range(2):  # again changes nothing
        move(org, other, clock, *rules)
        today = local_day(clock.now, ZoneInfo(other))
        for rule in rules:
            first, _after = rule.span.days_around(today)
            now = clock.now
            parts = Period.objects.filter(
                scope__startswith=f"{rule.scope}:", starts_at__lte=now, ends_at__gt=now
            )
            assert set(parts.values_list("starts_on", flat=True)) == {first}
            assert {part.charged_nanoeur for part in parts} == {300, 600}
    for rule in rules:
        assert not spend(desk, of_user(org, 701, "ann", rule))
        assert not spend(desk, of_user(org, 401, "bob", rule))
    check_the_books()


def test_part_of_day_that_had_ended_continues_behind(desk: Desk, clock: Clock) -> None:
    org = OrganizationFactory.create(timezone="UTC")
    clock.now = datetime(2025, 6, 10, 9, tzinfo=UTC)
    spend(desk, of_user(org, 700, "ann"))
    clock.now = datetime(2025, 6, 11, 0, 30, tzinfo=UTC)
    spend(desk, of_user(org, 200, "ann"))
    spend(desk, of_user(org, 50, "bob"))
    clock.now = datetime(2025, 6, 11, 1, tzinfo=UTC)
    move(org, "America/Los_Angeles", clock, budget())  # 18:00 on 10 June
    assert not spend(desk, of_user(org, 101, "ann"))
    assert not spend(desk, of_user(org, 951, "bob"))
    assert spend(desk, of_user(org, 100, "ann"))
    check_the_books()


def test_month_that_changes_with_zone_begins_with_todays_costs_of_each(
    desk: Desk, clock: Clock
) -> None:
    org = OrganizationFactory.create(timezone="UTC")
    rule = budget(BudgetWindow.MONTH)
    clock.now = datetime(2025, 6, 29, 12, tzinfo=UTC)
    spend(desk, of_user(org, 500, "ann", rule))
    spend(desk, of_user(org, 500, "eve", rule))
    clock.now = datetime(2025, 6, 30, 12, tzinfo=UTC)
    spend(desk, of_user(org, 400, "ann", rule))
    clock.now = datetime(2025, 6, 30, 20, tzinfo=UTC)
    move(org, "Asia/Tokyo", clock, rule)  # 1 July
    assert charged(org, "ann") == 400
    assert not spend(desk, of_user(org, 601, "ann", rule))
    assert spend(desk, of_user(org, 600, "ann", rule))
    assert spend(desk, of_user(org, LIMIT, "eve", rule))
    check_the_books()
