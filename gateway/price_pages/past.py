"""The history of a model's prices and factors, dated, with who set them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final
from uuid import UUID

from costs.core.model_names import covers
from costs.core.money import plain
from costs.models import HourlyPrice, PriceFactor, Rate
from costs.prices.by_hand import band_name
from costs.prices.listing import factor_name, hourly_name
from costs.prices.seed import SHORT_NAMES
from costs.prices.series import DatedRow, Entry, RowT, histories
from costs.prices.undo import set_by_hand
from gateway.price_pages.reports import PricedModel
from orgs.models import HistoryEvent

SHOWN_MAX: Final = 100
_SET: Final = ("price_set", "price_factor_set", "hourly_price_set")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPrice:
    """What is set from a moment on. What can be taken back has an `undo_id`.

    `model` is the price list's name, empty for what is of every model of the provider.
    """

    starts_at: datetime
    recorded_at: datetime
    model: str
    what: tuple[str, ...]
    source: str
    is_announced: bool
    undo_id: UUID | None
    row_ids: tuple[UUID, ...]


def history_of(priced: PricedModel, *, at: datetime) -> list[PastPrice]:
    """Return what has set a model's prices and what is announced, newest first."""
    provider, name = priced.model.provider, priced.price_name
    prices = histories(Rate.objects.filter(provider=provider, model=name))
    factors = histories(PriceFactor.objects.filter(provider=provider))
    hourly = histories(HourlyPrice.objects.filter(provider=provider, model__in=(name, "")))
    lines = [
        *(line for entries in prices.values() for line in _past(entries, at)),
        *(
            line
            for (_, model, *_), entries in factors.items()
            if not model or covers(model, model=name, provider=provider)
            for line in _past(entries, at)
        ),
        *(line for entries in hourly.values() for line in _past(entries, at)),
    ]
    return sorted(lines, key=attrgetter("starts_at", "recorded_at"), reverse=True)[:SHOWN_MAX]


def who_set(lines: Sequence[PastPrice]) -> dict[UUID, str]:
    """Return the accounts that set the rows of a history, by the rows' ids."""
    ids = [row_id for line in lines for row_id in line.row_ids]
    events = HistoryEvent.objects.filter(subject_id__in=ids, event__in=_SET).values_list(
        "subject_id", "actor_name"
    )
    return {row_id: name for row_id, name in events if row_id}


def _past(entries: Sequence[Entry[RowT]], at: datetime) -> Iterator[PastPrice]:
    undoable = {taken.entry.starts_at for taken in set_by_hand(entries, now=at)}
    for entry in entries:
        first = entry.rows[0]
        yield PastPrice(
            starts_at=entry.starts_at,
            recorded_at=entry.recorded_at,
            model=first.model,
            what=tuple(_sentence(row) for row in entry.rows) if entry.is_usable else ("unusable",),
            source=first.source,
            is_announced=entry.starts_at > at,
            undo_id=first.id if entry.starts_at in undoable else None,
            row_ids=tuple(row.id for row in entry.rows),
        )


def _sentence(row: DatedRow) -> str:
    if isinstance(row, HourlyPrice):
        return hourly_name(row)
    if row.is_end:
        return "no price" if isinstance(row, Rate) else f"ends: {row.kind} {row.place}".rstrip()
    if isinstance(row, PriceFactor):
        return factor_name(row)
    prices = ((short, getattr(row, column)) for short, column in SHORT_NAMES.items())
    given = ", ".join(
        f"{short.replace('_', ' ')} {plain(usd)}" for short, usd in prices if usd is not None
    )
    return f"{band_name(row)}: {given}"
