"""Local days of organizations in all time zones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from costs.core.calendar.periods import clipped, day_around, first_instant

ZONES = sorted(available_timezones())
START, END = date(2025, 1, 1), date(2028, 1, 1)
DAYS = [START + timedelta(days=n) for n in range((END - START).days)]
TICK = timedelta(microseconds=1)

moments = st.datetimes(
    min_value=datetime(2025, 1, 1),  # noqa: DTZ001  the strategy adds the zone
    max_value=datetime(2028, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
zones = st.sampled_from(ZONES).map(ZoneInfo)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(moment=moments, zone=zones)
@example(moment=utc("2026-03-29 00:59:59"), zone=ZoneInfo("Europe/Paris"))
@example(moment=utc("2026-04-24 21:59:59"), zone=ZoneInfo("Africa/Cairo"))
@example(moment=utc("2024-02-29 18:30:00"), zone=ZoneInfo("Asia/Almaty"))
@example(moment=utc("1919-03-31 04:45:00"), zone=ZoneInfo("America/Toronto"))
def test_each_instant_is_in_exactly_one_local_day(moment: datetime, zone: ZoneInfo) -> None:
    starts_at, ends_at = day_around(moment, zone)
    assert starts_at <= moment < ends_at
    assert day_around(starts_at, zone) == day_around(ends_at - TICK, zone) == (starts_at, ends_at)
    assert day_around(ends_at, zone)[0] == ends_at
    assert day_around(starts_at - TICK, zone)[1] == starts_at


@pytest.mark.parametrize("part", range(8))
def test_days_of_every_zone_adjoin_for_three_years(part: int) -> None:
    for zone in map(ZoneInfo, ZONES[part::8]):
        starts = [first_instant(day, zone) for day in DAYS]
        lengths = {after - before for before, after in pairwise(starts)}
        assert min(lengths) >= timedelta(0), zone
        for day, starts_at in zip(DAYS, starts, strict=True):
            if not _is_plain(starts_at, zone):
                assert starts_at.astimezone(zone).date() >= day, zone
                assert (starts_at - TICK).astimezone(zone).date() < day, zone
        for moment in _around_changes(starts, zone):
            first, last = day_around(moment, zone)
            assert first <= moment < last, (zone, moment)


def _is_plain(moment: datetime, zone: ZoneInfo) -> bool:
    local = moment.astimezone(zone)
    return (local.hour, local.minute) == (0, 0)


def _around_changes(starts: list[datetime], zone: ZoneInfo) -> Iterator[datetime]:
    """Give each minute's edge of the hours around midnight on days that are not 24 hours long."""
    for starts_at, ends_at in pairwise(starts):
        if ends_at - starts_at != timedelta(hours=24):
            for minutes in range(-120, 121, 15):
                yield starts_at + timedelta(minutes=minutes)
                yield ends_at + timedelta(minutes=minutes) - TICK


@pytest.mark.long
@pytest.mark.parametrize("name", ZONES)
def test_consecutive_days_cover_every_instant_since_1900(name: str) -> None:
    zone = ZoneInfo(name)
    starts_at, ends_at = day_around(utc("1900-01-01"), zone)
    while ends_at < utc("2040-01-01"):
        for moment in (starts_at, starts_at + (ends_at - starts_at) / 2, ends_at - TICK):
            assert day_around(moment, zone) == (starts_at, ends_at), (name, moment)
        starts_at, ends_at = ends_at, day_around(ends_at, zone)[1]


@pytest.mark.parametrize(
    ("zone", "moment", "starts_at", "ends_at"),
    [
        ("Europe/Paris", "2026-03-29 12:00", "2026-03-28 23:00", "2026-03-29 22:00"),  # 23 hours
        ("Europe/Paris", "2026-10-25 12:00", "2026-10-24 22:00", "2026-10-25 23:00"),  # 25 hours
        # Midnight does not exist: the day begins at 01:00 local time.
        ("Africa/Cairo", "2026-04-24 12:00", "2026-04-23 22:00", "2026-04-24 21:00"),
        # Samoa went over the date line and had no 30th of December.
        ("Pacific/Apia", "2011-12-30 09:59", "2011-12-29 10:00", "2011-12-30 10:00"),
        ("Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00", "2011-12-31 10:00"),
        # The clocks went from 23:30 to 00:30: the new day began half an hour before its midnight.
        ("America/Toronto", "1919-03-31 04:29", "1919-03-30 05:00", "1919-03-31 04:30"),
        ("America/Toronto", "1919-03-31 04:30", "1919-03-31 04:30", "1919-04-01 04:00"),
        # They went back from 00:01 to 23:01: the old date shows again, the new day goes on.
        ("America/St_Johns", "2010-11-07 03:00", "2010-11-07 02:30", "2010-11-08 03:30"),
    ],
)
def test_day_with_clock_change(zone: str, moment: str, starts_at: str, ends_at: str) -> None:
    assert day_around(utc(moment), ZoneInfo(zone)) == (utc(starts_at), utc(ends_at))


def test_day_is_clipped_to_gap_between_neighbours() -> None:
    day = (utc("2026-01-02"), utc("2026-01-03"))
    cut = clipped(
        day, previous_ends_at=utc("2026-01-02 05:00"), next_starts_at=utc("2026-01-02 23:00")
    )
    assert cut == (utc("2026-01-02 05:00"), utc("2026-01-02 23:00"))
    apart = clipped(day, previous_ends_at=utc("2026-01-01"), next_starts_at=utc("2026-01-04"))
    assert apart == clipped(day, previous_ends_at=None, next_starts_at=None) == day
