"""Take back what was set by hand last: announced rows are deleted, those in force are followed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic
from uuid import UUID

from django.db import transaction

from costs.models import HourlyPrice, PriceFactor, Rate
from costs.prices.book import lock_prices
from costs.prices.by_hand import EVERY_MODEL, add_rows, check_hours_apart, copied
from costs.prices.checks import PriceRefused, folded_model, folded_provider
from costs.prices.series import Entry, RowT, histories, standing, undone_source
from orgs.audit import history


@dataclass(frozen=True, slots=True)
class TakenBack(Generic[RowT]):
    """What was set by hand and can be taken back; `before` is in force without it.

    `is_announced` if it is not in force yet.
    """

    entry: Entry[RowT]
    before: Entry[RowT] | None
    is_announced: bool

    def ends_at(self, now: datetime) -> datetime:
        """Return when prices are different if it is taken back."""
        return self.entry.starts_at if self.is_announced else now


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What was taken back, and the moments from which prices are different."""

    provider: str
    model: str
    prices: Sequence[TakenBack[Rate]]
    factors: Sequence[TakenBack[PriceFactor]]
    hourly: Sequence[TakenBack[HourlyPrice]]
    starts: Sequence[datetime]


def set_by_hand(entries: Sequence[Entry[RowT]], *, now: datetime) -> list[TakenBack[RowT]]:
    """Return what an operator has set in one series and could take back, oldest first."""
    reached = standing([entry for entry in entries if entry.starts_at <= now])
    found = []
    if reached and reached[-1].is_by_hand:
        usable = [entry for entry in reached[:-1] if entry.is_usable]
        found.append(TakenBack(reached[-1], usable[-1] if usable else None, False))
    for entry in entries:
        if entry.starts_at > now and entry.is_by_hand:
            found.append(TakenBack(entry, None, True))
    return found


@transaction.atomic
def undo(
    *,
    provider: str,
    model: str,
    starts_at: datetime | None = None,
    row_id: UUID | None = None,
    now: datetime,
) -> Undone:
    """Take back what was set last by hand for a model, or what begins at `starts_at`.

    `model` is EVERY_MODEL for factors of the whole provider. `row_id` names one of the rows that
    `prices list` shows. Raises PriceRefused when there is nothing to take back.
    """
    lock_prices()
    provider = folded_provider(provider)
    model = EVERY_MODEL if model.strip() == EVERY_MODEL else folded_model(provider, model)
    of_all = "" if model == EVERY_MODEL else model
    rates = Rate.objects.filter(provider=provider, model=model)
    factors = PriceFactor.objects.filter(provider=provider, model=of_all)
    hours = HourlyPrice.objects.filter(provider=provider, model=of_all)
    prices = _chosen(histories(rates).values(), starts_at, row_id, now=now)
    others = _chosen(histories(factors).values(), starts_at, row_id, now=now)
    hourly = _chosen(histories(hours).values(), starts_at, row_id, now=now)
    found: list[TakenBack[Any]] = [*prices, *others, *hourly]
    last = max((each.entry.recorded_at for each in found), default=None)
    if last is None:
        when = f" from {starts_at.isoformat()}" if starts_at else ""
        raise PriceRefused(
            f"{provider} {model} has no price or factor set by hand{when} that is in force or "
            "announced"
        )
    prices = [price for price in prices if price.entry.recorded_at == last]
    others = [factor for factor in others if factor.entry.recorded_at == last]
    hourly = [each for each in hourly if each.entry.recorded_at == last]
    taken = [each for each in found if each.entry.recorded_at == last]
    undone = Undone(
        provider=provider,
        model=model,
        prices=prices,
        factors=others,
        hourly=hourly,
        starts=sorted({each.ends_at(now) for each in taken}),
    )
    for row in (each.entry.rows[0] for each in taken):
        history.record("price_undone", row, before={"provider": provider, "model": model})
    for price in undone.prices:
        _take_price_back(price, now=now)
    for factor in undone.factors:
        _take_factor_back(factor, now=now)
    for each in undone.hourly:
        _take_hourly_back(each, now=now)
    if undone.hourly:
        check_hours_apart(provider, now=now)
    return undone


def named_by_id(row_id: UUID) -> tuple[str, str]:
    """Return the provider and model of a row. Raises PriceRefused."""
    for rows in (Rate.objects, PriceFactor.objects, HourlyPrice.objects):
        found = rows.filter(id=row_id).values_list("provider", "model").first()
        if found is not None:
            return found[0], found[1] or EVERY_MODEL
    raise PriceRefused(f"No price or factor has the id {row_id}")


def _chosen(
    found: Iterable[Sequence[Entry[RowT]]],
    starts_at: datetime | None,
    row_id: UUID | None,
    *,
    now: datetime,
) -> list[TakenBack[RowT]]:
    return [
        each
        for history in found
        for each in set_by_hand(history, now=now)
        if (starts_at is None or each.entry.starts_at == starts_at)
        and (row_id is None or any(row.id == row_id for row in each.entry.rows))
    ]


def _take_price_back(taken: TakenBack[Rate], *, now: datetime) -> None:
    rows = taken.entry.rows
    if taken.is_announced:
        Rate.objects.filter(id__in=[row.id for row in rows]).delete()
    elif taken.before:
        same = {"starts_at": now, "recorded_at": now}
        add_rows(
            [copied(row, source=undone_source(row.source), **same) for row in taken.before.rows]
        )
    else:
        last = rows[0]
        end = Rate(
            provider=last.provider,
            model=last.model,
            service_tier=last.service_tier,
            starts_at=now,
            input_usd_per_mtok=0,
            output_usd_per_mtok=0,
            is_end=True,
            source=undone_source(last.source),
            recorded_at=now,
        )
        add_rows([end])


def _take_factor_back(taken: TakenBack[PriceFactor], *, now: datetime) -> None:
    (row,) = taken.entry.rows
    if taken.is_announced:
        row.delete()
        return
    restored = taken.before.rows[0] if taken.before else None
    PriceFactor.objects.create(
        provider=row.provider,
        model=row.model,
        kind=row.kind,
        place=row.place,
        factor=restored.factor if restored else 1,
        starts_at=now,
        is_end=restored is None,
        source=undone_source((restored or row).source),
        recorded_at=now,
    )


def _take_hourly_back(taken: TakenBack[HourlyPrice], *, now: datetime) -> None:
    (row,) = taken.entry.rows
    if taken.is_announced:
        row.delete()
        return
    restored = taken.before.rows[0] if taken.before else None
    followed = HourlyPrice(
        provider=row.provider,
        model=row.model,
        nanoeur_per_hour=restored.nanoeur_per_hour if restored else 0,
        starts_at=now,
        is_end=restored is None or restored.is_end,
        source=undone_source((restored or row).source),
        recorded_at=now,
    )
    add_rows([followed])
