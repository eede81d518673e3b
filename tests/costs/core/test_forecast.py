"""The forecast of a month: from the weekdays of eight weeks, never below the spent amount."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from costs.core.calendar.date_ranges import month_end
from costs.core.forecast import HISTORY_DAYS, Forecast, history_starts, month_forecast

EURO = 10**9
TODAY = date(2025, 6, 16)  # a Monday
AMOUNTS = st.lists(st.integers(0, 10**13), min_size=0, max_size=80)


def back(days: int) -> date:
    return TODAY - timedelta(days=days)


def forecast(by_day: dict[date, int]) -> Forecast:
    found = month_forecast(by_day, today=TODAY)
    assert found is not None
    return found


def test_even_days_give_exact_forecast() -> None:
    found = forecast({back(n): EURO for n in range(HISTORY_DAYS + 1)})
    assert found.spent_nanoeur == 16 * EURO
    assert found.expected_nanoeur == found.low_nanoeur == found.high_nanoeur == 30 * EURO
    assert found.last_day == date(2025, 6, 30)


def test_forecast_keeps_weekend_pattern() -> None:
    by_day = {back(n): EURO * (back(n).weekday() < 5) for n in range(HISTORY_DAYS + 1)}
    assert forecast(by_day).expected_nanoeur == 21 * EURO  # June 2025 has 21 working days


def test_last_two_weeks_set_forecast_level() -> None:
    by_day = {back(n): EURO * (2 if n <= 14 else 1) for n in range(HISTORY_DAYS + 1)}
    found = forecast(by_day)
    to_come = found.expected_nanoeur - found.spent_nanoeur
    assert to_come == 14 * 2 * EURO
    assert found.low_nanoeur < found.expected_nanoeur < found.high_nanoeur


def test_forecast_completes_today_without_double_counting() -> None:
    by_day = {back(n): EURO for n in range(1, HISTORY_DAYS + 1)}
    assert forecast(by_day | {TODAY: EURO // 4}).expected_nanoeur == 30 * EURO
    assert forecast(by_day | {TODAY: 5 * EURO}).expected_nanoeur == 34 * EURO


def test_less_than_week_gives_no_forecast() -> None:
    assert month_forecast({back(n): EURO for n in range(1, 7)}, today=TODAY) is None
    assert month_forecast({back(n): EURO for n in range(1, 8)}, today=TODAY) is not None
    assert month_forecast({}, today=TODAY) is None
    assert month_forecast({TODAY: EURO}, today=TODAY) is None


@given(AMOUNTS, st.dates(min_value=date(2020, 1, 1), max_value=date(2030, 1, 1)))
def test_forecast_is_never_below_spent_amount(amounts: list[int], today: date) -> None:
    by_day = {today - timedelta(days=n): nanoeur for n, nanoeur in enumerate(amounts)}
    found = month_forecast(by_day, today=today)
    if found is None:
        return
    assert found.spent_nanoeur <= found.low_nanoeur <= found.expected_nanoeur <= found.high_nanoeur
    first = today.replace(day=1)
    assert found.spent_nanoeur == sum(v for day, v in by_day.items() if day >= first)
    assert found.last_day == month_end(today)
    assert history_starts(today) <= first
