"""Seed the factors of places: the only part of `price_factor` that the vendors' pages decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from django.db import transaction

from costs.core.rates import rate_at
from costs.models import PriceFactor, PriceList
from costs.prices.book import PLACE
from costs.prices.seed import SeedFactor
from costs.prices.series import entries_of, standing

_Key = tuple[str, str, str]


@transaction.atomic
def seed_places(factors: Iterable[SeedFactor], *, now: datetime) -> int:
    """Add the factors that are missing, and return how many; running it again adds none.

    A factor that was set by hand stays. Where the seed's factor has changed, a row from `now` on
    has the new one.
    """
    PriceList.objects.select_for_update().first()  # if two instances start at once, one waits
    wanted: dict[_Key, list[SeedFactor]] = {}
    for factor in factors:
        wanted.setdefault((factor.provider, factor.model, factor.place), []).append(factor)
    kept: dict[_Key, list[PriceFactor]] = {}
    for row in PriceFactor.objects.filter(kind=PLACE).order_by("starts_at"):
        kept.setdefault((row.provider, row.model, row.place), []).append(row)
    rows = [
        _row(factor)
        for key, history in wanted.items()
        for factor in _missing(history, kept.get(key, ()), now=now)
    ]
    PriceFactor.objects.bulk_create(rows)
    return len(rows)


def _missing(
    history: Sequence[SeedFactor], kept: Sequence[PriceFactor], *, now: datetime
) -> list[SeedFactor]:
    if not kept:
        return list(history)
    if any(entry.is_by_hand for entry in standing(entries_of(kept))):
        return []
    starts = {row.starts_at for row in kept}
    missing = [each for each in history if each.starts_at > now and each.starts_at not in starts]
    wanted, in_force = rate_at(history, now), rate_at(kept, now)
    if wanted and (in_force is None or in_force.is_end or in_force.factor != wanted.factor):
        missing.insert(0, replace(wanted, starts_at=now))
    return missing


def _row(factor: SeedFactor) -> PriceFactor:
    return PriceFactor(
        provider=factor.provider,
        model=factor.model,
        kind=PLACE,
        place=factor.place,
        factor=factor.factor,
        starts_at=factor.starts_at,
        source=factor.source,
    )
