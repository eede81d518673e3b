"""Charts as plain numbers, for templates that draw them as SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from costs.reports import CostGroup
from costs.templatetags.figures import short_eur

DAYS_MAX: Final = 400
HEIGHT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """One day's bar in a drawing HEIGHT high, a day being one unit wide."""

    x: str
    y: str
    height: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayChart:
    """A bar for every day, also for those without a charge."""

    days: int
    bars: tuple[DayBar, ...]
    summary: str


def day_chart(groups: Iterable[CostGroup], *, first_day: date, last_day: date) -> DayChart | None:
    """Return the chart of a report by day, or None when there is nothing to draw or too much."""
    amounts = {group.value: group.sums.amount_nanoeur for group in groups}
    days = (last_day - first_day).days + 1
    highest = max(amounts.values(), default=0)
    if days > DAYS_MAX or highest <= 0:
        return None
    all_days = [first_day + timedelta(days=n) for n in range(days)]
    dearest = max(amounts, key=lambda day: amounts[day])
    return DayChart(
        days=days,
        bars=tuple(
            _bar(n, day, amounts.get(f"{day}", 0), highest) for n, day in enumerate(all_days)
        ),
        summary=f"{len(amounts)} of {days} days have charges; the dearest is {dearest} "
        f"with {short_eur(highest)}.",
    )


def share_width(part_nanoeur: int, whole_nanoeur: int) -> str:
    """Return a part's width in percent of a bar, from 0 to 100."""
    if whole_nanoeur <= 0 or part_nanoeur <= 0:
        return "0"
    return f"{min(100 * part_nanoeur / whole_nanoeur, 100):.2f}"


def _bar(n: int, day: date, amount_nanoeur: int, highest: int) -> DayBar:
    height = HEIGHT * max(amount_nanoeur, 0) / highest
    return DayBar(
        x=f"{n + 0.1:.1f}",
        y=f"{HEIGHT - height:.2f}",
        height=f"{height:.2f}",
        text=f"{day:%-d %b %Y}: {short_eur(amount_nanoeur)}",
    )
