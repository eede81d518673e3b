"""The windows of limits: local days of an organization, as two instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo


class BudgetWindow(Enum):
    """How long a limit counts before it resets."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"

    def days_around(self, day: date) -> tuple[date, date]:
        """Return the first day of the window that holds `day`, and the first day after it.

        Weeks begin on Monday, quarters in January, April, July and October.
        """
        if self is BudgetWindow.DAY:
            return day, day + timedelta(days=1)
        if self is BudgetWindow.WEEK:
            first = day - timedelta(days=day.weekday())
            return first, first + timedelta(days=7)
        months = 1 if self is BudgetWindow.MONTH else 3
        first = date(day.year, (day.month - 1) // months * months + 1, 1)
        years, month = divmod(first.month - 1 + months, 12)
        return first, date(first.year + years, month + 1, 1)

    def around(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return the window that holds the local `day` as [starts_at, ends_at) in UTC."""
        first, after = self.days_around(day)
        return first_instant(first, zone), first_instant(after, zone)


def day_around(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the local day that holds `moment` as [starts_at, ends_at) in UTC.

    A day is 23 to 25 hours long where clocks change, and longer where a zone skips a date.
    """
    day = local_day(moment, zone)
    return first_instant(day, zone), first_instant(day + timedelta(days=1), zone)


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """Return the date of the local day that holds `moment`.

    Clocks set back across midnight show the old date again after the new day began: it is still
    the new day.
    """
    day = moment.astimezone(zone).date()
    while moment >= first_instant(day + timedelta(days=1), zone):
        day += timedelta(days=1)
    return day


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which `day` begins, in UTC.

    A midnight that occurs twice is the first one. One that does not exist is the instant at which
    the clocks are set forward over it, at midnight or before (Toronto 1919: from 23:30 to 00:30).
    """
    midnight = datetime.combine(day, time.min, tzinfo=zone)
    late, early = (midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if early >= late:
        return late
    while late - early > timedelta(seconds=1):  # in a gap: `early` is before the change
        middle = early + timedelta(seconds=(late - early) // timedelta(seconds=2))
        if middle.astimezone(zone).date() < day:
            early = middle
        else:
            late = middle
    return late


def clipped(
    bounds: tuple[datetime, datetime],
    *,
    previous_ends_at: datetime | None,
    next_starts_at: datetime | None,
) -> tuple[datetime, datetime]:
    """Return `bounds` clipped to the gap between its neighbours.

    After a change of time zone a new day could overlap the period before and grant its limit a
    second time; it begins where that one ends.
    """
    starts_at, ends_at = bounds
    if previous_ends_at is not None:
        starts_at = max(starts_at, previous_ends_at)
    if next_starts_at is not None:
        ends_at = min(ends_at, next_starts_at)
    return starts_at, ends_at
