"""Dated rows as histories: which of them are set by hand, and which were taken back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final, Generic, TypeVar

from costs.models import PriceFactor, Rate
from costs.prices.seed import SEEDED_SOURCES

# A row that takes another one back: what follows is the source of the price that it restores.
UNDONE: Final = "undone by hand: "
SOURCE_MAX_CHARS: Final = 300

RowT = TypeVar("RowT", Rate, PriceFactor)


@dataclass(frozen=True, slots=True)
class Entry(Generic[RowT]):
    """The rows of one series from a moment on: of a model's tier, or of one factor."""

    starts_at: datetime
    rows: tuple[RowT, ...]

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


def entries_of(rows: Iterable[RowT]) -> list[Entry[RowT]]:
    """Return the rows of one series by their start, oldest first."""
    by_start: dict[datetime, list[RowT]] = {}
    for row in rows:
        by_start.setdefault(row.starts_at, []).append(row)
    return [Entry(starts_at, tuple(by_start[starts_at])) for starts_at in sorted(by_start)]


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
