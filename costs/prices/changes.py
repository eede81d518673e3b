"""Seed the price list: add what it lacks. `by_hand` has the other way to change it.

Rows are added and past ones never changed: a changed price is a new row from a moment on.
Holds and cost events keep the rates they were priced with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final

from django.db import transaction

from costs.core.exchange_rates import DatedRate
from costs.core.rates import Band, rate_at
from costs.models import PriceList, Rate
from costs.prices.book import band_of
from costs.prices.exchange_rates import AddedRates, add_rates, utc_day
from costs.prices.seed import SeedPrice
from costs.prices.series import Entry, entries_of, standing

_BATCH_ROWS: Final = 500
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Seeded:
    """How much was added, and which models were skipped since an operator has set their prices."""

    prices: int
    exchange_rates: AddedRates
    set_by_hand: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """The bands in the list for one tier of one model from a moment on."""

    starts_at: datetime
    by_hand: bool
    bands: frozenset[Band]


@transaction.atomic
def seed(
    *,
    prices: Iterable[SeedPrice],
    exchange_rates: Iterable[DatedRate],
    exchange_source: str,
    now: datetime,
    is_forced: bool = False,
) -> Seeded:
    """Add what the price list lacks; running it again adds nothing.

    A price set by hand stays in force until another one is, or it is taken back. Where an existing
    history differs from the seed, a row from `now` on takes the seed's prices; prices announced for
    later are replaced, since nothing was priced with them yet. Exchange rates: `add_rates`.
    """
    PriceList.objects.select_for_update().first()  # if two instances start at once, one waits
    wanted: dict[_Key, list[SeedPrice]] = {}
    for price in prices:
        wanted.setdefault((price.provider, price.model, price.service_tier), []).append(price)
    begun = _begun()
    rows: list[Rate] = []
    for key, history in wanted.items():
        kept = begun.get(key, ())
        outdated = _outdated(history, kept, now=now)
        if outdated:
            provider, model, tier = key
            of_tier = Rate.objects.filter(provider=provider, model=model, service_tier=tier)
            of_tier.filter(starts_at__in=outdated).delete()
        left = [entry for entry in kept if entry.starts_at not in outdated]
        missing = _missing(history, left, now=now)
        rows += [_row(price, band) for price in missing for band in price.bands]
    Rate.objects.bulk_create(rows, batch_size=_BATCH_ROWS)
    by_hand = {key[:2] for key, kept in begun.items() if any(entry.by_hand for entry in kept)}
    return Seeded(
        prices=len(rows),
        exchange_rates=add_rates(
            exchange_rates, source=exchange_source, today=utc_day(now), is_forced=is_forced
        ),
        set_by_hand=tuple(" ".join(name) for name in sorted(by_hand)),
    )


def _begun() -> dict[_Key, list[_Kept]]:
    """Return the existing histories, each in order."""
    rows: dict[_Key, list[Rate]] = {}
    for row in Rate.objects.order_by("starts_at"):
        rows.setdefault((row.provider, row.model, row.service_tier), []).append(row)
    return {key: _kept(entries_of(of_tier)) for key, of_tier in rows.items()}


def _kept(entries: Sequence[Entry[Rate]]) -> list[_Kept]:
    by_hand = {entry.starts_at for entry in standing(entries) if entry.is_by_hand}
    return [
        _Kept(
            entry.starts_at,
            entry.starts_at in by_hand,
            frozenset(band_of(row) for row in entry.rows if not row.is_end),
        )
        for entry in entries
    ]


def _outdated(
    history: Sequence[SeedPrice], kept: Sequence[_Kept], *, now: datetime
) -> set[datetime]:
    """Return the starts of announced prices that the seed no longer has, or has changed."""
    announced = {price.starts_at: frozenset(price.bands) for price in history}
    return {
        entry.starts_at
        for entry in kept
        if entry.starts_at > now
        and not entry.by_hand
        and announced.get(entry.starts_at) != entry.bands
    }


def _missing(
    history: Sequence[SeedPrice], kept: Sequence[_Kept], *, now: datetime
) -> list[SeedPrice]:
    """Return the prices of a seed's history that are missing."""
    first_by_hand = min((entry.starts_at for entry in kept if entry.by_hand), default=None)
    if all(entry.by_hand for entry in kept):
        missing = list(history)
    else:
        starts = {entry.starts_at for entry in kept}
        missing = [p for p in history if p.starts_at > now and p.starts_at not in starts]
        wanted, in_force = rate_at(history, now), rate_at(kept, now)
        if wanted and (in_force is None or in_force.bands != frozenset(wanted.bands)):
            missing.insert(0, replace(wanted, starts_at=now))
    return [p for p in missing if first_by_hand is None or p.starts_at < first_by_hand]


def _row(price: SeedPrice, band: Band) -> Rate:
    return Rate(
        provider=price.provider,
        model=price.model,
        starts_at=price.starts_at,
        source=price.source,
        **asdict(band),
    )
