"""Exchange rates: the one in force, and what every way to add one goes through.

Nothing already charged changes: holds and cost events keep the rates they were priced with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.utils.timezone import now

from costs.core.exchange_rates import (
    DatedRate,
    RateInForce,
    fault_of_change,
    fault_of_date,
    fault_of_usd_per_eur,
)
from costs.models import SOURCE_MAX_CHARS, ExchangeRate
from costs.prices.book import lock_prices
from orgs.core.errors import Conflict, Invalid
from orgs.core.values import fault_of_text

_BATCH_ROWS: Final = 500
_DATES_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class AddedRates:
    """How many rates of a list were added, its last date, the dates that keep a different rate."""

    count: int
    until: date | None
    kept: tuple[date, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the form for JSON."""
        return {
            "added": self.count,
            "until": self.until and self.until.isoformat(),
            "kept": [day.isoformat() for day in self.kept],
        }

    def __str__(self) -> str:
        return f"{self.count} exchange rates (until {self.until or 'never'})"

    @property
    def kept_sentence(self) -> str:
        """Say which dates keep their rate; empty if the list has no other for any."""
        if not self.kept:
            return ""
        days = ", ".join(map(str, self.kept[:_DATES_SHOWN]))
        more = f" and {len(self.kept) - _DATES_SHOWN} more" if self.kept[_DATES_SHOWN:] else ""
        return f"Kept a rate that differs from the list: {days}{more}."


def utc_day(moment: datetime) -> date:
    """Return the day by which exchange rates are chosen."""
    return moment.astimezone(UTC).date()


def rate_in_force(day: date) -> RateInForce | None:
    """Return the last rate of the day or before it, with its age on that day."""
    row = ExchangeRate.objects.filter(on_date__lte=day).order_by("-on_date").first()
    if row is None:
        return None
    return RateInForce(rate=DatedRate(row.on_date, row.usd_per_eur), source=row.source, at=day)


@transaction.atomic
def add_rates(
    rates: Iterable[DatedRate], *, source: str, today: date, is_forced: bool
) -> AddedRates:
    """Add the rates of a list whose dates have none yet.

    Raises Invalid if one is in the future or, unless forced, differs by more than a fifth from the
    one before or after it.
    """
    known = _locked_rates()
    given = {rate.on_date: rate.usd_per_eur for rate in rates}
    new = {day: usd for day, usd in given.items() if day not in known}
    faults = (fault_of_date(day, today=today) for day in new)
    fault = next(filter(None, faults), None) or (None if is_forced else fault_of_change(known, new))
    if fault:
        raise Invalid(fault)
    ExchangeRate.objects.bulk_create(
        (ExchangeRate(on_date=day, usd_per_eur=usd, source=source) for day, usd in new.items()),
        batch_size=_BATCH_ROWS,
    )
    kept = (day for day in given.keys() & known.keys() if given[day] != known[day])
    return AddedRates(len(new), max(given, default=None), tuple(sorted(kept)))


@transaction.atomic
def set_rate(rate: DatedRate, *, source: str, today: date, is_forced: bool) -> None:
    """Add a rate by hand; forced, it may differ by any amount, and replaces one of the same date.

    Raises Invalid or Conflict.
    """
    check_new(rate, source=source, today=today, is_forced=is_forced)
    ExchangeRate.objects.update_or_create(
        on_date=rate.on_date,
        defaults={
            "usd_per_eur": rate.usd_per_eur,
            "source": source,
            "recorded_at": now(),
        },
    )


def check_new(rate: DatedRate, *, source: str, today: date, is_forced: bool = False) -> None:
    """Raise Invalid or Conflict if the rate cannot be added by hand.

    Locks the list for the rest of the transaction, so that it can be added then.
    """
    if fault := fault_of_usd_per_eur(rate.usd_per_eur):
        raise Invalid(fault, field="usd_per_eur")
    if fault := fault_of_date(rate.on_date, today=today):
        raise Invalid(fault, field="on_date")
    if fault := fault_of_text(source, what="The source", max_chars=SOURCE_MAX_CHARS):
        raise Invalid(fault, field="source")
    known = _locked_rates()
    if is_forced:
        return
    if rate.on_date in known:
        there = DatedRate(rate.on_date, known[rate.on_date])
        raise Conflict(
            f"There is already a rate: {there}; manage.py rates set --force replaces it for "
            "future requests",
            field="on_date",
        )
    if fault := fault_of_change(known, {rate.on_date: rate.usd_per_eur}):
        raise Invalid(fault, field="usd_per_eur")


def _locked_rates() -> dict[date, Decimal]:
    """Return all rates; until the transaction ends, no other adds one."""
    lock_prices()
    return dict(ExchangeRate.objects.values_list("on_date", "usd_per_eur"))
