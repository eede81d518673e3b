"""Forecast of the cost of a month, or another date range, with an 80 % range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from statistics import fmean
from typing import Final

from costs.core.calendar.date_ranges import month_end

# Eight weeks: each weekday eight times, and little of a growing company's past.
HISTORY_DAYS: Final = 56
HISTORY_DAYS_MIN: Final = 7
LEVEL_DAYS: Final = 14
# Four of five months end within this many standard deviations, where days vary by chance.
DEVIATIONS: Final = 1.2816
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A date range in nano-euro: spent so far, and the expected total with its 80 % range."""

    spent_nanoeur: int
    expected_nanoeur: int
    low_nanoeur: int
    high_nanoeur: int
    last_day: date


def month_forecast(by_day: Mapping[date, int], *, today: date) -> Forecast | None:
    """Return the forecast of the month of `today` from nano-euro by day, or None.

    `by_day` has the charged days since `history_starts(today)`; None where the first of them is
    less than a week ago.
    """
    first = today.replace(day=1)
    spent = sum(nanoeur for day, nanoeur in by_day.items() if first <= day <= today)
    ahead = course(by_day, today=today, last=month_end(today), spent_nanoeur=spent)
    return ahead[-1] if ahead else None


def course(
    by_day: Mapping[date, int], *, today: date, last: date, spent_nanoeur: int
) -> tuple[Forecast, ...]:
    """Return the forecast of the total at the end of each day from `today` to `last`.

    Every remaining day costs what its weekday cost on average in the last eight weeks, scaled to
    the level of the last two. Empty where the first charge is less than a week ago.
    """
    history = _history(by_day, today)
    if len(history) < HISTORY_DAYS_MIN:
        return ()
    usual = {weekday: _mean_of(history, weekday) for weekday in range(7)}
    recent = [day for day in history if day >= today - LEVEL_DAYS * _DAY]
    level = _ratio(sum(history[day] for day in recent), sum(usual[d.weekday()] for d in recent))
    off_by = [history[day] - level * usual[day.weekday()] for day in history]
    variance = fmean(each * each for each in off_by)
    # The rest of today: what is missing to a usual day.
    to_come = max(0.0, level * usual[today.weekday()] - by_day.get(today, 0))
    ahead = []
    for number in range(1, (last - today).days + 2):
        day = today + (number - 1) * _DAY
        to_come += level * usual[day.weekday()] if number > 1 else 0.0
        # The variance of the days, and that of the mean that represents all of them.
        spread = DEVIATIONS * sqrt(variance * (number + number**2 / len(history)))
        ahead.append(
            Forecast(
                spent_nanoeur=spent_nanoeur,
                expected_nanoeur=spent_nanoeur + round(to_come),
                low_nanoeur=spent_nanoeur + round(max(0.0, to_come - spread)),
                high_nanoeur=spent_nanoeur + round(to_come + spread),
                last_day=day,
            )
        )
    return tuple(ahead)


def history_starts(today: date) -> date:
    """Return the first day that a forecast uses: of the history, or of the month."""
    return min(today - HISTORY_DAYS * _DAY, today.replace(day=1))


def _history(by_day: Mapping[date, int], today: date) -> dict[date, int]:
    """Return the whole days before today, from the first charge on; idle ones cost nothing."""
    starts_on = today - HISTORY_DAYS * _DAY
    charged = [day for day in by_day if starts_on <= day < today]
    if not charged:
        return {}
    first = min(charged)
    return {
        day: by_day.get(day, 0) for day in (first + n * _DAY for n in range((today - first).days))
    }


def _mean_of(history: Mapping[date, int], weekday: int) -> float:
    """Return what a weekday cost on average; without data, the average of all days."""
    seen = [nanoeur for day, nanoeur in history.items() if day.weekday() == weekday]
    return fmean(seen or history.values())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 and part > 0 else 1.0
