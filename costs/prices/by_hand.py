"""Set prices and factors by hand.

Rows in force are never changed, since calls were priced with them; announced ones of the list make
room for what is set by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, Generic

from django.db import IntegrityError, transaction

from costs.core.rates import REQUIRED_COLUMNS
from costs.core.usage import STANDARD_TIER
from costs.models import HourlyPrice, PriceFactor, Rate
from costs.prices.book import has_price, lock_prices
from costs.prices.checks import (
    HAND_SOURCE,
    STARTS_UNTIL,
    PriceRefused,
    check_factor,
    check_hourly,
    check_price,
)
from costs.prices.seed import SHORT_NAMES
from costs.prices.series import (
    UNDONE,
    DatedRow,
    Entry,
    RowT,
    SeriesKey,
    histories,
    history_of,
    series_of,
)
from orgs.audit import history

EVERY_MODEL: Final = "*"


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
class Changed(Generic[RowT]):
    """The rows that were added, and the starts of announced ones that were deleted for them.

    `present` counts the given prices that were there already. `ends_at` is when the last added
    price is followed by another one.
    """

    rows: list[RowT] = field(default_factory=list)
    withdrawn: list[datetime] = field(default_factory=list)
    present: int = 0
    ends_at: datetime | None = None


@transaction.atomic
def set_prices(
    given: Sequence[GivenPrice],
    *,
    now: datetime,
    keeps_rest: bool = True,
    skips_present: bool = False,
) -> Changed[Rate]:
    """Add prices, all or none.

    What is not given is taken from the price in force at the same moment: other prices of the same
    band, and other bands of the same service tier. With `keeps_rest` False it is dropped. Prices
    that the list announces for later are deleted: one set by hand stays in force until another one
    is set by hand. `skips_present` skips what is set by hand and in force then already. Raises
    PriceRefused.
    """
    lock_prices()
    groups: dict[tuple[datetime, SeriesKey], list[Rate]] = {}
    for price in given:
        row = checked_row(price, now=now)
        groups.setdefault((row.starts_at, series_of(row)), []).append(row)
    changed = Changed[Rate]()
    for _, of_start in sorted(groups.items()):
        rows = sorted(of_start, key=attrgetter("above_input_tokens"))
        kept = history_of(rows[0])
        reached = [entry for entry in kept if entry.starts_at <= rows[0].starts_at]
        if skips_present and reached and reached[-1].is_by_hand and reached[-1].is_usable:
            rows = [row for row in rows if not _is_in(row, reached[-1])]
            changed.present += len(of_start) - len(rows)
        if rows:
            _make_room(rows[0], kept, changed, now=now)
            added = _with_rest(rows, reached, keeps_rest=keeps_rest)
            history.record("price_set", added[0], after=_recorded(added[0]))
            changed.rows += added
    return changed


@transaction.atomic
def set_factor(row: PriceFactor, *, now: datetime) -> Changed[PriceFactor]:
    """Add a discount or the factor of a place. Raises PriceRefused."""
    lock_prices()
    check_factor(row)
    row.recorded_at = now
    changed = Changed[PriceFactor]()
    _make_room(row, history_of(row), changed, now=now)
    add_rows([row])
    history.record("price_factor_set", row, after=_recorded(row))
    changed.rows.append(row)
    return changed


@transaction.atomic
def set_hourly(row: HourlyPrice, *, now: datetime) -> Changed[HourlyPrice]:
    """Add a price by the hour, or its end. Raises PriceRefused."""
    lock_prices()
    check_hourly(row, now=now)
    row.recorded_at = now
    changed = Changed[HourlyPrice]()
    _make_room(row, history_of(row), changed, now=now)
    add_rows([row])
    check_hours_apart(row.provider, now=now)
    history.record("hourly_price_set", row, after=_recorded(row))
    changed.rows.append(row)
    return changed


def check_hours_apart(provider: str, *, now: datetime) -> None:
    """Check that from now on no hour of a model is paid for by two prices. Raises PriceRefused.

    Called in the transaction that has changed them.
    """
    found = histories(HourlyPrice.objects.filter(provider=provider))
    spans = {model: list(_in_force(entries, now)) for (_, model), entries in found.items()}
    for of_all in spans.pop("", ()):
        for model, of_model in spans.items():
            if any(each[0] < of_all[1] and of_all[0] < each[1] for each in of_model):
                raise PriceRefused(
                    f"All models of {provider} share a price by the hour, and {model} would have "
                    "one of its own at the same time; end one of them first"
                )


def _in_force(
    entries: Sequence[Entry[HourlyPrice]], now: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield from when until when there is a price, without what is over."""
    ends = [*(entry.starts_at for entry in entries[1:]), STARTS_UNTIL]
    for entry, ends_at in zip(entries, ends, strict=True):
        if ends_at > now and not entry.rows[0].is_end:
            yield max(entry.starts_at, now), ends_at


def _recorded(row: DatedRow) -> dict[str, Any]:
    names = ("provider", "model", "starts_at", "source")
    return history.values_of(row, names)


def _make_room(
    row: RowT, kept: Iterable[Entry[RowT]], changed: Changed[RowT], *, now: datetime
) -> None:
    """Delete what the list announces for after a row set by hand.

    Raises PriceRefused if what begins later is in force already: the row would never be.
    """
    later = [entry for entry in kept if entry.starts_at > row.starts_at]
    begun = [entry.starts_at for entry in later if entry.starts_at <= now]
    if begun:
        raise PriceRefused(
            f"Another {_kind(row)} of {_name(row)} is in force from {max(begun).isoformat()}; "
            "give a later start",
            field="starts_at",
        )
    of_list = [entry for entry in later if not entry.is_by_hand]
    type(row).objects.filter(id__in=[each.id for entry in of_list for each in entry.rows]).delete()
    changed.withdrawn += [entry.starts_at for entry in of_list]
    changed.ends_at = min((e.starts_at for e in later if e.is_by_hand), default=None)


def copied(row: Rate, **changes: Any) -> Rate:
    """Return a new row with the prices of `row`."""
    names = ("provider", "model", "service_tier", "above_input_tokens", *SHORT_NAMES.values())
    return Rate(**{name: getattr(row, name) for name in names} | changes)


def add_rows(rows: Sequence[RowT]) -> None:
    """Add rows of one series and moment. Raises PriceRefused if the moment is taken."""
    first = rows[0]
    try:
        with transaction.atomic():
            for row in rows:
                row.save(force_insert=True)
    except IntegrityError as exc:
        raise PriceRefused(
            f"{_name(first)} already has a {_kind(first)} from {first.starts_at.isoformat()}; "
            "give a later start"
        ) from exc


def _kind(row: DatedRow) -> str:
    if isinstance(row, HourlyPrice):
        return "price by the hour"
    return "price" if isinstance(row, Rate) else "factor"


def _name(row: DatedRow) -> str:
    return f"{row.provider} {row.model or EVERY_MODEL}"


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
        **{column: Decimal(0) for column in REQUIRED_COLUMNS} | dict(price.prices),
    )
    check_price(row)
    for column in REQUIRED_COLUMNS:
        if column not in price.prices:
            setattr(row, column, None)
    return row


def _with_rest(rows: list[Rate], reached: Sequence[Entry[Rate]], *, keeps_rest: bool) -> list[Rate]:
    """Add the rows of one tier and moment, completed from the prices in force then."""
    first = rows[0]
    in_force: Sequence[Rate] = reached[-1].rows if reached and reached[-1].is_usable else ()
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
    add_rows(rows)
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
        if getattr(row, column) is None and column in REQUIRED_COLUMNS:
            raise PriceRefused(
                f"{short} must be given: {row.provider} {row.model} has no {band_name(row)} price "
                f"in force at {row.starts_at.isoformat()} to keep it from",
                field=column,
            )


def band_name(band: Any) -> str:
    """Return a row's or a band's service tier and length of requests."""
    above = band.above_input_tokens
    return f"{band.service_tier} above {above} input tokens" if above else str(band.service_tier)
