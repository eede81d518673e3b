"""When a day's costs are unusual for their weekday and hour, and what of them rose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

from costs.core.calendar.periods import first_instant

# The same weekdays that a day is compared with: so many weeks back, and at least so many.
WEEKS: Final = 8
WEEKS_MIN: Final = 4
# A spike is at least so many times the usual, and so far out of the usual spread: the median
# absolute deviation times 1.4826 is the standard deviation where days vary by chance.
RATIO: Final = 2
DEVIATIONS: Final = 4
MAD_TO_DEVIATION: Final = 1.4826
# A spike is raised again when costs have doubled since.
AGAIN_RATIO: Final = 2
_HOUR: Final = timedelta(hours=1)
_WEEK: Final = timedelta(weeks=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """What the day has cost so far, and what its weekday usually has by now, in nano-euro."""

    spent_nanoeur: int
    usual_nanoeur: int

    @property
    def rise_nanoeur(self) -> int:
        """How much more than usual the day has cost."""
        return self.spent_nanoeur - self.usual_nanoeur


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionCost:
    """What one value of a dimension has cost: today, and on the usual days together."""

    dimension: str
    value: str
    today_nanoeur: int
    before_nanoeur: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The part that rose most beyond what is usual of it; `percent` is its share of the rise."""

    dimension: str
    value: str
    percent: int


def days_like(today: date, *, first_charged: date) -> list[date]:
    """Return the same weekdays before today since the first charge; none where they are few."""
    days = [today - n * _WEEK for n in range(1, WEEKS + 1)]
    known = [day for day in days if day >= first_charged]
    return known if len(known) >= WEEKS_MIN else []


def spent_by(clock: time, day: date, zone: ZoneInfo, by_hour: Mapping[datetime, int]) -> int:
    """Return what a day had cost when its clocks showed `clock`.

    `by_hour` has the costs of whole hours by the instant at which each begins, in UTC; of an hour
    that is cut, a part counts that is as long. On the day on which clocks change it is still the
    clock that counts: people work by it.
    """
    starts_at = first_instant(day, zone)
    reached_at = datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)
    spent = 0.0
    for hour_at, nanoeur in by_hour.items():
        inside = min(hour_at + _HOUR, reached_at) - max(hour_at, starts_at)
        if inside > timedelta(0):
            spent += nanoeur * (inside / _HOUR)
    return round(spent)


def spike_in(spent_nanoeur: int, usual: Sequence[int], *, least_nanoeur: int) -> Spike | None:
    """Return the spike that the costs so far are, or None.

    `usual` has what the same weekdays had cost by this hour: their median is the usual one, so
    that one odd day does not hide the next. A rise below `least_nanoeur` is none.
    """
    if len(usual) < WEEKS_MIN:
        return None
    middle = median(usual)
    spread = median(abs(each - middle) for each in usual) * MAD_TO_DEVIATION
    bar = max(middle * RATIO, middle + DEVIATIONS * spread, middle + least_nanoeur)
    if spent_nanoeur < bar or spent_nanoeur <= 0:
        return None
    return Spike(spent_nanoeur=spent_nanoeur, usual_nanoeur=max(0, round(middle)))


def is_repeated(spent_nanoeur: int, last_nanoeur: int) -> bool:
    """Whether costs have doubled since the last spike."""
    return spent_nanoeur >= last_nanoeur * AGAIN_RATIO


def driver_of(
    spike: Spike, parts: Iterable[DimensionCost], *, days: int, usual_part: float
) -> Driver | None:
    """Return what explains most of a spike, or None where no part rose.

    `usual_part` is how much of a usual day is over by now. A part that always makes the same share
    explains nothing, however large: so its usual share is taken off. Of parts that explain as
    much the first one is it.
    """
    best: tuple[float, Driver] | None = None
    for part in parts:
        usual = part.before_nanoeur * usual_part / days
        share = (part.today_nanoeur - usual) / spike.rise_nanoeur
        usual_share = min(1.0, usual / spike.usual_nanoeur) if spike.usual_nanoeur > 0 else 0.0
        explains = round(share * (1 - usual_share / 2), 3)
        if share > 0 and (best is None or explains > best[0]):
            percent = min(100, round(share * 100))
            best = explains, Driver(dimension=part.dimension, value=part.value, percent=percent)
    return best[1] if best else None
