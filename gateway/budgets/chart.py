"""The burn-down chart of a budget: spent by day, its limit, its forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from costs.explorer.charts import DATES_SHOWN_MAX, HEIGHT, Mark, round_top, scale
from costs.templatetags.figures import short_eur
from gateway.budgets.days import BudgetDay
from gateway.budgets.sentences import short_day
from gateway.budgets.status import BudgetStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMark:
    """What the pointer meets over one day."""

    x: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnDown:
    """Paths in a drawing HEIGHT high where a day is one unit wide; `limit_y` is in percent."""

    width: int
    spent_line: str
    spent_area: str
    expected_line: str
    range_area: str
    limit_y: str
    ticks: tuple[Mark, ...]
    dates: tuple[Mark, ...]
    days: tuple[DayMark, ...]
    summary: str


def burn_down(status: BudgetStatus, days: Sequence[BudgetDay], *, day_share: float) -> BurnDown:
    """Return the chart of a period. `day_share` is how much of today has passed, 0 to 1."""
    highest = max(
        status.rule.limit_nanoeur,
        status.charged_nanoeur,
        *(ahead.high_nanoeur for ahead in status.course),
        1,
    )
    top = round_top(highest)

    def point(x: float, nanoeur: int) -> str:
        return f"{x:.2f} {HEIGHT - HEIGHT * max(0, nanoeur) / top:.2f}"

    past = [day for day in days if day.spent_nanoeur is not None]
    now_x = len(past) - 1 + day_share
    spent = [point(0, 0)]
    spent += [point(n + 1, day.so_far_nanoeur or 0) for n, day in enumerate(past[:-1])]
    spent.append(point(now_x, status.charged_nanoeur))
    here, ends = spent[-1], [len(past) + n for n in range(len(status.course))]
    expected = [point(x, day.expected_nanoeur) for x, day in zip(ends, status.course, strict=True)]
    high = [point(x, day.high_nanoeur) for x, day in zip(ends, status.course, strict=True)]
    low = [point(x, day.low_nanoeur) for x, day in zip(ends, status.course, strict=True)]
    return BurnDown(
        width=len(days),
        spent_line=f"M{'L'.join(spent)}",
        spent_area=f"M{'L'.join(spent)}V{HEIGHT}H0z",
        expected_line=f"M{'L'.join([here, *expected])}" if expected else "",
        range_area=f"M{'L'.join([here, *high, *reversed(low)])}z" if expected else "",
        limit_y=f"{100 - 100 * status.rule.limit_nanoeur / top:.2f}",
        ticks=scale(top),
        dates=_dates(days),
        days=tuple(DayMark(x=n, text=_day_text(day)) for n, day in enumerate(days)),
        summary=summary(status),
    )


def summary(status: BudgetStatus) -> str:
    """Return what the drawing shows, in words."""
    spent = (
        f"By {short_day(status.today)}, {short_eur(status.charged_nanoeur)} "
        f"of {short_eur(status.rule.limit_nanoeur)} has been spent"
    )
    if (ahead := status.forecast) is None:
        return f"{spent}. No forecast yet: it needs a week of charges."
    return (
        f"{spent}; forecast for {short_day(ahead.last_day)}: about "
        f"{short_eur(ahead.expected_nanoeur)} (80 % range: "
        f"{short_eur(ahead.low_nanoeur)} to {short_eur(ahead.high_nanoeur)})."
    )


def _dates(days: Sequence[BudgetDay]) -> tuple[Mark, ...]:
    every = ceil(len(days) / DATES_SHOWN_MAX)
    return tuple(
        Mark(at=f"{100 * (n + 0.5) / len(days):.2f}", text=short_day(days[n].on))
        for n in range(every // 2, len(days), every)
    )


def _day_text(day: BudgetDay) -> str:
    if day.spent_nanoeur is not None and day.so_far_nanoeur is not None:
        return (
            f"{day.on:%a %-d %b}: {short_eur(day.spent_nanoeur)}\n"
            f"{short_eur(day.so_far_nanoeur)} so far, {short_eur(day.left_nanoeur or 0)} left"
        )
    if day.ahead is None:
        return f"{day.on:%a %-d %b}"
    return (
        f"{day.on:%a %-d %b}: forecast: about {short_eur(day.ahead.expected_nanoeur)}\n"
        f"{short_eur(day.ahead.low_nanoeur)} to {short_eur(day.ahead.high_nanoeur)}"
    )
