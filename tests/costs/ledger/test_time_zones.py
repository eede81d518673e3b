"""A change of time zone keeps today's money on today, and grants no limit twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs.core.admission import ORG_SCOPE, Admitted, InsufficientRoom, Limit
from costs.core.calendar.periods import BudgetWindow, local_day
from costs.core.holds import State
from costs.ledger.balances import balances_of
from costs.ledger.new_periods import Counting
from costs.ledger.time_zones import DAYS, follow_time_zone
from costs.models import DailyCost, MonthlyCost, Period
from gateway.guards.budgets import BudgetRule
from orgs.models import Organization
from tests.costs.books import Clock, Desk, ask, check_the_books, settlement
from tests.factories import OrganizationFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

# Also those that are a date apart from each other for hours, or always.
ZONES = (
    *("UTC", "Asia/Tokyo", "America/Los_Angeles", "Asia/Kathmandu", "Europe/Paris"),
    *("Pacific/Kiritimati", "Pacific/Pago_Pago", "America/St_Johns", "Pacific/Apia"),
)
LIMIT = 1000


def budget(span: BudgetWindow) -> BudgetRule:
    return BudgetRule(
        id=span.value,
        name=span.value,
        scope=f"budget:{span.value}:1",
        of={},
        span=span,
        limit_nanoeur=LIMIT if span is BudgetWindow.DAY else 5 * LIMIT,
        is_hard=True,
    )


BUDGETS = tuple(map(budget, BudgetWindow))


def counting(rule: BudgetRule) -> Counting:
    return Counting(limit=rule.limit)


class Office:
    """An organization whose clock, calls and time zone a test moves."""

    def __init__(self, zone: str, moment: str) -> None:
        self.clock = Clock(datetime.fromisoformat(moment).replace(tzinfo=UTC))
        self.desk = Desk(self.clock)
        self.org = OrganizationFactory.create(timezone=zone)

    def at(self, moment: str) -> None:
        self.clock.now = datetime.fromisoformat(moment).replace(tzinfo=UTC)

    def spend(self, nanoeur: int, limit: int = LIMIT) -> bool:
        """Call, and return whether there was room."""
        asked = ask(self.org, nanoeur, limit=limit, budgets=BUDGETS)
        answer = self.desk.reserve(asked)
        if isinstance(answer, InsufficientRoom):
            return False
        assert isinstance(answer, Admitted)
        self.desk.settle(settlement(asked, answer, State.SETTLED, nanoeur))
        return True

    def move(self, zone: str) -> None:
        self.clock.pass_s(1)
        with transaction.atomic():
            Organization.objects.filter(pk=self.org.pk).update(timezone=zone)
            self.org.refresh_from_db()
            follow_time_zone(self.org, list(map(counting, BUDGETS)), now=self.clock.now)

    @property
    def today(self) -> date:
        return local_day(self.clock.now, ZoneInfo(self.org.timezone))

    def costs(self) -> dict[date, int]:
        lines = DailyCost.objects.filter(org=self.org).values_list("day")
        return dict(lines.annotate(Sum("amount_nanoeur")))

    def charged(self, limit: Limit = DAYS.limit) -> int:
        [balance] = balances_of(self.org, [limit], now=self.clock.now)
        return balance.charged_nanoeur

    def in_force(self, scope: str = ORG_SCOPE) -> Period:
        now = self.clock.now
        return Period.objects.get(org=self.org, scope=scope, starts_at__lte=now, ends_at__gt=now)


@pytest.fixture
def offices() -> Iterator[list[Office]]:
    opened: list[Office] = []
    yield opened
    for office in opened:
        office.desk.close()
    check_the_books()


def test_zone_ahead_dates_day_by_it_until_its_midnight(offices: list[Office]) -> None:
    office = Office("UTC", "2025-06-10 09:00")
    offices.append(office)
    assert office.spend(LIMIT)
    office.at("2025-06-10 20:00")  # 05:00 on 11 June in Tokyo
    office.move("Asia/Tokyo")
    assert office.costs() == {date(2025, 6, 11): LIMIT}
    assert office.charged() == LIMIT
    for moment, has_room in (
        ("2025-06-10 20:00", False),
        ("2025-06-11 00:00", False),  # the old midnight
        ("2025-06-11 14:59", False),
        ("2025-06-11 15:00", True),
    ):
        office.at(moment)
        assert office.spend(LIMIT) is has_room
    assert office.costs() == {date(2025, 6, 11): LIMIT, date(2025, 6, 12): LIMIT}


def test_zone_behind_counts_both_days_of_its_date(offices: list[Office]) -> None:
    office = Office("UTC", "2025-06-10 09:00")
    offices.append(office)
    assert office.spend(700)
    office.at("2025-06-11 00:30")
    assert office.spend(200)
    office.at("2025-06-11 01:00")  # 18:00 on 10 June in Los Angeles
    office.move("America/Los_Angeles")
    assert office.costs() == {date(2025, 6, 10): 900}
    assert office.charged() == 900
    assert not office.spend(101)
    assert office.spend(100)
    office.at("2025-06-11 06:59")
    assert not office.spend(1)
    office.at("2025-06-11 07:00")
    assert office.spend(LIMIT)
    assert office.costs() == {date(2025, 6, 10): LIMIT, date(2025, 6, 11): LIMIT}


def test_zone_behind_continues_day_that_had_ended(offices: list[Office]) -> None:
    office = Office("UTC", "2025-06-10 09:00")
    offices.append(office)
    assert office.spend(LIMIT)
    office.at("2025-06-11 01:00")  # nothing was called since midnight
    office.move("America/Los_Angeles")
    assert (office.charged(), office.spend(1)) == (LIMIT, False)
    assert office.in_force().ends_at == datetime(2025, 6, 11, 7, tzinfo=UTC)


def test_second_change_undoes_first(offices: list[Office]) -> None:
    for first, second, moment in (
        ("UTC", "America/Los_Angeles", "2025-06-01 01:00"),
        ("UTC", "Asia/Tokyo", "2025-05-31 20:00"),
        ("Pacific/Kiritimati", "Pacific/Pago_Pago", "2025-06-01 10:30"),
        ("Pacific/Pago_Pago", "Pacific/Kiritimati", "2025-06-01 10:30"),
    ):
        office = Office(first, "2025-05-31 09:00")
        offices.append(office)
        assert office.spend(300)
        office.at(moment)
        assert office.spend(200)
        months = dict(MonthlyCost.objects.filter(org=office.org).values_list("month", "events"))
        before = (office.costs().get(office.today), office.charged(), office.in_force().ends_at)
        office.move(second)
        office.move(second)  # also a repetition changes nothing
        office.move(first)
        after = (office.costs().get(office.today), office.charged(), office.in_force().ends_at)
        if first != "Pacific/Kiritimati":  # two days of it became one
            assert after == before
            found = MonthlyCost.objects.filter(org=office.org).values_list("month", "events")
            assert dict(found) == months


@pytest.mark.parametrize(
    ("zone", "moment", "months"),
    [
        ("Asia/Tokyo", "2025-05-31 20:00", {date(2025, 5, 1): 300, date(2025, 6, 1): 200}),
        ("America/Los_Angeles", "2025-06-01 01:00", {date(2025, 5, 1): 500}),
    ],
)
def test_today_goes_to_its_month(
    offices: list[Office], zone: str, moment: str, months: dict[date, int]
) -> None:
    office = Office("UTC", "2025-05-20 09:00")
    offices.append(office)
    assert office.spend(300)
    office.at(moment)
    assert office.spend(200)
    office.move(zone)
    found = MonthlyCost.objects.filter(org=office.org).values_list("month", "amount_nanoeur")
    assert dict(found) == months
    of_month = budget(BudgetWindow.MONTH).limit
    assert office.charged(of_month) == months[office.today.replace(day=1)]
    assert not office.spend(5 * LIMIT - office.charged(of_month) + 1, limit=10**9)
    ends_on = BudgetWindow.MONTH.around(office.today, ZoneInfo(zone))[1]
    assert office.in_force(of_month.scope).ends_at == ends_on


def test_call_in_flight_counts_until_its_day_ends(offices: list[Office]) -> None:
    office = Office("UTC", "2025-06-10 09:00")
    offices.append(office)
    asked = ask(office.org, LIMIT, limit=LIMIT, budgets=BUDGETS)
    admitted = office.desk.reserve(asked)
    office.at("2025-06-10 20:00")
    office.move("Asia/Tokyo")
    assert not office.spend(1)
    office.desk.settle(settlement(asked, admitted, State.SETTLED, 400))
    assert office.costs() == {date(2025, 6, 11): 400}
    assert office.charged() == office.charged(budget(BudgetWindow.DAY).limit) == 400


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    zone=st.sampled_from(ZONES),
    moment=st.sampled_from(["2025-05-30 10:00", "2025-12-31 02:00", "2026-03-28 22:00"]),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 5, 11, 25]), st.integers(1, 900), st.sampled_from((None, *ZONES))
        ),
        min_size=2,
        max_size=7,
    ),
)
def test_any_changes_keep_todays_costs_on_today(
    transactional_db: None, zone: str, moment: str, steps: list[tuple[int, int, str | None]]
) -> None:
    office, spent = Office(zone, moment), 0
    for hours, nanoeur, other in steps:
        office.clock.now += timedelta(hours=hours)
        spent += nanoeur if office.spend(nanoeur) else 0
        if other is not None:
            office.move(other)
        check_today(office)
    assert sum(office.costs().values()) == spent
    office.desk.close()
    check_the_books()  # also that no two periods of a limit overlap


def check_today(office: Office) -> None:
    """Assert that lines, periods and limits agree on today."""
    zone, costs = ZoneInfo(office.org.timezone), office.costs()
    assert max(costs, default=office.today) <= office.today
    for rule in BUDGETS:
        first, after = rule.span.days_around(office.today)
        booked = sum(amount for day, amount in costs.items() if first <= day < after)
        assert office.charged(rule.limit) == booked
    assert office.charged() == costs.get(office.today, 0)
    assert not office.spend(max(0, LIMIT - office.charged()) + 1)
    windows = {rule.scope: rule.span for rule in BUDGETS} | {ORG_SCOPE: BudgetWindow.DAY}
    for period in Period.objects.filter(org=office.org, ends_at__gt=office.clock.now):
        window = windows[period.scope]
        assert period.starts_on == window.days_around(office.today)[0]
        assert period.ends_at == window.around(office.today, zone)[1]
