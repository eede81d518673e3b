"""Charts as plain numbers, for templates that draw them as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from math import ceil
from typing import Final

from costs.core.calendar.date_ranges import DateRange
from costs.core.money import NANO
from costs.templatetags.figures import short_eur

# So that bars are wide enough: up to a quarter they are days, up to half a year weeks, then months.
DAY_BARS_MAX: Final = 92
WEEK_BARS_MAX: Final = 184
SERIES_MAX: Final = 7
HEIGHT: Final = 100
BAR_WIDTH: Final = 0.76
TICKS: Final = 4
DATES_SHOWN_MAX: Final = 5
STEPS: Final = (1, 2, 2.5, 5, 10)

Amounts = Mapping[tuple[date, int | None], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One colour of the bars: a path over all of them. `style` is its class."""

    style: str
    path: str
    label: str
    amount_nanoeur: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoverTarget:
    """The hover area over one bar, of full height, and its text."""

    x: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A label at a position of an axis, in percent of it."""

    at: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedChart:
    """Stacked bars in a drawing HEIGHT high, one unit wide for each bar, which is a `bucket`."""

    bucket: str
    width: int
    series: tuple[Series, ...]
    bars: tuple[HoverTarget, ...]
    ticks: tuple[Mark, ...]
    dates: tuple[Mark, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class _Bucket:
    first: date
    last: date
    name: str


def stacked_chart(
    amounts: Amounts, *, date_range: DateRange, labels: Sequence[str], rest_label: str
) -> StackedChart | None:
    """Return the chart of nano-euro by day and index in `labels`, or None without a charge.

    The index None stands for all values without a label.
    """
    kind, buckets = _buckets(date_range)
    place_of_day = {
        day: n
        for n, bucket in enumerate(buckets)
        for day in DateRange(bucket.first, bucket.last).all_days()
    }
    stacks: list[dict[int | None, int]] = [{} for _ in buckets]
    for (day, place), nanoeur in amounts.items():
        stack = stacks[place_of_day[day]]
        stack[place] = stack.get(place, 0) + nanoeur
    heights = [sum(max(0, nanoeur) for nanoeur in stack.values()) for stack in stacks]
    if max(heights, default=0) <= 0:
        return None
    top = round_top(max(heights))
    order = [*range(len(labels)), None]
    named = dict(zip(order, [*labels, rest_label], strict=True))
    return StackedChart(
        bucket=kind,
        width=len(buckets),
        series=tuple(_series(place, named[place], stacks, order, top) for place in order),
        bars=tuple(
            HoverTarget(x=n, text=_hover_text(bucket, stack, named))
            for n, (bucket, stack) in enumerate(zip(buckets, stacks, strict=True))
        ),
        ticks=scale(top),
        dates=tuple(_dates(buckets)),
        summary=_summary(kind, buckets, heights),
    )


def is_by_month(date_range: DateRange) -> bool:
    """Whether the bars of a date range are months, for which monthly lines suffice."""
    return date_range.days > WEEK_BARS_MAX


def share_width(part_nanoeur: int, whole_nanoeur: int) -> str:
    """Return a part's width in percent of a bar, from 0 to 100."""
    if whole_nanoeur <= 0 or part_nanoeur <= 0:
        return "0"
    return f"{min(100 * part_nanoeur / whole_nanoeur, 100):.2f}"


def _buckets(date_range: DateRange) -> tuple[str, list[_Bucket]]:
    """Return the unit of a bar, and the bars in order."""
    days = date_range.all_days()
    if date_range.days <= DAY_BARS_MAX:
        return "day", [_Bucket(day, day, f"{day:%a %-d %b %Y}") for day in days]
    if not is_by_month(date_range):
        weeks = [
            list(some)
            for _, some in groupby(days, lambda day: (day - timedelta(day.weekday())).toordinal())
        ]
        return "week", [
            _Bucket(week[0], week[-1], f"{week[0]:%-d %b} to {week[-1]:%-d %b %Y}")
            for week in weeks
        ]
    months = [list(some) for _, some in groupby(days, lambda day: (day.year, day.month))]
    return "month", [_Bucket(month[0], month[-1], f"{month[0]:%B %Y}") for month in months]


def round_top(highest: int) -> int:
    """Return a round amount at or above `highest`, a multiple of TICKS round steps."""
    step = ceil(highest / TICKS)
    magnitude = 10 ** (len(f"{step}") - 1)
    round_steps = (ceil(factor * magnitude) for factor in STEPS)
    chosen: int = next(each for each in round_steps if each >= step)
    return TICKS * chosen


def _series(
    place: int | None,
    label: str,
    stacks: Sequence[Mapping[int | None, int]],
    order: Sequence[int | None],
    top: int,
) -> Series:
    below = order[: order.index(place)]
    parts = []
    for n, stack in enumerate(stacks):
        height = HEIGHT * max(0, stack.get(place, 0)) / top
        if height > 0:
            base = HEIGHT - HEIGHT * sum(max(0, stack.get(other, 0)) for other in below) / top
            x = n + (1 - BAR_WIDTH) / 2
            parts.append(f"M{x:.2f} {base:.2f}v{-height:.2f}h{BAR_WIDTH}v{height:.2f}z")
    return Series(
        style="series-rest" if place is None else f"series-{place + 1}",
        path="".join(parts),
        label=label,
        amount_nanoeur=sum(stack.get(place, 0) for stack in stacks),
    )


def _hover_text(
    bucket: _Bucket, stack: Mapping[int | None, int], named: Mapping[int | None, str]
) -> str:
    lines = [f"{bucket.name}: {short_eur(sum(stack.values()))}"]
    if len(named) > 1:
        lines += [f"{named[place]}: {short_eur(stack[place])}" for place in named if place in stack]
    return "\n".join(lines)


def scale(top: int) -> tuple[Mark, ...]:
    """Return the marks of an axis from 0 to a round top."""
    return tuple(_tick(n, top) for n in range(TICKS + 1))


def _tick(n: int, top: int) -> Mark:
    nanoeur = top * n // TICKS
    is_whole = top // TICKS % NANO == 0
    text = f"{nanoeur // NANO:,}\N{NO-BREAK SPACE}€" if is_whole else short_eur(nanoeur)
    return Mark(at=f"{100 - 100 * n / TICKS:.2f}", text=text if n else "0")


def _dates(buckets: Sequence[_Bucket]) -> list[Mark]:
    every = ceil(len(buckets) / DATES_SHOWN_MAX)
    years = {bucket.first.year for bucket in buckets}
    form = "%-d %b" if len(years) == 1 or len(buckets) <= DAY_BARS_MAX else "%b %Y"
    return [
        Mark(at=f"{100 * (n + 0.5) / len(buckets):.2f}", text=f"{buckets[n].first:{form}}")
        for n in range(every // 2, len(buckets), every)
    ]


def _summary(kind: str, buckets: Sequence[_Bucket], heights: Sequence[int]) -> str:
    highest = max(heights)
    name = buckets[heights.index(highest)].name
    charged = sum(height > 0 for height in heights)
    if len(buckets) == 1:
        return f"{name}: {short_eur(highest)}."
    return (
        f"{charged} of {len(buckets)} {kind}s have charges; "
        f"highest: {name} with {short_eur(highest)}."
    )
