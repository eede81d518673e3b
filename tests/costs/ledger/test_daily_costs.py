"""Daily lines are the sum of their events at every commit, in any time zone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from costs.core.admission import Admitted, ReserveRequest, Settlement
from costs.core.calendar.date_ranges import DateRange
from costs.core.cost_query import CostQuery
from costs.core.daily import line_id
from costs.core.holds import State
from costs.explorer import reports
from costs.ledger.reaper import Reaper
from costs.ledger.verify import verify
from costs.ledger.writer import Writer
from costs.models import CostEvent, DailyCost, MonthlyCost, Period
from orgs.fields import new_id
from orgs.models import Organization
from tests.costs.books import Clock, Desk, ask, check_the_books, settlement
from tests.costs.clients import reserve_together, together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

TEXT = st.text(max_size=6).filter(str.isprintable) | st.none()


def charged_to(asked: ReserveRequest, **fields: str | None) -> ReserveRequest:
    return replace(asked, charge_to={**asked.charge_to, **fields})


def lines(org: Organization) -> list[tuple[date, str | None, int, int, int]]:
    """Return the organization's lines as (day, team, nano-euro, events, requests)."""
    rows = DailyCost.objects.filter(org=org).order_by("day", "team_id", "amount_nanoeur")
    return list(rows.values_list("day", "team_id", "amount_nanoeur", "events", "requests"))


def test_events_with_same_attributes_are_one_line(desk: Desk, acme: Organization) -> None:
    for team, cost in (("blue", 40), ("blue", 2), ("red", 7), (None, 1)):
        asked = charged_to(ask(acme, 100), team_id=team)
        desk.settle(settlement(asked, desk.reserve(asked), State.SETTLED, cost))
    day = desk.store.begin().date()
    desk.store.rollback()
    assert sorted(lines(acme), key=str) == sorted(
        [(day, "blue", 42, 2, 2), (day, "red", 7, 1, 1), (day, None, 1, 1, 1)], key=str
    )
    [tokens] = DailyCost.objects.filter(team_id="blue").values_list("input_tokens", "output_tokens")
    assert tokens == (18, 4)


def test_late_correction_counts_on_day_of_admission(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100)
    desk.settle(settlement(asked, admitted, State.UNKNOWN))
    desk.pass_s(3 * 24 * 3600)
    desk.settle(settlement(asked, admitted, State.SETTLED, 30))
    assert lines(acme) == [(date(2025, 6, 2), "team-123", 30, 2, 1)]
    check_the_books()


def test_correction_with_other_attributes_counts_no_second_request(
    desk: Desk, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100)
    desk.settle(settlement(asked, admitted, State.UNKNOWN))
    late = settlement(asked, admitted, State.SETTLED, 30)
    desk.settle(replace(late, charge_to={**late.charge_to, "model": "gpt-4o-mini-2024-07-18"}))
    found = DailyCost.objects.filter(org=acme).order_by("-amount_nanoeur")
    assert list(found.values_list("amount_nanoeur", "requests")) == [(100, 1), (-70, 0)]
    check_the_books()


def test_released_hold_leaves_no_line(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100)
    desk.settle(settlement(asked, admitted, State.RELEASED))
    assert lines(acme) == []


def test_reaped_hold_has_line(desk: Desk, acme: Organization) -> None:
    desk.hold(acme, 100, deadline_s=1)
    desk.pass_s(10)
    assert Reaper(desk.ledger).reap(desk.store).settled == 1
    assert lines(acme) == [(date(2025, 6, 2), "team-123", 100, 1, 1)]
    check_the_books()


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2025-06-09 21:59:59.999999", date(2025, 6, 9)),  # Paris is two hours ahead
        ("2025-06-09 22:00", date(2025, 6, 10)),
        ("2025-03-29 22:59", date(2025, 3, 29)),  # a day of 23 hours follows
        ("2025-03-29 23:00", date(2025, 3, 30)),
        ("2025-03-30 22:00", date(2025, 3, 31)),
    ],
)
def test_day_is_in_time_zone_of_organization(
    desk: Desk, clock: Clock, acme: Organization, moment: str, day: date
) -> None:
    clock.now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    asked, admitted = desk.hold(acme, 100)
    desk.pass_s(60)
    desk.settle(settlement(asked, admitted, State.SETTLED, 5))
    assert [line[0] for line in lines(acme)] == [day]


def test_time_zone_change_moves_no_line(desk: Desk, acme: Organization) -> None:
    before, admitted = desk.hold(acme, 100)
    Organization.objects.filter(pk=acme.pk).update(timezone="Pacific/Kiritimati")
    desk.settle(settlement(before, admitted, State.SETTLED, 5))  # it is 3 June there
    desk.pass_s(24 * 3600)
    after, admitted = desk.hold(acme, 100)
    desk.settle(settlement(after, admitted, State.SETTLED, 7))
    assert [line[:3] for line in lines(acme)] == [
        (date(2025, 6, 2), "team-123", 5),
        (date(2025, 6, 4), "team-123", 7),
    ]
    check_the_books()


def test_day_is_sum_of_its_lines(desk: Desk, acme: Organization) -> None:
    for hours, state, cost in (
        (0, State.UNKNOWN, None),
        (4, State.SETTLED, 700),  # above its hold
        (2, State.RELEASED, None),
        (30, State.SETTLED, 40),
    ):
        desk.pass_s(hours * 3600)
        asked, admitted = desk.hold(acme, 100)
        desk.settle(settlement(asked, admitted, state, cost))
    date_range = DateRange(date(2025, 6, 1), date(2025, 6, 30))
    every = CostQuery(date_range=date_range, group_by=("model",))
    by_line = replace(every, wanted={"source": "AI"})  # every line, one by one
    of_periods, of_lines = (
        reports.by_day(organization_id=acme.pk, query=query, date_range=date_range)
        for query in (every, by_line)
    )
    assert of_periods == of_lines
    assert sorted(of_periods.values()) == [40, 800]
    check_the_books()


def test_lines_are_exact_when_processes_settle_concurrently(
    new_writer: Callable[..., Writer], acme: Organization
) -> None:
    asks = [charged_to(ask(acme, 10**6), team_id=f"team-{n % 3}") for n in range(64)]
    writers = [new_writer() for _ in range(4)]
    answers = reserve_together(writers, asks)
    ends: list[Settlement] = []
    for number, (asked, admitted) in enumerate(zip(asks, answers, strict=True)):
        assert isinstance(admitted, Admitted)
        ends.append(settlement(asked, admitted, State.UNKNOWN))
        ends.append(settlement(asked, admitted, State.SETTLED, 1000 + number))
    with ThreadPoolExecutor(len(writers)) as threads:
        work = [(writer, *ends[n :: len(writers)]) for n, writer in enumerate(writers)]
        results = threads.map(lambda each: together(*each), work)
    assert sum(each.changed for result in results for each in result) >= len(asks)
    charged = sum(CostEvent.objects.values_list("amount_nanoeur", flat=True))
    assert sum(line[2] for line in lines(acme)) == charged
    assert sum(line[4] for line in lines(acme)) == 64
    check_the_books()


def test_ledger_verifies_at_every_commit_while_processes_settle(
    new_desk: Callable[[], Desk], acme: Organization
) -> None:
    desks = [new_desk() for _ in range(2)]
    held = [desks[0].hold(acme, 100) for _ in range(40)]

    def settle(desk: Desk, part: list[Any]) -> None:
        for asked, admitted in part:
            desk.settle(settlement(asked, admitted, State.UNKNOWN))
            desk.settle(settlement(asked, admitted, State.SETTLED, 40))

    found = []
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(settle, desk, held[n::2]) for n, desk in enumerate(desks)]
        while not all(each.done() for each in running):
            found += verify().findings
        for each in running:
            each.result()
    assert found + verify().findings == []


# --- what ledger verify finds -------------------------------------------------------------------


def charge_one(desk: Desk, org: Organization) -> None:
    asked, admitted = desk.hold(org, 100)
    desk.settle(settlement(asked, admitted, State.SETTLED, 40))


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"amount_nanoeur": 41}, "daily_cost"),
        ({"requests": 2}, "daily_cost"),
        ({"events": 0}, "daily_cost"),
        ({"input_tokens": 8}, "daily_cost"),
        ({"output_tokens": 8}, "daily_cost"),
        ({"team_id": None}, "daily_cost"),
        ({"key_id": new_id()}, "daily_cost"),
        ({"day": date(2025, 6, 3)}, "daily_cost_day"),
    ],
)
def test_verify_finds_line_that_is_not_sum_of_events(
    desk: Desk, acme: Organization, change: dict[str, Any], check: str
) -> None:
    charge_one(desk, acme)
    DailyCost.objects.update(**change)
    assert check in {finding.check for finding in verify().findings}


@pytest.mark.parametrize(
    "change",
    [
        *({"amount_nanoeur": 41}, {"requests": 2}, {"events": 0}),
        *({"team_id": None}, {"month": date(2025, 7, 1)}),
    ],
)
def test_verify_finds_month_that_is_not_sum_of_days(
    desk: Desk, acme: Organization, change: dict[str, Any]
) -> None:
    charge_one(desk, acme)
    MonthlyCost.objects.update(**change)
    assert {finding.check for finding in verify().findings} == {"monthly_cost"}


def test_verify_finds_missing_line(desk: Desk, acme: Organization) -> None:
    charge_one(desk, acme)
    DailyCost.objects.all().delete()
    found = {finding.check: finding.sentence for finding in verify().findings}
    assert set(found) == {"daily_cost", "monthly_cost"}
    assert "40 n€ (0 estimated), 1 events" in found["daily_cost"]


def test_verify_finds_line_of_another_organization(
    desk: Desk, acme: Organization, globex: Organization
) -> None:
    charge_one(desk, acme)
    DailyCost.objects.update(org=globex)
    assert "daily_cost_day" in {finding.check for finding in verify().findings}


# --- what was charged before there were lines ---------------------------------------------------


def test_migration_creates_same_lines_as_ledger(
    desk: Desk, acme: Organization, globex: Organization
) -> None:
    for org in (acme, globex, acme):
        for team, outcome in (("blue", State.SETTLED), (None, State.UNKNOWN)):
            asked = charged_to(ask(org, 100), team_id=team, key_id=str(new_id()))
            admitted = desk.reserve(asked)
            desk.settle(settlement(asked, admitted, outcome, 30))
            desk.settle(settlement(asked, admitted, State.SETTLED, 30))
            desk.pass_s(13 * 3600)
    kept = list(DailyCost.objects.order_by("id").values())
    months = list(MonthlyCost.objects.order_by("id").values())
    days = list(Period.objects.order_by("id").values_list("starts_on", flat=True))
    DailyCost.objects.all().delete()
    MonthlyCost.objects.all().delete()
    Period.objects.update(starts_on=date(1999, 1, 1))
    with connection.schema_editor() as editor:
        for name in ("0003_daily_cost", "0006_monthly_cost"):
            import_module(f"costs.migrations.{name}").fill(apps, editor)
    assert list(MonthlyCost.objects.order_by("id").values()) == months
    assert list(DailyCost.objects.order_by("id").values()) == kept
    assert list(Period.objects.order_by("id").values_list("starts_on", flat=True)) == days
    check_the_books()


# --- the id of a line ---------------------------------------------------------------------------


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
def test_only_same_attributes_have_same_line_id(
    one: tuple[str | None, ...], other: tuple[str | None, ...]
) -> None:
    period_id = new_id()
    assert (line_id(period_id, one) == line_id(period_id, other)) == (one == other)
    assert line_id(period_id, one) != line_id(new_id(), one)


def test_absent_and_empty_values_have_different_lines() -> None:
    period_id = new_id()
    assert len(Counter(line_id(period_id, (value,)) for value in (None, "", "\N{SPACE}"))) == 3
