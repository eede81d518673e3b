"""Working days of the ECB, and which exchange rates are valid, too different or stale."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from costs.core.calendar.target_days import is_working_day, working_days_since
from costs.core.exchange_rates import (
    CHANGE_MAX,
    DatedRate,
    RateInForce,
    fault_of_change,
    fault_of_date,
    fault_of_usd_per_eur,
)
from costs.prices.ecb import packaged_rates

TODAY = date(2026, 11, 27)


def test_ecb_published_rate_on_each_working_day_and_on_no_other() -> None:
    published = [rate.on_date for rate in packaged_rates(date.max)]
    first, last = published[0], published[-1]
    assert (last - first).days > 1000
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    assert [day for day in days if is_working_day(day)] == published


@pytest.mark.parametrize(
    ("day", "is_open"),
    [
        (date(2026, 1, 1), False), (date(2026, 1, 2), True),
        (date(2026, 4, 2), True), (date(2026, 4, 3), False),  # Good Friday
        (date(2026, 4, 6), False), (date(2026, 4, 7), True),  # Easter Monday
        (date(2026, 5, 1), False), (date(2026, 5, 14), True),  # Ascension Day is none of TARGET's
        (date(2026, 12, 24), True), (date(2026, 12, 25), False), (date(2028, 12, 26), False),
        (date(2026, 11, 28), False), (date(2026, 11, 29), False), (date(2026, 11, 30), True),
        (date(2038, 4, 23), False), (date(2038, 4, 26), False),  # the latest Easter
    ],
)  # fmt: skip
def test_working_days_are_those_of_target(day: date, is_open: bool) -> None:
    assert is_working_day(day) is is_open


@pytest.mark.parametrize(
    ("on_date", "today", "age"),
    [
        (date(2026, 11, 27), date(2026, 11, 27), 0),
        (date(2026, 11, 27), date(2026, 11, 29), 0),  # a weekend
        (date(2026, 11, 27), date(2026, 12, 2), 3),
        (date(2026, 11, 27), date(2026, 12, 3), 4),
        (date(2026, 4, 1), date(2026, 4, 8), 3),  # over Easter
        (date(2026, 4, 1), date(2026, 4, 9), 4),
        (date(2026, 12, 23), date(2027, 1, 4), 6),
        (date(2026, 11, 27), date(2026, 11, 20), 0),
    ],
)
def test_rate_older_than_three_working_days_is_stale(on_date: date, today: date, age: int) -> None:
    assert working_days_since(on_date, today) == age
    found = RateInForce(rate=DatedRate(on_date, Decimal("1.1000")), source="a letter", at=today)
    assert found.is_stale is (age > 3)
    assert found.warning == (
        f"The exchange rate, 1.1 USD per EUR of {on_date}, is more than 3 working days old; an "
        "operator must update it with manage.py rates refresh."
        if age > 3
        else ""
    )


@pytest.mark.parametrize(
    ("usd_per_eur", "why"),
    [
        ("0.000001", None), ("1.123456", None), ("1.1234560000", None), ("999.999999", None),
        ("0", "more than 0"), ("-1.1", "more than 0"), ("1000", "less than 1000"),
        ("NaN", "more than 0"), ("sNaN", "more than 0"), ("Infinity", "more than 0"),
        ("1.1234567", "at most 6 decimal places"), ("1E-40", "at most 6 decimal places"),
        ("1E+999", "less than 1000"),
    ],
)  # fmt: skip
def test_rate_must_be_positive_and_fit_column(usd_per_eur: str, why: str | None) -> None:
    fault = fault_of_usd_per_eur(Decimal(usd_per_eur))
    assert fault is None if why is None else why in (fault or "")


@pytest.mark.parametrize(
    ("on_date", "why"),
    [
        (TODAY, None), (date(1999, 1, 1), None),
        (date(1998, 12, 31), "must be 1999-01-01 or later"),
        (TODAY + timedelta(days=1), "must not be in the future: 2026-11-28 is after today"),
    ],
)  # fmt: skip
def test_rate_must_be_of_euro_and_not_of_future(on_date: date, why: str | None) -> None:
    fault = fault_of_date(on_date, today=TODAY)
    assert fault is None if why is None else why in (fault or "")


def on(day: int, usd_per_eur: str) -> dict[date, Decimal]:
    return {date(2026, 11, day): Decimal(usd_per_eur)}


@pytest.mark.parametrize(
    ("known", "added", "is_refused"),
    [
        ({}, on(3, "5"), False),
        (on(2, "1"), on(3, "1.2"), False),
        (on(2, "1"), on(3, "1.200001"), True),
        (on(2, "1"), on(3, "0.8"), False),
        (on(2, "1"), on(3, "0.799999"), True),
        (on(4, "1"), on(3, "1.25"), False),  # 1 is a fifth less than 1.25
        (on(4, "1"), on(3, "1.250001"), True),
        (on(2, "1") | on(5, "1"), on(3, "1.1") | on(4, "1.4"), True),
        (on(2, "1") | on(5, "1.6"), on(3, "1.2") | on(4, "1.4"), False),
        (on(2, "1") | on(4, "2"), on(5, "2"), False),  # what is known is not compared again
        ({}, on(3, "1") | on(4, "1.3"), True),
    ],
)
def test_rate_is_compared_with_rates_before_and_after_it(
    known: dict[date, Decimal], added: dict[date, Decimal], is_refused: bool
) -> None:
    assert (fault_of_change(known, added) is not None) is is_refused


def test_no_published_rate_changed_by_more_than_fifth() -> None:
    rates = {rate.on_date: rate.usd_per_eur for rate in packaged_rates(date.max)}
    assert fault_of_change({}, rates) is None
    assert Decimal("0.2") == CHANGE_MAX
