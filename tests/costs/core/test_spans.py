"""Which days a preset means, and which it is compared with."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.shares import change, share_percent
from costs.core.spans import (
    Compare,
    DateRange,
    Preset,
    compared_with,
    month_end,
    months_of,
    span_of,
)

TODAY = date(2025, 3, 14)
DATES = st.dates(min_value=date(2000, 1, 1), max_value=date(2100, 1, 1))


def span(first: str, last: str) -> DateRange:
    return DateRange(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("preset", "days", "before"),
    [
        (Preset.TODAY, span("2025-03-14", "2025-03-14"), span("2025-03-13", "2025-03-13")),
        (Preset.WEEK, span("2025-03-08", "2025-03-14"), span("2025-03-01", "2025-03-07")),
        (Preset.THIRTY_DAYS, span("2025-02-13", "2025-03-14"), span("2025-01-14", "2025-02-12")),
        (Preset.MONTH, span("2025-03-01", "2025-03-14"), span("2025-02-01", "2025-02-14")),
        (Preset.LAST_MONTH, span("2025-02-01", "2025-02-28"), span("2025-01-01", "2025-01-31")),
    ],
)
def test_a_preset_and_what_came_before_it(
    preset: Preset, days: DateRange, before: DateRange
) -> None:
    assert span_of(preset, TODAY) == days
    assert compared_with(days, Compare.BEFORE, preset) == before


@pytest.mark.parametrize(
    ("days", "before"),
    [
        (span("2025-03-01", "2025-03-31"), span("2025-02-01", "2025-02-28")),
        (span("2025-03-01", "2025-03-30"), span("2025-01-30", "2025-02-28")),
        (span("2025-03-02", "2025-03-31"), span("2025-01-31", "2025-03-01")),
    ],
)
def test_a_custom_month_is_compared_with_a_month(days: DateRange, before: DateRange) -> None:
    assert compared_with(days, Compare.BEFORE, Preset.CUSTOM) == before


def test_a_long_month_so_far_is_compared_with_a_short_month_whole() -> None:
    days = span("2025-03-01", "2025-03-30")
    assert compared_with(days, Compare.BEFORE, Preset.MONTH) == span("2025-02-01", "2025-02-28")


def test_a_year_before_a_leap_day_is_the_day_before_march() -> None:
    days = span("2024-02-29", "2024-02-29")
    before = span("2023-02-28", "2023-02-28")
    assert compared_with(days, Compare.YEAR, Preset.CUSTOM) == before
    assert compared_with(days, Compare.NOTHING, Preset.CUSTOM) is None


@given(DATES, st.sampled_from([preset for preset in Preset if preset is not Preset.CUSTOM]))
def test_what_came_before_ends_before(today: date, preset: Preset) -> None:
    days = span_of(preset, today)
    before = compared_with(days, Compare.BEFORE, preset)
    assert before is not None
    assert before.first <= before.last < days.first
    assert days.last <= today
    assert len(days.all_days()) == days.days


@given(DATES)
def test_a_month_ends_before_the_first_of_the_next(day: date) -> None:
    assert (month_end(day) + timedelta(days=1)).day == 1
    assert (month_end(day).year, month_end(day).month) == (day.year, day.month)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(1, 3, "33.3"), (2, 3, "66.7"), (3, 3, "100.0"), (-1, 4, "-25.0"), (0, 5, "0.0")],
)
def test_shares_are_rounded_to_a_tenth(part: int, whole: int, shown: str) -> None:
    assert share_percent(part, whole) == shown


def test_nothing_has_no_shares() -> None:
    assert share_percent(0, 0) is None


@pytest.mark.parametrize(
    ("now", "before", "text", "tone"),
    [
        (150, 100, "+50.0 %", "more"),
        (50, 100, "\N{MINUS SIGN}50.0 %", "less"),
        (0, 100, "\N{MINUS SIGN}100.0 %", "less"),
        (10_000, 10_001, "0.0 %", "same"),
        (5, 0, "new", "more"),
        (1_099, 100, "+999.0 %", "more"),
        (1_100, 100, "\N{MULTIPLICATION SIGN}11", "more"),
    ],
)
def test_a_change_is_said_as_people_say_it(now: int, before: int, text: str, tone: str) -> None:
    found = change(now, before)
    assert found is not None
    assert (found.text.replace("\N{NO-BREAK SPACE}", " "), found.tone) == (text, tone)


def test_nothing_to_compare_is_no_change() -> None:
    assert change(5, None) is None
    assert change(0, 0) is None


@given(first=DATES, days=st.integers(1, 800), today=st.just(date.max) | DATES)
def test_months_and_the_days_at_their_ends_are_the_span(
    first: date, days: int, today: date
) -> None:
    span = DateRange(first, first + timedelta(days=days - 1))
    months = months_of(span, today=today)
    read = set() if months is None else set(months.all_days())
    lacking = span.without(months) if months else [span]
    beyond = months.without(span) if months else []
    for part in lacking:
        assert not read.intersection(part.all_days())
        read.update(part.all_days())
    for part in beyond:
        assert part.first.replace(day=1) == part.last.replace(day=1)
        read.difference_update(part.all_days())
    assert read == set(span.all_days())
    assert sum(day <= today for part in beyond for day in part.all_days()) <= 2 * 15
    if months:
        assert (months.first.day, months.last) == (1, month_end(months.last))


@pytest.mark.parametrize(
    ("days", "months"),
    [
        (span("2025-02-01", "2025-02-15"), span("2025-02-01", "2025-02-28")),
        (span("2025-02-01", "2025-02-14"), None),
        (span("2025-01-20", "2025-02-10"), None),
        (span("2025-01-10", "2025-02-10"), span("2025-01-01", "2025-01-31")),
        (span("2025-01-20", "2025-02-20"), span("2025-02-01", "2025-02-28")),
        (span("2025-01-20", "2025-03-10"), span("2025-02-01", "2025-02-28")),
    ],
)
def test_a_month_is_read_whole_where_that_is_fewer_days(
    days: DateRange, months: DateRange | None
) -> None:
    assert months_of(days) == months


def test_a_month_so_far_is_read_whole_on_its_first_day() -> None:
    today = date(2025, 3, 1)
    month = span("2025-03-01", "2025-03-31")
    assert months_of(DateRange(today, today), today=today) == month
    assert months_of(span("2025-02-20", "2025-03-01"), today=today) == month
    assert months_of(span("2025-02-10", "2025-03-01"), today=today) == DateRange(
        date(2025, 2, 1), month.last
    )
    assert months_of(DateRange(today, today), today=date(2025, 3, 3)) is None
