"""Date ranges of the cost explorer: presets, and the range each is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

_DAY = timedelta(days=1)


class Preset(StrEnum):
    """A date range relative to today, so that a bookmark stays up to date."""

    TODAY = "today"
    WEEK = "7d"
    THIRTY_DAYS = "30d"
    MONTH = "month"
    LAST_MONTH = "last-month"
    YEAR = "365d"
    CUSTOM = "custom"


class Compare(StrEnum):
    """What a date range is compared with."""

    BEFORE = "before"
    YEAR = "year"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class DateRange:
    """Whole days, both ends included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days it has, both ends included."""
        return (self.last - self.first).days + 1

    def all_days(self) -> list[date]:
        """Return each day, the first one first."""
        return [self.first + n * _DAY for n in range(self.days)]

    def without(self, other: DateRange) -> list[DateRange]:
        """Return the days before and after `other`, each if not empty."""
        before = self.first, min(self.last, other.first - _DAY)
        after = max(self.first, other.last + _DAY), self.last
        return [DateRange(first, last) for first, last in (before, after) if first <= last]


def preset_range(preset: Preset, today: date) -> DateRange:
    """Return the days of a preset; a custom one has none."""
    month = today.replace(day=1)
    if preset is Preset.MONTH:
        return DateRange(month, today)
    if preset is Preset.LAST_MONTH:
        last = month - _DAY
        return DateRange(last.replace(day=1), last)
    days = {Preset.TODAY: 1, Preset.WEEK: 7, Preset.THIRTY_DAYS: 30, Preset.YEAR: 365}[preset]
    return DateRange(today - (days - 1) * _DAY, today)


def compared_with(date_range: DateRange, compare: Compare, preset: Preset) -> DateRange | None:
    """Return the date range that `date_range` is compared with, or None for no comparison.

    Whole months, and a month to date, are compared with the same days of the previous month;
    other ranges with as many days immediately before them.
    """
    if compare is Compare.NOTHING:
        return None
    if compare is Compare.YEAR:
        return DateRange(_in_year(date_range.first, -1), _in_year(date_range.last, -1))
    last_before = date_range.first - _DAY
    if preset is not Preset.MONTH and not _is_month(date_range, preset):
        return DateRange(date_range.first - date_range.days * _DAY, last_before)
    first = last_before.replace(day=1)
    if date_range.last == month_end(date_range.last):
        return DateRange(first, last_before)
    return DateRange(first, min(last_before, first + (date_range.days - 1) * _DAY))


def months_of(date_range: DateRange, *, today: date = date.max) -> DateRange | None:
    """Return the whole months of which more days are inside the date range than outside, or None.

    Adding the days of the range that they lack, and subtracting their days outside of it, gives
    the range: at most half a month at either end. Days after `today` do not count.
    """
    first, last = date_range.first.replace(day=1), month_end(date_range.last)
    if not _is_mostly_in(date_range, first, today):
        first = month_end(first) + _DAY
    if first < last and not _is_mostly_in(date_range, last, today):
        last = last.replace(day=1) - _DAY
    return DateRange(first, last) if first < last else None


def month_end(day: date) -> date:
    """Return the last day of the month of `day`."""
    return (day.replace(day=28) + 4 * _DAY).replace(day=1) - _DAY


def _is_mostly_in(date_range: DateRange, day: date, today: date) -> bool:
    month = DateRange(day.replace(day=1), month_end(day))
    outside = month.without(date_range)
    inside_days = month.days - sum(part.days for part in outside)
    past = (max(0, (min(part.last, today) - part.first).days + 1) for part in outside)
    return sum(past) < inside_days


def _is_month(date_range: DateRange, preset: Preset) -> bool:
    """Whether the selected range is a whole month."""
    is_whole = date_range == DateRange(date_range.last.replace(day=1), month_end(date_range.last))
    return is_whole and preset in (Preset.LAST_MONTH, Preset.CUSTOM)


def _in_year(day: date, years: int) -> date:
    """The same day of another year; 29 February is the 28th there."""
    if (day.month, day.day) == (2, 29):
        return date(day.year + years, 2, 28)
    return day.replace(year=day.year + years)
