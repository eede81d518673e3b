"""Set prices and factors by hand, and take them back.

Rows in force are never changed, since calls were priced with them: what takes one back is a row
from now on. Announced ones are deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from django.db import IntegrityError, transaction

from costs.core.usage import STANDARD_TIER
from costs.models import USABLE_RATE, PriceFactor, PriceList, Rate
from costs.prices.book import has_price
from costs.prices.checks import HAND_SOURCE, PriceRefused, check_factor, check_price
from costs.prices.seed import SHORT_NAMES
from costs.prices.series import UNDONE, Entry, RowT, entries_of

_REQUIRED: Final = ("input", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPrice:
    """Prices of one model, service tier and band from a moment on, by column; others are kept."""

    provider: str
    model: str
    prices: Mapping[str, Decimal]
    starts_at: datetime
    service_tier: str = STANDARD_TIER
    above_input_tokens: int = 0
    source: str = HAND_SOURCE


@dataclass(slots=True)
class Changed:
    """The rows that were added, and the starts of announced prices that were deleted for them.

    `present` counts the given prices that were there already.
    """

    rows: list[Rate] = field(default_factory=list)
    withdrawn: list[datetime] = field(default_factory=list)
    present: int = 0


@transaction.atomic
def set_prices(
    given: Sequence[GivenPrice],
    *,
    now: datetime,
    keeps_rest: bool = True,
    skips_present: bool = False,
) -> Changed:
    """Add prices, all or none.

    What is not given is taken from the price in force at the same moment: other prices of the same
    band, and other bands of the same service tier. With `keeps_rest` False it is dropped. Prices
    that the list announces for later are deleted: one set by hand stays in force until another one
    is set by hand. `skips_present` skips what is set by hand and in force then already. Raises
    PriceRefused.
    """
    lock_prices()
    groups: dict[tuple[str, str, str, datetime], list[Rate]] = {}
    for price in given:
        row = checked_row(price, now=now)
        key = (row.provider, row.model, row.service_tier, row.starts_at)
        groups.setdefault(key, []).append(row)
    changed = Changed()
    for key in sorted(groups, key=lambda key: key[3]):
        rows = sorted(groups[key], key=attrgetter("above_input_tokens"))
        history = entries_of_tier(rows[0])
        reached = [entry for entry in history if entry.starts_at <= rows[0].starts_at]
        if skips_present and reached and reached[-1].is_by_hand:
            rows = [row for row in rows if not _is_in(row, reached[-1])]
            changed.present += len(groups[key]) - len(rows)
        if rows:
            _check_is_last(rows[0], history, now=now)
            changed.rows += _with_rest(rows, reached, keeps_rest=keeps_rest)
            changed.withdrawn += _withdraw_announced(rows[0], now=now)
    return changed


@transaction.atomic
def set_factor(row: PriceFactor, *, now: datetime) -> PriceFactor:
    """Add a discount or the factor of a place. Raises PriceRefused."""
    lock_prices()
    check_factor(row)
    row.recorded_at = now
    of_factor = PriceFactor.objects.filter(
        provider=row.provider, model=row.model, kind=row.kind, place=row.place
    )
    _check_is_last(row, entries_of(of_factor), now=now)
    _add([row], f"{row} has a factor from then already; give another time")
    return row


def _check_is_last(row: RowT, history: Iterable[Entry[RowT]], *, now: datetime) -> None:
    """Raise PriceRefused if what began later is in force already: the row would never be."""
    later = [e.starts_at for e in history if row.starts_at < e.starts_at <= now]
    if later:
        raise PriceRefused(
            f"Another price of {row.provider} {row.model or 'all models'} is in force from "
            f"{max(later).isoformat()}; give a later start",
            field="starts_at",
        )


def lock_prices() -> None:
    """Let changes of the price list wait for each other."""
    PriceList.objects.select_for_update().first()


def entries_of_tier(row: Rate) -> list[Entry[Rate]]:
    """Return the history of a model's service tier; one that cannot be used has no rows."""
    of_tier = Rate.objects.filter(
        provider=row.provider, model=row.model, service_tier=row.service_tier
    ).order_by("starts_at", "above_input_tokens")
    unusable = set(of_tier.exclude(USABLE_RATE).values_list("starts_at", flat=True))
    usable = [each for each in of_tier.filter(USABLE_RATE) if each.starts_at not in unusable]
    entries = [*entries_of(usable), *(Entry[Rate](starts_at, ()) for starts_at in unusable)]
    return sorted(entries, key=attrgetter("starts_at"))


def copied(row: Rate, **changes: Any) -> Rate:
    """Return a new row with the prices of `row`."""
    names = ("provider", "model", "service_tier", "above_input_tokens", *SHORT_NAMES.values())
    return Rate(**{name: getattr(row, name) for name in names} | changes)


def add_rates(rows: Sequence[Rate]) -> None:
    """Add rows of one model and moment. Raises PriceRefused if the moment is taken."""
    first = rows[0]
    _add(
        rows,
        f"{first.provider} {first.model} already has a price from "
        f"{first.starts_at.isoformat()}; give a later time",
    )


def _add(rows: Sequence[Rate] | Sequence[PriceFactor], taken: str) -> None:
    try:
        with transaction.atomic():
            for row in rows:
                row.save(force_insert=True)
    except IntegrityError as exc:
        raise PriceRefused(taken) from exc


def checked_row(price: GivenPrice, *, now: datetime) -> Rate:
    """Return a checked row of the given prices, whose others are still missing."""
    row = Rate(
        provider=price.provider,
        model=price.model,
        service_tier=price.service_tier,
        above_input_tokens=price.above_input_tokens,
        starts_at=price.starts_at,
        source=price.source,
        recorded_at=now,
        **{SHORT_NAMES[short]: Decimal(0) for short in _REQUIRED} | dict(price.prices),
    )
    check_price(row)
    for short in _REQUIRED:
        if SHORT_NAMES[short] not in price.prices:
            setattr(row, SHORT_NAMES[short], None)
    return row


def _with_rest(rows: list[Rate], reached: Sequence[Entry[Rate]], *, keeps_rest: bool) -> list[Rate]:
    """Add the rows of one tier and moment, completed from the prices in force then."""
    first = rows[0]
    in_force: Sequence[Rate] = reached[-1].rows if reached else ()
    same_start = [row for row in in_force if row.starts_at == first.starts_at]
    if not keeps_rest or not has_price(in_force):
        in_force = same_start
    by_band = {row.above_input_tokens: row for row in in_force}
    for row in rows:
        _complete(row, by_band.get(row.above_input_tokens))
    given = {row.above_input_tokens for row in rows}
    if 0 not in given | by_band.keys():
        raise PriceRefused(
            "A price for long requests requires a price from 0 tokens with the "
            "same model, service tier and start",
            field="above_input_tokens",
        )
    kept = [row for row in in_force if row.above_input_tokens not in given and not same_start]
    for row in kept:
        source = row.source.removeprefix(UNDONE)
        same = {"starts_at": first.starts_at, "recorded_at": first.recorded_at}
        rows.append(copied(row, source=source, **same))
    add_rates(rows)
    return rows


def _is_in(row: Rate, entry: Entry[Rate]) -> bool:
    """Whether an entry has the given prices of a row."""
    given = [column for column in SHORT_NAMES.values() if getattr(row, column) is not None]
    return any(
        row.above_input_tokens == kept.above_input_tokens
        and all(getattr(row, column) == getattr(kept, column) for column in given)
        for kept in entry.rows
    )


def _complete(row: Rate, in_force: Rate | None) -> None:
    """Take the prices that are not given from the row in force."""
    for short, column in SHORT_NAMES.items():
        if getattr(row, column) is None and in_force is not None:
            setattr(row, column, getattr(in_force, column))
        if getattr(row, column) is None and short in _REQUIRED:
            raise PriceRefused(
                f"{short} must be given: {row.provider} {row.model} has no {band_name(row)} price "
                f"in force at {row.starts_at.isoformat()} to keep it from",
                field=column,
            )


def band_name(band: Any) -> str:
    """Return a row's or a band's service tier and length of requests."""
    above = band.above_input_tokens
    return f"{band.service_tier} above {above} input tokens" if above else str(band.service_tier)


def next_start(row: Rate) -> datetime | None:
    """Return when the next price of the same tier begins."""
    later = [e.starts_at for e in entries_of_tier(row) if e.starts_at > row.starts_at]
    return min(later, default=None)


def _withdraw_announced(row: Rate, *, now: datetime) -> Iterable[datetime]:
    """Delete the prices that the list announces for after a price set by hand."""
    later = [
        entry
        for entry in entries_of_tier(row)
        if entry.rows and entry.starts_at > max(row.starts_at, now) and not entry.is_by_hand
    ]
    Rate.objects.filter(id__in=[each.id for entry in later for each in entry.rows]).delete()
    return [entry.starts_at for entry in later]
