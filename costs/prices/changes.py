"""Seed the price list: add what it lacks. `by_hand` has the other way to change it.

Rows are added and past ones never changed: a changed price is a new row from a moment on.
Holds and cost events keep the rates they were priced with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from costs.core.exchange_rates import DatedRate
from costs.core.rates import rate_at
from costs.models import PriceFactor, Rate
from costs.prices.book import PLACE, band_of, lock_prices
from costs.prices.ecb import ECB_SOURCE
from costs.prices.exchange_rates import AddedRates, add_rates, utc_day
from costs.prices.seed import SeedFactor, SeedPrice
from costs.prices.series import DatedRow, Entry, RowT, SeriesKey, grouped, histories, standing

_BATCH_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Seeded:
    """How much was added, and which models were skipped since an operator has set their prices."""

    prices: int
    factors: int
    exchange_rates: AddedRates
    set_by_hand: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the form for JSON."""
        return {
            "added": self.prices,
            "added_factors": self.factors,
            "kept_by_hand": [*self.set_by_hand],
            "exchange_rates": self.exchange_rates.as_dict(),
        }


@transaction.atomic
def seed(
    *,
    prices: Iterable[SeedPrice],
    factors: Iterable[SeedFactor] = (),
    exchange_rates: Iterable[DatedRate],
    now: datetime,
    is_forced: bool = False,
) -> Seeded:
    """Add what the price list lacks; running it again adds nothing.

    A price or factor set by hand stays in force until another one is, or it is taken back. Where an
    existing history differs from the seed, a row from `now` on takes the seed's; what was announced
    for later is replaced, since nothing was priced with it yet. Exchange rates: `add_rates`.
    """
    lock_prices()
    rates = [row for price in prices for row in _rates(price)]
    places = [PriceFactor(kind=PLACE, **asdict(factor)) for factor in factors]
    added, by_hand = _add_missing(Rate.objects.all(), rates, now=now)
    return Seeded(
        prices=added,
        factors=_add_missing(PriceFactor.objects.filter(kind=PLACE), places, now=now)[0],
        exchange_rates=add_rates(
            exchange_rates, source=ECB_SOURCE, today=utc_day(now), is_forced=is_forced
        ),
        set_by_hand=tuple(" ".join(name) for name in sorted({key[:2] for key in by_hand})),
    )


def _add_missing(
    rows: QuerySet[RowT], seeded: Iterable[RowT], *, now: datetime
) -> tuple[int, set[SeriesKey]]:
    """Return how many rows were added, and the series in which something is set by hand."""
    kept = histories(rows)
    by_hand = {
        key: {entry.starts_at for entry in standing(history) if entry.is_by_hand}
        for key, history in kept.items()
    }
    outdated: list[Entry[RowT]] = []
    missing: list[Entry[RowT]] = []
    for key, wanted in grouped(seeded).items():
        history, kept_by_hand = kept.get(key, []), by_hand.get(key, set())
        gone = _outdated(wanted, history, kept_by_hand, now=now)
        left = [entry for entry in history if entry not in gone]
        outdated += gone
        missing += _missing(wanted, left, kept_by_hand, now=now)
    rows.filter(id__in=[row.id for entry in outdated for row in entry.rows]).delete()
    added = [row for entry in missing for row in entry.rows]
    rows.bulk_create(added, batch_size=_BATCH_ROWS)
    return len(added), {key for key, starts in by_hand.items() if starts}


def _outdated(
    wanted: Sequence[Entry[RowT]],
    kept: Sequence[Entry[RowT]],
    by_hand: AbstractSet[datetime],
    *,
    now: datetime,
) -> list[Entry[RowT]]:
    """Return what is announced and the seed no longer has, or has changed."""
    announced = {entry.starts_at: _worth(entry) for entry in wanted}
    return [
        entry
        for entry in kept
        if entry.starts_at > now
        and entry.starts_at not in by_hand
        and announced.get(entry.starts_at) != _worth(entry)
    ]


def _missing(
    wanted: Sequence[Entry[RowT]],
    kept: Sequence[Entry[RowT]],
    by_hand: AbstractSet[datetime],
    *,
    now: datetime,
) -> list[Entry[RowT]]:
    """Return the entries of a seed's history that are missing."""
    starts = {entry.starts_at for entry in kept}
    missing: list[Entry[RowT]] = list(wanted)
    if not starts <= by_hand:
        missing = [e for e in wanted if e.starts_at > now and e.starts_at not in starts]
        current, in_force = rate_at(wanted, now), rate_at(kept, now)
        if current and (in_force is None or _worth(in_force) != _worth(current)):
            missing.insert(0, _moved(current, now))
    return [entry for entry in missing if not by_hand or entry.starts_at < min(by_hand)]


def _worth(entry: Entry[RowT]) -> frozenset[object]:
    """Return what counts of an entry: none if it is an end, or cannot be used."""
    return frozenset(_amounts(row) for row in entry.rows if entry.is_usable and not row.is_end)


def _amounts(row: DatedRow) -> object:
    if isinstance(row, Rate):
        return band_of(row)
    return row.factor if isinstance(row, PriceFactor) else row.nanoeur_per_hour


def _moved(entry: Entry[RowT], starts_at: datetime) -> Entry[RowT]:
    for row in entry.rows:
        row.starts_at = starts_at
    return Entry(starts_at, entry.rows)


def _rates(price: SeedPrice) -> list[Rate]:
    return [
        Rate(
            provider=price.provider,
            model=price.model,
            starts_at=price.starts_at,
            source=price.source,
            **asdict(band),
        )
        for band in price.bands
    ]
