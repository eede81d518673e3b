"""The last 24 hours as bars, in plain numbers for a template that draws them as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from costs.templatetags.figures import short_eur
from gateway.requests.activity import HOURS, Activity

HEIGHT: Final = 100
OTHERS: Final = "all others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A model's part of an hour, in a drawing HEIGHT high where an hour is one unit wide."""

    x: str
    y: str
    height: str
    colour: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HourChart:
    """All bars, and what a screen reader says of them."""

    bars: tuple[Bar, ...]
    summary: str
    starts_at: datetime
    middle_at: datetime
    ends_at: datetime


def hour_chart(activity: Activity, *, moment: datetime, zone: ZoneInfo) -> HourChart | None:
    """Return the chart of costs by hour and model, or None when nothing was charged."""
    totals = [sum(model.hours[hour] for model in activity.models) for hour in range(HOURS)]
    highest = max(totals)
    if highest <= 0:
        return None
    starts = [moment - timedelta(hours=HOURS - hour) for hour in range(HOURS)]
    bars: list[Bar] = []
    for hour in range(HOURS):
        below = 0
        for colour, model in enumerate(activity.models, start=1):
            cost = max(0, model.hours[hour])
            if cost:
                below += cost
                bars.append(
                    Bar(
                        x=f"{hour + 0.1:.1f}",
                        y=f"{HEIGHT - HEIGHT * below / highest:.2f}",
                        height=f"{HEIGHT * cost / highest:.2f}",
                        colour=colour,
                        text=f"{_hour(starts[hour], zone)}, {model.model or OTHERS}: "
                        f"{short_eur(cost)}",
                    )
                )
    peak = totals.index(highest)
    return HourChart(
        bars=tuple(bars),
        summary=f"{short_eur(activity.nanoeur)} in 24 hours; highest: "
        f"{_hour(starts[peak], zone)} with {short_eur(highest)}.",
        starts_at=starts[0],
        middle_at=starts[HOURS // 2],
        ends_at=moment,
    )


def _hour(starts_at: datetime, zone: ZoneInfo) -> str:
    local, ends_at = starts_at.astimezone(zone), (starts_at + timedelta(hours=1)).astimezone(zone)
    return f"{local:%H:%M} to {ends_at:%H:%M}"
