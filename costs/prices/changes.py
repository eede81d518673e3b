"""The only two ways to change the price list: seed it, and set a price by hand.

Rows are added and past ones never changed: a changed price is a new row from a moment on.
Holds and cost events keep the rates they were priced with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from costs.core.exchange_rates import DatedRate
from costs.core.rates import Band, rate_at
from costs.models import PriceList, Rate
from costs.prices.book import band_of
from costs.prices.exchange_rates import AddedRates, add_rates, utc_day
from costs.prices.seed import SEEDED_SOURCES, SeedPrice, known_providers

HAND_SOURCE: Final = "set by hand"
_BATCH_ROWS: Final = 500
_Key = tuple[str, str, str]


class PriceRefused(ValueError):
    """A price cannot be added; the message says why."""


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

    A price set by hand stays in force until another one is set by hand. Where an existing history
    differs from the seed, a row from `now` on takes the seed's prices; prices announced for later
    are replaced, since nothing was priced with them yet. Exchange rates: `add_rates`.
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


def set_price(
    band: Band, *, provider: str, model: str, starts_at: datetime, source: str = HAND_SOURCE
) -> Rate:
    """Add a price from `starts_at` on.

    Raises PriceRefused for an unknown provider, an amount that is negative or too fine, a band
    without its base, or a moment that already has a price.
    """
    row = Rate(
        provider=provider,
        model=model.strip().casefold(),
        starts_at=starts_at,
        source=source,
        **asdict(band),
    )
    _refuse_unreasonable(row)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as exc:
        raise PriceRefused(
            f"{provider} {row.model} already has a price from {starts_at.isoformat()}; "
            "give a later time"
        ) from exc
    return row


def _refuse_unreasonable(row: Rate) -> None:
    if row.provider not in known_providers():
        known = ", ".join(sorted(known_providers()))
        raise PriceRefused(f"Unknown provider {row.provider!r}; must be one of {known}")
    if row.source.startswith(SEEDED_SOURCES):
        raise PriceRefused(f"Source {row.source!r} is reserved for `prices load`")
    try:
        row.clean_fields()
    except ValidationError as exc:
        (name, (problem, *_)), *_ = exc.message_dict.items()
        raise PriceRefused(f"{name}: {problem}") from exc
    for name, value in asdict(band_of(row)).items():
        if isinstance(value, Decimal) and value < 0:
            raise PriceRefused(f"{name} must be at least 0, not {value}")
    base = Rate.objects.filter(
        provider=row.provider,
        model=row.model,
        service_tier=row.service_tier,
        starts_at=row.starts_at,
        above_input_tokens=0,
    )
    if row.above_input_tokens < 0 or (row.above_input_tokens and not base.exists()):
        raise PriceRefused(
            "A price for long requests requires a price from 0 tokens with the "
            "same model, service tier and start"
        )


def _begun() -> dict[_Key, list[_Kept]]:
    """Return the existing histories, each in order."""
    sets: dict[_Key, dict[datetime, list[Rate]]] = {}
    for row in Rate.objects.order_by("starts_at"):
        key = (row.provider, row.model, row.service_tier)
        sets.setdefault(key, {}).setdefault(row.starts_at, []).append(row)
    return {
        key: [
            _Kept(
                moment,
                not all(row.source.startswith(SEEDED_SOURCES) for row in rows),
                frozenset(band_of(row) for row in rows),
            )
            for moment, rows in history.items()
        ]
        for key, history in sets.items()
    }


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
