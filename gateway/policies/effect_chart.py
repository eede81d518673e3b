"""A backtest by day as bars, in plain numbers for a template that draws them as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from costs.templatetags.figures import short_eur
from gateway.policies.backtests.replay_report import Backtest

HEIGHT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBars:
    """A day's requests in a drawing HEIGHT high: what passes, and on top what is refused."""

    x: str
    passed_y: str
    passed_height: str
    refused_y: str
    refused_height: str
    text: str


def effect_bars(report: Backtest) -> tuple[DayBars, ...]:
    """Return a pair of bars for each judged day, the oldest first; none without a request."""
    highest = max((day.requests for day in report.days), default=0)
    if not highest:
        return ()
    bars = []
    for n, day in enumerate(reversed(report.days)):
        whole = HEIGHT * day.requests / highest
        refused = HEIGHT * day.refused / highest
        bars.append(
            DayBars(
                x=f"{n + 0.1:.1f}",
                passed_y=f"{HEIGHT - whole + refused:.2f}",
                passed_height=f"{whole - refused:.2f}",
                refused_y=f"{HEIGHT - whole:.2f}",
                refused_height=f"{refused:.2f}",
                text=f"{day.on:%-d %b}: {day.refused:,} of {day.requests:,} blocked, "
                f"{short_eur(day.not_spent_nanoeur)} saved",
            )
        )
    return tuple(bars)
