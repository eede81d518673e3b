"""Rules of exchange rates: which are valid, which change is too large, when one is stale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Final

from costs.core.calendar.target_days import working_days_since
from costs.core.money import plain

STALE_AFTER_WORKING_DAYS: Final = 3
# A rate may differ from the one before it by a fifth: the largest change of one day since 1999 is a
# twentieth, so more is probably a typing error or another currency.
CHANGE_MAX: Final = Decimal("0.2")
USD_PER_EUR_MAX: Final = 1000
USD_PER_EUR_PLACES: Final = 6
FIRST_DATE: Final = date(1999, 1, 1)  # of the euro


@dataclass(frozen=True, slots=True)
class DatedRate:
    """USD per EUR from the beginning of a day (UTC) until the next rate's."""

    on_date: date
    usd_per_eur: Decimal

    def __str__(self) -> str:
        return f"{plain(self.usd_per_eur)} USD per EUR of {self.on_date}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateInForce:
    """The rate in force on the day `at`, with its source and its age."""

    rate: DatedRate
    source: str
    at: date

    @property
    def working_days(self) -> int:
        """The age, in working days of the ECB."""
        return working_days_since(self.rate.on_date, self.at)

    @property
    def age(self) -> str:
        """The age, as pages and commands show it."""
        return f"{self.working_days} working day{'' if self.working_days == 1 else 's'} old"

    @property
    def is_stale(self) -> bool:
        return self.working_days > STALE_AFTER_WORKING_DAYS

    @property
    def warning(self) -> str:
        """What a page, a command and an alert show of a stale rate; empty if it is not stale."""
        if not self.is_stale:
            return ""
        return (
            f"The exchange rate, {self.rate}, is more than {STALE_AFTER_WORKING_DAYS} working days "
            "old; an operator must update it with manage.py rates refresh."
        )


def fault_of_usd_per_eur(usd_per_eur: Decimal) -> str | None:
    """Return why an amount cannot be a rate, or None."""
    if not usd_per_eur.is_finite() or not 0 < usd_per_eur < USD_PER_EUR_MAX:
        return f"USD per EUR must be more than 0 and less than {USD_PER_EUR_MAX}, not {usd_per_eur}"
    if usd_per_eur != round(usd_per_eur, USD_PER_EUR_PLACES):
        return f"USD per EUR must have at most {USD_PER_EUR_PLACES} decimal places"
    return None


def fault_of_date(on_date: date, *, today: date) -> str | None:
    """Return why a rate cannot have this date, or None."""
    if on_date < FIRST_DATE:
        return f"The date must be {FIRST_DATE} or later, not {on_date}"
    if on_date > today:
        return f"The date must not be in the future: {on_date} is after today, {today} (UTC)"
    return None


def fault_of_change(known: Mapping[date, Decimal], added: Mapping[date, Decimal]) -> str | None:
    """Return why the rates to add differ too much from their neighbors, or None.

    Each is compared with the rate before it and with the one after it, known or added too.
    """
    merged = sorted({**known, **added}.items())
    for (day, before), (next_day, after) in pairwise(merged):
        is_new = day in added or next_day in added
        if is_new and abs(after - before) > before * CHANGE_MAX:
            return (
                f"{DatedRate(next_day, after)} differs by more than a fifth from "
                f"{DatedRate(day, before)}; if it is correct, add it with manage.py rates "
                "and --force"
            )
    return None
