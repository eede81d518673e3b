"""The cost explorer's report equals the ledger for every filter and dimension."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs.core.calendar.date_ranges import DateRange
from costs.core.cost_query import DAY, GROUP_COLUMNS, CostQuery
from costs.explorer import reports
from costs.explorer.names import DimensionNames, models_used
from costs.explorer.reports import GROUPS_MAX, CostReport
from costs.ledger.stores.tables import LINE_NAMES, SESSION_NAMES
from costs.models import CostEvent
from orgs.models import Organization
from tests.costs.charges import NOON, charge
from tests.costs.explorer.explored import JUNE, amounts, explored
from tests.factories import OrganizationFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

MAY = DateRange(date(2025, 5, 2), date(2025, 5, 31))
GROUPINGS = [
    *((name,) for name in GROUP_COLUMNS),
    *((a, b) for a, b in product(GROUP_COLUMNS, repeat=2) if a != b and b != DAY),
]
TEXT = st.sampled_from(["a", "b", None])
# Only what has a session has an agent.
SESSIONS = [
    {"session_id": session, "agent_id": agent}
    for session, agent in ((None, None), ("a", None), ("a", "b"), ("b", "b"), ("b", "a"))
]
DAYS = st.dates(date(2025, 4, 20), date(2025, 7, 20))
DATE_RANGES = st.tuples(DAYS, DAYS).map(lambda ends: DateRange(min(ends), max(ends)))


def test_lines_of_every_grouping_add_up_to_ledger(acme: Organization) -> None:
    amounts_nanoeur = [1, 2, 999_999_999, 10**15 + 7, -3]
    for number, amount in enumerate(amounts_nanoeur):
        fields = f"x{number % 3}" if number % 3 else None
        optional = (
            *("user_id", "team_id", "project_id", "app_id", "client_id", "task_type"),
            *SESSION_NAMES,
        )
        charge(acme, amount, **dict.fromkeys(optional, fields), model=f"m{number % 2}")
    for group_by in GROUPINGS:
        report = explored(acme, *group_by)
        assert report.total.amount_nanoeur == sum(amounts_nanoeur)
        assert sum(group.sums.amount_nanoeur for group in report.groups) == sum(amounts_nanoeur)
        assert report.total.events == report.total.requests == 5


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    charges=st.lists(
        st.tuples(
            st.integers(-(10**12), 10**12),
            st.builds(
                operator.or_,
                st.fixed_dictionaries(
                    {
                        "model": st.sampled_from(["m", "m-2024-07-18"]),
                        "team_id": TEXT,
                        "user_id": TEXT,
                    }
                ),
                st.sampled_from(SESSIONS),
            ),
            DAYS,
        ),
        max_size=12,
    ),
    group_by=st.sampled_from(GROUPINGS),
    wanted=st.dictionaries(
        st.sampled_from(["team_id", "user_id", "session_id", "agent_id"]), TEXT, max_size=2
    ),
    date_range=DATE_RANGES,
    before=st.none() | DATE_RANGES,
    today=st.just(date.max) | DAYS,
)
def test_any_range_filter_and_grouping_adds_up_to_events(  # noqa: PLR0913  all parts of one query
    db: None,
    charges: list[tuple[int, dict[str, Any], date]],
    group_by: tuple[str, ...],
    wanted: Mapping[str, Any],
    date_range: DateRange,
    before: DateRange | None,
    today: date,
) -> None:
    org = OrganizationFactory.create()
    now: dict[tuple[str | None, ...], int] = {}
    then: dict[tuple[str | None, ...], int] = {}
    bars: dict[tuple[date, str | None], int] = {}
    dimension = next((name for name in group_by if name != DAY), None)
    for amount, fields, day in charges:
        event = charge(org, amount, **fields, occurred_at=datetime.combine(day, NOON.timetz()))
        if any(fields[column] != value for column, value in wanted.items()):
            continue
        named = {name: getattr(event, column, None) for name, column in GROUP_COLUMNS.items()}
        group = tuple((named | {DAY: f"{day}"})[name] for name in group_by)
        for sums, days in ((now, date_range), (then, before)):
            if days and days.first <= day <= days.last:
                sums[group] = sums.get(group, 0) + amount
        if date_range.first <= day <= date_range.last:
            bar = max(day.replace(day=1), date_range.first), named.get(dimension or "")
            bars[bar] = bars.get(bar, 0) + amount
    query = CostQuery(
        date_range=date_range, group_by=group_by, wanted=wanted, before=before, today=today
    )
    report = reports.explore(query=query, names=DimensionNames(org.pk), dimension=dimension, top=1)
    compares = before is not None and DAY not in group_by
    groups = now.keys() | (then.keys() if compares else ())
    assert {group.values: group.sums.amount_nanoeur for group in report.groups} == {
        group: now.get(group, 0) for group in groups
    }
    assert {group.values: group.before_nanoeur for group in report.groups} == {
        group: then.get(group, 0) if compares else None for group in groups
    }
    assert report.total.amount_nanoeur == sum(now.values())
    assert report.before_nanoeur == (sum(then.values()) if before else None)
    assert reports.totals(organization_id=org.pk, query=query) == (
        report.total,
        report.before_nanoeur,
    )
    every = reports.every_group(organization_id=org.pk, query=query)
    assert list(every) == list(report.groups)
    check_the_bars(org, query, report, dimension, bars)


def check_the_bars(
    org: Organization,
    query: CostQuery,
    report: CostReport,
    dimension: str | None,
    bars: Mapping[tuple[date, str | None], int],
) -> None:
    """The value with the highest cost has a colour; the chart's months add up to `bars`."""
    by_value: Counter[str | None] = Counter()
    for (_, value), amount in bars.items():
        by_value[value] += amount
    highest = max(by_value.values(), default=0)
    is_any = dimension is not None and highest > 0
    assert [by_value[value] for value in report.top] == ([highest] if is_any else [])
    stacks = reports.stacks(
        dimension or "team",
        report.top,
        query=query,
        names=DimensionNames(org.pk),
        by_month=True,
    )
    shown: Counter[tuple[date, bool]] = Counter()
    for (day, place), amount in stacks.amounts.items():
        assert query.date_range.first <= day <= query.date_range.last
        shown[max(day.replace(day=1), query.date_range.first), place is not None] += amount
    expected: Counter[tuple[date, bool]] = Counter()
    for (month, value), amount in bars.items():
        expected[month, value in report.top] += amount
    assert shown == expected


def test_correction_counts_for_its_request(acme: Organization) -> None:
    first = charge(acme, 500, kind=CostEvent.Kind.BOUND, input_tokens=None, output_tokens=None)
    charge(acme, -380, kind=CostEvent.Kind.CORRECTION, request_id=first.request_id)
    [group] = explored(acme).groups
    assert (group.sums.amount_nanoeur, group.sums.events, group.sums.requests) == (120, 2, 1)
    assert (group.sums.input_tokens, group.sums.output_tokens) == (9, 2)


def test_days_are_newest_first_then_highest_cost(acme: Organization) -> None:
    charge(acme, 1, model="a")
    charge(acme, 5, model="b")
    charge(acme, 2, model="c", occurred_at=NOON + timedelta(days=1))
    found = [group.values for group in explored(acme, DAY, "model").groups]
    assert found == [("2025-06-11", "c"), ("2025-06-10", "b"), ("2025-06-10", "a")]


def test_date_range_includes_both_ends(acme: Organization) -> None:
    for day, amount in ((31 + 31, 1), (1, 10), (30, 100)):
        moment = datetime(2025, 5, 31, 12, tzinfo=UTC) + timedelta(days=day)
        charge(acme, amount, occurred_at=moment)
    charge(acme, 1000, occurred_at=datetime(2025, 5, 31, 12, tzinfo=UTC))
    assert explored(acme).total.amount_nanoeur == 110


FILTERED = [name for name in (*LINE_NAMES, *SESSION_NAMES) if name not in ("model", "key_id")]


@pytest.mark.parametrize("column", FILTERED)
def test_filter_keeps_only_matching_costs(acme: Organization, column: str) -> None:
    session = {"session_id": "one"} if column == "agent_id" else {}
    charge(acme, 7, **session | {column: "wanted"})
    charge(acme, 100, **session | {column: "Wanted"})
    charge(acme, 1000)
    assert explored(acme, wanted={column: "wanted"}).total.amount_nanoeur == 7


@pytest.mark.parametrize("column", ["team_id", "session_id"])
def test_absent_dimension_can_be_filtered(acme: Organization, column: str) -> None:
    charge(acme, 7, **{column: "blue"})
    charge(acme, 100)
    assert explored(acme, wanted={column: None}).total.amount_nanoeur == 100


def test_costs_without_session_are_those_that_no_session_has(acme: Organization) -> None:
    charge(acme, 7, session_id="one", occurred_at=datetime.combine(MAY.last, NOON.timetz()))
    charge(acme, 50, occurred_at=datetime.combine(MAY.last, NOON.timetz()))
    charge(acme, 100, session_id="one", agent_id="x")
    charge(acme, 1000)
    report = explored(acme, "session", before=MAY)
    assert amounts(report) == {None: 1000, "one": 100}
    assert [group.before_nanoeur for group in report.groups] == [50, 7]
    assert amounts(explored(acme, "agent")) == {None: 1000, "x": 100}
    assert amounts(explored(acme, "agent", wanted={"session_id": "one"})) == {"x": 100}


def test_costs_of_other_organization_are_never_counted(
    acme: Organization, globex: Organization
) -> None:
    charge(globex, 5, team_id="blue")
    report = explored(acme, wanted={"team_id": "blue"})
    assert (report.groups, report.rest, report.total) == ((), None, reports.Sums())
    assert models_used(organization_id=acme.pk) == []


def test_lines_beyond_maximum_are_one_line(acme: Organization) -> None:
    for number in range(1, GROUPS_MAX + 4):
        charge(acme, number, team_id=f"{number}")
    report = explored(acme, "team", before=MAY)
    assert len(report.groups) == GROUPS_MAX
    assert report.groups[0].values == (f"{GROUPS_MAX + 3}",)  # the highest cost first
    assert report.rest is not None
    assert (report.rest_groups, report.rest.sums.amount_nanoeur) == (3, 1 + 2 + 3)
    assert (report.rest.before_nanoeur, report.before_nanoeur) == (0, 0)
    assert report.total.amount_nanoeur == sum(range(1, GROUPS_MAX + 4))
    query = CostQuery(date_range=JUNE, group_by=("team",))
    every = list(reports.every_group(organization_id=acme.pk, query=query))
    assert len(every) == GROUPS_MAX + 3


@pytest.mark.parametrize("days_between", [1, 4, 9])
@pytest.mark.parametrize("group_by", [(DAY, "team"), (DAY,)])
def test_table_by_day_shows_newest_lines_and_earlier_as_one(
    acme: Organization, days_between: int, group_by: tuple[str, ...]
) -> None:
    last, number = date(2025, 12, 31), GROUPS_MAX // 2 + 5
    days = [last - timedelta(days=days_between * place) for place in range(number)]
    for place, day in enumerate(days):
        at = datetime.combine(day, NOON.timetz())
        charge(acme, 1000 + place, occurred_at=at, team_id="blue")
        charge(acme, 10, occurred_at=at, team_id="red")
    query = CostQuery(date_range=DateRange(days[-1], last), group_by=group_by)
    report = reports.explore(query=query, names=DimensionNames(acme.pk))
    lines = [(f"{day}", team) for day in days for team in ("blue", "red")]
    if len(group_by) == 1:
        assert [group.values for group in report.groups] == [(f"{day}",) for day in days]
        assert report.rest is None
    else:
        assert [group.values for group in report.groups] == lines[:GROUPS_MAX]
        assert report.rest is not None
        assert report.rest.sums.amount_nanoeur == sum(range(1050, 1055)) + 5 * 10
        assert report.rest.sums.requests == 10
    assert report.total.amount_nanoeur == sum(range(1000, 1000 + number)) + number * 10


def test_empty_table_by_day_still_has_previous_amount(acme: Organization) -> None:
    charge(acme, 17, occurred_at=datetime.combine(MAY.last, NOON.timetz()))
    report = explored(acme, DAY, "team", before=MAY)
    assert (report.groups, report.rest, report.total) == ((), None, reports.Sums())
    assert report.before_nanoeur == 17


# --- compared with ------------------------------------------------------------------------------


def test_each_line_has_previous_amount(acme: Organization) -> None:
    in_may = datetime(2025, 5, 31, 12, tzinfo=UTC)
    for team, before, now in (("kept", 10, 15), ("gone", 7, 0), ("new", 0, 4)):
        for amount, moment in ((before, in_may), (now, NOON)):
            if amount:
                charge(acme, amount, team_id=team, occurred_at=moment)
    report = explored(acme, "team", before=MAY)
    found = {g.values[0]: (g.before_nanoeur, g.sums.amount_nanoeur) for g in report.groups}
    assert found == {"kept": (10, 15), "new": (0, 4), "gone": (7, 0)}
    assert (report.before_nanoeur, report.total.amount_nanoeur) == (17, 19)
    assert report.total.requests == 2  # of the date range alone
    by_day = explored(acme, DAY, "team", before=MAY)
    assert by_day.before_nanoeur == 17
    assert {group.before_nanoeur for group in by_day.groups} == {None}
    totals = reports.totals(
        organization_id=acme.pk, query=CostQuery(date_range=JUNE, before=MAY, group_by=("team",))
    )
    assert totals == (report.total, 17)


# --- the chart's rows ---------------------------------------------------------------------------


def test_bars_add_up_to_total(acme: Organization) -> None:
    for number in range(12):
        team = f"t{number % 4}" if number % 4 else None
        charge(acme, number, team_id=team, occurred_at=NOON + timedelta(days=number % 5))
    query = CostQuery(date_range=JUNE, group_by=("team",))
    report = reports.explore(query=query, names=DimensionNames(acme.pk), dimension="team", top=2)
    assert report.top == ("t3", "t2")
    stacks = reports.stacks("team", report.top, query=query, names=DimensionNames(acme.pk))
    assert stacks.labels == ("t3", "t2")
    assert sum(stacks.amounts.values()) == sum(range(12))
    assert sum(nano for (_, place), nano in stacks.amounts.items() if place == 0) == 3 + 7 + 11
    assert sum(nano for (_, place), nano in stacks.amounts.items() if place is None) == 27
    days = reports.by_day(organization_id=acme.pk, query=query, date_range=JUNE)
    assert sum(days.values()) == sum(range(12))


def test_days_outside_span_are_in_no_bar(acme: Organization) -> None:
    for amount, day in ((5, 3), (70, 28)):
        charge(acme, amount, team_id="blue", occurred_at=NOON.replace(day=day))
        charge(acme, 2 * amount, team_id="red", occurred_at=NOON.replace(day=day))
    query = CostQuery(date_range=DateRange(JUNE.first, date(2025, 6, 20)), group_by=("team",))
    stacks = reports.stacks(
        "team", ("blue",), query=query, names=DimensionNames(acme.pk), by_month=True
    )
    assert stacks.amounts == {(JUNE.first, 0): 5, (JUNE.first, None): 10}


def test_others_are_omitted_if_there_are_none(acme: Organization) -> None:
    charge(acme, 5, team_id="blue")
    charge(acme, 3, team_id="red", occurred_at=NOON + timedelta(days=1))
    query = CostQuery(date_range=JUNE, group_by=("team",))
    stacks = reports.stacks("team", ("blue",), query=query, names=DimensionNames(acme.pk))
    day = NOON.date()
    assert stacks.amounts == {(day, 0): 5, (day + timedelta(days=1), None): 3}


def test_absent_value_has_colour_like_any_value(acme: Organization) -> None:
    for amount, team in ((5, None), (3, "t1"), (1, "t2"), (-9, "t3")):
        charge(acme, amount, team_id=team)
    query = CostQuery(date_range=JUNE, group_by=("team",))
    report = reports.explore(query=query, names=DimensionNames(acme.pk), dimension="team", top=7)
    assert report.top == (None, "t1", "t2")
    stacks = reports.stacks("team", report.top, query=query, names=DimensionNames(acme.pk))
    assert stacks.labels == ("(none)", "t1", "t2")
    day = NOON.date()
    assert stacks.amounts == {(day, 0): 5, (day, 1): 3, (day, 2): 1, (day, None): -9}
