"""The price list as it is: prices in force, what is set by hand, what is announced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from costs.core.money import euros, plain
from costs.core.rates import Rates, band_as_dict
from costs.models import HourlyPrice, PriceFactor, Rate
from costs.prices.book import PLACE, band_of, load_price_book
from costs.prices.by_hand import EVERY_MODEL
from costs.prices.series import DatedRow, Entry, histories
from costs.prices.undo import TakenBack, set_by_hand


@dataclass(slots=True)
class Listed:
    """A model, or every model of a provider: its prices, and what an operator can take back.

    `rates` is None without a price in force.
    """

    provider: str
    model: str
    rates: Rates | None = None
    prices: list[TakenBack[Rate]] = field(default_factory=list)
    factors: list[TakenBack[PriceFactor]] = field(default_factory=list)
    hourly: list[TakenBack[HourlyPrice]] = field(default_factory=list)
    announced: list[Entry[Rate]] = field(default_factory=list)

    @property
    def is_by_hand(self) -> bool:
        """Whether an operator has set its price, a factor or a price by the hour of its own."""
        return bool(self.prices or self.factors or self.hourly)

    def as_dict(self) -> dict[str, Any]:
        """Return the form for JSON; decimals are strings."""
        rates = self.rates.as_dict() if self.rates else {"bands": []}
        return {
            "provider": self.provider,
            "model": self.model,
            "by_hand": self.is_by_hand,
            **rates,
            "set_by_hand": taken_as_dicts(self.prices, self.factors, self.hourly),
            "announced": [
                {
                    "starts_at": entry.starts_at.isoformat(),
                    "by_hand": entry.is_by_hand,
                    "bands": [band_as_dict(band_of(row)) for row in entry.rows],
                }
                for entry in self.announced
            ],
        }


def listed(
    *,
    provider: str | None = None,
    only_by_hand: bool = False,
    after: tuple[str, str] | None = None,
    limit: int,
    now: datetime,
) -> tuple[list[Listed], int]:
    """Return at most `limit` models in order, and how many follow."""
    book = load_price_book()
    found = {key: Listed(*key) for key in book.models()}
    for (of, model, *_), entries in histories(Rate.objects.all()).items():
        each = _listed(found, of, model)
        each.prices += set_by_hand(entries, now=now)
        each.announced += [e for e in entries if e.starts_at > now and e.is_usable]
    for (of, model, *_), history in histories(PriceFactor.objects.all()).items():
        by_hand = [taken for taken in set_by_hand(history, now=now) if taken.entry.is_usable]
        # What the list itself says of a place is shown with each model that it is for.
        if by_hand:
            _listed(found, of, model or EVERY_MODEL).factors += by_hand
    for (of, model, *_), changes in histories(HourlyPrice.objects.all()).items():
        if hourly := set_by_hand(changes, now=now):
            _listed(found, of, model or EVERY_MODEL).hourly += hourly
    wanted = [
        found[key]
        for key in sorted(found)
        if (provider is None or key[0] == provider)
        and (found[key].is_by_hand or not only_by_hand)
        and (after is None or key > after)
    ]
    for each in wanted[:limit]:
        each.rates = book.rates_for([each.model], each.provider, now)
    return wanted[:limit], len(wanted[limit:])


def _listed(found: dict[tuple[str, str], Listed], provider: str, model: str) -> Listed:
    return found.setdefault((provider, model), Listed(provider, model))


def factor_name(row: PriceFactor) -> str:
    """Return what a row of the factors does, in words."""
    if row.kind == PLACE:
        return f"place {row.place} x {plain(row.factor)}"
    return f"{discount_percent(row.factor)} % off"


def hourly_name(row: HourlyPrice) -> str:
    """Return what a price by the hour is, in words."""
    return "priced by tokens" if row.is_end else f"{plain(euros(row.nanoeur_per_hour))} EUR an hour"


def discount_percent(factor: Decimal) -> str:
    """Return a discount's factor as percent."""
    return plain((1 - factor) * 100)


def row_as_dict(row: DatedRow) -> dict[str, Any]:
    """Return a row that was added; decimals are strings."""
    shared = {
        "provider": row.provider,
        "model": row.model or EVERY_MODEL,
        "starts_at": row.starts_at.isoformat(),
        "source": row.source,
    }
    if isinstance(row, Rate):
        return {**shared, "kind": "price", **band_as_dict(band_of(row))}
    if isinstance(row, HourlyPrice):
        return {**shared, **_hourly_as_dict(row)}
    return {**shared, **_factor_as_dict(row)}


def taken_as_dicts(
    prices: Iterable[TakenBack[Rate]],
    factors: Iterable[TakenBack[PriceFactor]],
    hourly: Iterable[TakenBack[HourlyPrice]],
) -> list[dict[str, Any]]:
    """Return what can be, or was, taken back."""
    return [
        *(
            {**_taken_as_dict(each), "kind": "price", "service_tier": row.service_tier}
            for each in prices
            for row in each.entry.rows[:1]
        ),
        *({**_taken_as_dict(each), **_factor_as_dict(each.entry.rows[0])} for each in factors),
        *({**_taken_as_dict(each), **_hourly_as_dict(each.entry.rows[0])} for each in hourly),
    ]


def _factor_as_dict(row: PriceFactor) -> dict[str, Any]:
    place = {"place": row.place} if row.place else {}
    return {"kind": row.kind, **place, "factor": str(row.factor)}


def _hourly_as_dict(row: HourlyPrice) -> dict[str, Any]:
    eur = None if row.is_end else plain(euros(row.nanoeur_per_hour))
    return {"kind": "hourly", "eur_per_hour": eur}


def _taken_as_dict(taken: TakenBack[Any]) -> Mapping[str, Any]:
    row = taken.entry.rows[0]
    return {
        "id": str(row.id),
        "starts_at": row.starts_at.isoformat(),
        "announced": taken.is_announced,
        "source": row.source,
    }
