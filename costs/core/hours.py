"""Prices by the hour: what an hour of UTC costs, and how its calls share that.

An hour is known by its start. A call belongs to the hour of its admission.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from typing import Any, Final

from costs.core.money import euros, plain

HOUR: Final = timedelta(hours=1)
_HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyRate:
    """What the server of a model costs in an hour, or that of all models of a provider (`model`
    empty), whatever their calls use.
    """

    model: str
    nanoeur_per_hour: int
    starts_at: datetime
    source: str

    @property
    def eur_per_hour(self) -> str:
        """The price in euros, without trailing zeros."""
        return plain(euros(self.nanoeur_per_hour))

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form, as plain values."""
        return {
            "model": self.model,
            "eur_per_hour": self.eur_per_hour,
            "starts_at": self.starts_at.isoformat(),
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class HourlyStep:
    """What an hour costs from a moment on; None is no longer priced by the hour."""

    starts_at: datetime
    nanoeur_per_hour: int | None


def hour_of(moment: datetime) -> datetime:
    """Return the start of the hour that a moment is in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def cost_of_hour(steps: Sequence[HourlyStep], hour: datetime) -> int:
    """Return what an hour costs in nano-euro: each price for its seconds, rounded up once.

    `steps` are in order. One that begins within a second counts from that second's start, so that
    the seconds of an hour are 3,600 whatever changes in it.
    """
    nanoeur_seconds = sum(
        (step.nanoeur_per_hour or 0) * max(0, _second(ends_at, hour) - _second(starts_at, hour))
        for step, starts_at, ends_at in _spans(steps)
    )
    return -(-nanoeur_seconds // _HOUR_S)


def hours_priced(
    steps: Sequence[HourlyStep], *, after: datetime | None, until: datetime
) -> Iterator[datetime]:
    """Yield in order the hours with a price, after `after`, that are over at `until`."""
    last = after
    for step, starts_at, ends_at in _spans(steps):
        hour = hour_of(starts_at)
        if last is not None:
            hour = max(hour, last + HOUR)
        while step.nanoeur_per_hour is not None and hour < ends_at and hour + HOUR <= until:
            yield hour
            last, hour = hour, hour + HOUR


def shares_of(nanoeur: int, tokens: Sequence[int]) -> list[int]:
    """Return what each call's tokens cost of an amount, which they add up to exactly.

    Cumulative and rounded down: what remains after each call is exact. Without any token nothing
    is divided.
    """
    whole, reached, shares = sum(tokens), 0, []
    for count in tokens:
        before, reached = reached, reached + count
        shares.append(nanoeur * reached // whole - nanoeur * before // whole if whole else 0)
    return shares


def _spans(steps: Sequence[HourlyStep]) -> Iterator[tuple[HourlyStep, datetime, datetime]]:
    """Yield each step with its start and its end."""
    for step, following in pairwise(chain(steps, [None])):
        if step is not None:
            ends_at = following.starts_at if following else datetime.max.replace(tzinfo=UTC)
            yield step, step.starts_at, ends_at


def _second(moment: datetime, hour: datetime) -> int:
    """Return how many seconds of an hour are over at a moment."""
    return min(max(0, (moment - hour) // timedelta(seconds=1)), _HOUR_S)
