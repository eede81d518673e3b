"""The date ranges of presets, and those they are compared with."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.calendar.date_ranges import (
    Compare,
    DateRange,
    Preset,
    compared_with,
    month_end,
    months_of,
    preset_range,
)
from costs.core.shares import change, share_percent

TODAY = date(2025, 3, 14)
DATES = st.dates(min_value=date(2000, 1, 1), max_value=date(2100, 1, 1))


def date_range(first: str, last: str) -> DateRange:
    return DateRange(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("preset", "days", "before"),
    [
        (
            Preset.TODAY,
            date_range("2025-03-14", "2025-03-14"),
            date_range("2025-03-13", "2025-03-13"),
        ),
        (
            Preset.WEEK,
            date_range("2025-03-08", "2025-03-14"),
            date_range("2025-03-01", "2025-03-07"),
        ),
        (
            Preset.THIRTY_DAYS,
            date_range("2025-02-13", "2025-03-14"),
            date_range("2025-01-14", "2025-02-12"),
        ),
        (
            Preset.MONTH,
            date_range("2025-03-01", "2025-03-14"),
            date_range("2025-02-01", "2025-02-14"),
        ),
        (
            Preset.LAST_MONTH,
            date_range("2025-02-01", "2025-02-28"),
            date_range("2025-01-01", "2025-01-31"),
        ),
    ],
)
def test_preset_and_its_previous_range(preset: Preset, days: DateRange, before: DateRange) -> None:
    assert preset_range(preset, TODAY) == days
    assert compared_with(days, Compare.BEFORE, preset) == before


@pytest.mark.parametrize(
    ("days", "before"),
    [
        (date_range("2025-03-01", "2025-03-31"), date_range("2025-02-01", "2025-02-28")),
        (date_range("2025-03-01", "2025-03-30"), date_range("2025-01-30", "2025-02-28")),
        (date_range("2025-03-02", "2025-03-31"), date_range("2025-01-31", "2025-03-01")),
    ],
)
def test_custom_month_is_compared_with_month(days: DateRange, before: DateRange) -> None:
    assert compared_with(days, Compare.BEFORE, Preset.CUSTOM) == before


def test_long_month_to_date_is_compared_with_whole_short_month() -> None:
    days = date_range("2025-03-01", "2025-03-30")
    assert compared_with(days, Compare.BEFORE, Preset.MONTH) == date_range(
        "2025-02-01", "2025-02-28"
    )


def test_year_before_leap_day_is_28_february() -> None:
    days = date_range("2024-02-29", "2024-02-29")
    before = date_range("2023-02-28", "2023-02-28")
    assert compared_with(days, Compare.YEAR, Preset.CUSTOM) == before
    assert compared_with(days, Compare.NOTHING, Preset.CUSTOM) is None


@given(DATES, st.sampled_from([preset for preset in Preset if preset is not Preset.CUSTOM]))
def test_previous_range_ends_before_range(today: date, preset: Preset) -> None:
    days = preset_range(preset, today)
    before = compared_with(days, Compare.BEFORE, preset)
    assert before is not None
    assert before.first <= before.last < days.first
    assert days.last <= today
    assert len(days.all_days()) == days.days


@given(DATES)
def test_month_ends_before_first_of_next(day: date) -> None:
    assert (month_end(day) + timedelta(days=1)).day == 1
    assert (month_end(day).year, month_end(day).month) == (day.year, day.month)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(1, 3, "33.3"), (2, 3, "66.7"), (3, 3, "100.0"), (-1, 4, "-25.0"), (0, 5, "0.0")],
)
def test_shares_are_rounded_to_tenth(part: int, whole: int, shown: str) -> None:
    assert share_percent(part, whole) == shown


def test_zero_total_has_no_shares() -> None:
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
def test_change_has_readable_text(now: int, before: int, text: str, tone: str) -> None:
    found = change(now, before)
    assert found is not None
    assert (found.text.replace("\N{NO-BREAK SPACE}", " "), found.tone) == (text, tone)


def test_nothing_to_compare_gives_no_change() -> None:
    assert change(5, None) is None
    assert change(0, 0) is None


@given(first=DATES, days=st.integers(1, 800), today=st.just(date.max) | DATES)
def test_months_and_remaining_days_cover_span(first: date, days: int, today: date) -> None:
    date_range = DateRange(first, first + timedelta(days=days - 1))
    months = months_of(date_range, today=today)
    read = set() if months is None else set(months.all_days())
    lacking = date_range.without(months) if months else [date_range]
    beyond = months.without(date_range) if months else []
    for part in lacking:
        assert not read.intersection(part.all_days())
        read.update(part.all_days())
    for part in beyond:
        assert part.first.replace(day=1) == part.last.replace(day=1)
        read.difference_update(part.all_days())
    assert read == set(date_range.all_days())
    assert sum(day <= today for part in beyond for day in part.all_days()) <= 2 * 15
    if months:
        assert (months.first.day, months.last) == (1, month_end(months.last))


@pytest.mark.parametrize(
    ("days", "months"),
    [
        (date_range("2025-02-01", "2025-02-15"), date_range("2025-02-01", "2025-02-28")),
        (date_range("2025-02-01", "2025-02-14"), None),
        (date_range("2025-01-20", "2025-02-10"), None),
        (date_range("2025-01-10", "2025-02-10"), date_range("2025-01-01", "2025-01-31")),
        (date_range("2025-01-20", "2025-02-20"), date_range("2025-02-01", "2025-02-28")),
        (date_range("2025-01-20", "2025-03-10"), date_range("2025-02-01", "2025-02-28")),
    ],
)
def test_month_is_read_whole_if_that_is_fewer_days(
    days: DateRange, months: DateRange | None
) -> None:
    assert months_of(days) == months


def test_month_to_date_is_read_whole_on_first_day() -> None:
    today = date(2025, 3, 1)
    month = date_range("2025-03-01", "2025-03-31")
    assert months_of(DateRange(today, today), today=today) == month
    assert months_of(date_range("2025-02-20", "2025-03-01"), today=today) == month
    assert months_of(date_range("2025-02-10", "2025-03-01"), today=today) == DateRange(
        date(2025, 2, 1), month.last
    )
    assert months_of(DateRange(today, today), today=date(2025, 3, 3)) is None
