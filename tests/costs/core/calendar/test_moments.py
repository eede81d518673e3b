"""Moments: a date, or a date and time with minutes, in a time zone or with an offset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.calendar.moments import InvalidMoment, moment_from

PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("text", "instant", "as_end"),
    [
        ("2026-11-29", "2026-11-28T23:00", "2026-11-29T23:00"),
        ("2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00"),  # a day of 23 hours
        ("2026-11-29T14:30", "2026-11-29T13:30", None),
        ("2026-11-29T14:30:15", "2026-11-29T13:30:15", None),
        ("2026-11-29T14:30:15.5", "2026-11-29T13:30:15.500", None),
        ("2026-11-29T14:30:15.123456", "2026-11-29T13:30:15.123456", None),
        ("2026-11-29T14:30Z", "2026-11-29T14:30", None),
        ("2026-11-29T14:30-08:00", "2026-11-29T22:30", None),
        ("2026-11-29T14:30:15.5+05:45", "2026-11-29T08:45:15.500", None),
        ("2026-10-25T02:30+02:00", "2026-10-25T00:30", None),
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30", None),
        ("2026-10-25T01:59", "2026-10-24T23:59", None),  # both sides of the hour that comes twice
        ("2026-10-25T03:00", "2026-10-25T02:00", None),
        ("2026-03-29T01:59", "2026-03-29T00:59", None),  # and of the hour that does not exist
        ("2026-03-29T03:00", "2026-03-29T01:00", None),
        ("2000-01-01", "1999-12-31T23:00", "2000-01-01T23:00"),
        ("2199-12-31T23:59", "2199-12-31T22:59", None),
    ],
)
def test_moment_is_instant(text: str, instant: str, as_end: str | None) -> None:
    expected = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    assert moment_from(text, PARIS, is_end=False) == expected
    end = datetime.fromisoformat(as_end).replace(tzinfo=UTC) if as_end else expected
    assert moment_from(text, PARIS, is_end=True) == end


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2026-02-30", "must be a date that exists, not 2026-02-30"),
        ("2026-02-29T10:00", "must be a date that exists, not 2026-02-29T10:00"),
        ("2026-13-01", "must be a date that exists, not 2026-13-01"),
        ("0001-01-01T00:00+23:59", "must be between 2000-01-01 and 2199-12-31"),
        ("2200-01-01", "must be between 2000-01-01 and 2199-12-31"),
        (
            "2026-03-29T02:30",
            "must be a time that exists: clocks in Europe/Paris skip 2026-03-29T02:30",
        ),
        (
            "2026-10-25T02:30",
            "must have an offset, 2026-10-25T02:30+02:00 or 2026-10-25T02:30+01:00: "
            "clocks in Europe/Paris show 2026-10-25T02:30 twice",
        ),
    ],
)
def test_moment_that_does_not_exist_or_is_ambiguous_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidMoment) as refusal:
        moment_from(text, PARIS, is_end=False)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026", "2026-1-1", "20261129", "2026-W48-7", "2026-11-29T14"),
        *("2026-11-29T24:00", "2026-11-29T14:60", "2026-11-29T14:30:60", "2026-11-29 14:30"),
        *("2026-11-29T14:30 01:00", "2026-11-29T14:30+0100", "2026-11-29T14:30z", "2026-11-29Z"),
        *("2026-11-29T14:30:15.1234567", "2026-11-29T", "\u0662026-11-29", "2026-11-29\n"),
    ],
)
def test_other_formats_are_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidMoment, match="must be a date, or a date and time, such as"):
        moment_from(text, PARIS, is_end=False)


@given(
    st.integers(0, 6 * 10**15),  # 190 years
    st.sampled_from(["UTC", "Asia/Kolkata"]),
)
def test_written_instant_is_read_again(microseconds: int, zone: str) -> None:
    instant = datetime(2000, 1, 2, tzinfo=UTC) + timedelta(microseconds=microseconds)
    for text in (instant.isoformat(), instant.astimezone(ZoneInfo(zone)).isoformat()):
        assert moment_from(text, ZoneInfo(zone), is_end=False) == instant
    local = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert moment_from(local.isoformat(), ZoneInfo(zone), is_end=True) == instant
