"""Dated rows as histories: which can be used, which are set by hand, and which were taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from django.db.models import BooleanField, DecimalField, ExpressionWrapper, Q, QuerySet

from costs.models import (
    SOURCE_MAX_CHARS,
    USABLE_EXCHANGE_RATE,
    USABLE_FACTOR,
    USABLE_HOURLY_PRICE,
    USABLE_RATE,
    ExchangeRate,
    HourlyPrice,
    PriceFactor,
    Rate,
)

GENAI_PRICES: Final = "genai-prices"
OWN_PRICES: Final = "pulse prices.toml"
# How the source of a row begins that `prices load` adds.
SEEDED_SOURCES: Final = (f"{GENAI_PRICES} ", f"{OWN_PRICES}: ")
# A row that takes another one back: what follows is the source of the price that it restores.
UNDONE: Final = "undone by hand: "

DatedRow = Rate | PriceFactor | HourlyPrice
RowT = TypeVar("RowT", Rate, PriceFactor, HourlyPrice)
SeriesKey = tuple[str, ...]

_USABLE: Final[Mapping[object, Q]] = {
    Rate: USABLE_RATE,
    PriceFactor: USABLE_FACTOR,
    HourlyPrice: USABLE_HOURLY_PRICE,
    ExchangeRate: USABLE_EXCHANGE_RATE,
}


@dataclass(frozen=True, slots=True)
class Entry(Generic[RowT]):
    """The rows of one series from a moment on: of a model's tier, a factor, or a price by the hour.

    Unless `is_usable`, one of them cannot be right, and their amounts may not even be numbers.
    """

    starts_at: datetime
    rows: tuple[RowT, ...]
    is_usable: bool = True

    @property
    def is_undone(self) -> bool:
        """Whether it takes the entry before it back."""
        return all(row.source.startswith(UNDONE) for row in self.rows)

    @property
    def is_by_hand(self) -> bool:
        """Whether an operator has set it."""
        return not self.is_undone and not all(
            row.source.removeprefix(UNDONE).startswith(SEEDED_SOURCES) for row in self.rows
        )

    @property
    def recorded_at(self) -> datetime:
        """When it was added."""
        return max(row.recorded_at for row in self.rows)


def series_of(row: DatedRow) -> SeriesKey:
    """Return what a row shares with those that it follows."""
    if isinstance(row, Rate):
        return row.provider, row.model, row.service_tier
    if isinstance(row, HourlyPrice):
        return row.provider, row.model
    return row.provider, row.model, row.kind, row.place


def by_use(rows: QuerySet[Any], identity: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Return the rows that can be used, and the others, of which only the identity counts.

    Rows of plain values: objects of the model take twice as long.
    """
    usable, columns = _USABLE[rows.model], (*identity, *_amounts(rows))
    marked = rows.annotate(is_usable=ExpressionWrapper(usable, BooleanField()))
    try:
        found = list(marked.values_list(*columns, "is_usable", named=True))
    except (ArithmeticError, TypeError, ValueError):
        # What SQLite has in an amount may not be a number.
        good = list(rows.filter(usable).values_list(*columns, named=True))
        return good, list(rows.exclude(usable).values_list(*identity, named=True))
    return [row for row in found if row.is_usable], [row for row in found if not row.is_usable]


def histories(rows: QuerySet[RowT]) -> dict[SeriesKey, list[Entry[RowT]]]:
    """Return the history of each series, oldest first."""
    usable = _USABLE[rows.model]
    marked = rows.annotate(is_usable=ExpressionWrapper(usable, BooleanField()))
    try:
        found = [(row, row.is_usable) for row in marked]
    except (ArithmeticError, TypeError, ValueError):
        # What SQLite has in an amount may not be a number.
        return grouped(rows.filter(usable), rows.exclude(usable).defer(*_amounts(rows)))
    return grouped((row for row, good in found if good), (row for row, good in found if not good))


def history_of(row: RowT) -> list[Entry[RowT]]:
    """Return the history that a row belongs to."""
    rows = type(row).objects.filter(provider=row.provider, model=row.model)
    return histories(rows).get(series_of(row), [])


def grouped(
    rows: Iterable[RowT], unusable: Iterable[RowT] = ()
) -> dict[SeriesKey, list[Entry[RowT]]]:
    """Return rows as histories, oldest first."""
    found: dict[SeriesKey, dict[datetime, list[RowT]]] = {}
    bad = list(unusable)
    for row in chain(rows, bad):
        found.setdefault(series_of(row), {}).setdefault(row.starts_at, []).append(row)
    faulty = {(series_of(row), row.starts_at) for row in bad}
    return {
        key: [
            Entry(starts_at, tuple(of_start), (key, starts_at) not in faulty)
            for starts_at, of_start in sorted(by_start.items())
        ]
        for key, by_start in found.items()
    }


def standing(entries: Sequence[Entry[RowT]]) -> list[Entry[RowT]]:
    """Return the entries that were not taken back, without those that took one back."""
    left: list[Entry[RowT]] = []
    for entry in sorted(entries, key=attrgetter("starts_at")):
        if not entry.is_undone:
            left.append(entry)
        elif left:
            left.pop()
    return left


def undone_source(source: str) -> str:
    """Return the source of a row that restores a price with this source."""
    return f"{UNDONE}{source.removeprefix(UNDONE)}"[:SOURCE_MAX_CHARS]


def _amounts(rows: QuerySet[Any]) -> list[str]:
    fields = rows.model._meta.concrete_fields
    return [each.name for each in fields if isinstance(each, DecimalField)]
