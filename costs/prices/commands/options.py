"""Options of the actions: amounts, moments, prices."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandParser

from costs.core.calendar.moments import InvalidMoment, moment_from
from costs.core.money import nanoeur_from_euros
from costs.prices.seed import SHORT_NAMES


def add_prices(action: CommandParser) -> None:
    """Add an option for each price."""
    for short, column in SHORT_NAMES.items():
        action.add_argument(
            f"--{short.replace('_', '-')}",
            type=usd,
            metavar="USD",
            help="USD per thousand searches" if column.endswith("_per_k") else None,
        )


def prices_in(options: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the given prices by column."""
    return {
        column: options[short]
        for short, column in SHORT_NAMES.items()
        if options[short] is not None
    }


def add_preview(action: CommandParser) -> None:
    """Add the option that shows what would change."""
    action.add_argument(
        "--preview", action="store_true", help="print each price before and after; change nothing"
    )


def usd(text: str) -> Decimal:
    """Return an amount of USD that is not negative."""
    amount = number(text)
    if amount < 0:
        raise ArgumentTypeError(f"must be an amount of 0 or more, not {text!r}")
    return amount


def per_hour(text: str) -> int:
    """Return an amount of EUR in an hour, in nano-euro."""
    try:
        nanoeur = nanoeur_from_euros(number(text))
    except ValueError as exc:
        raise ArgumentTypeError(f"{exc}") from exc
    if nanoeur < 0:
        raise ArgumentTypeError(f"must be an amount of 0 or more, not {text!r}")
    return nanoeur


def number(text: str) -> Decimal:
    """Return a finite decimal number."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise ArgumentTypeError(f"must be a number such as 1.0842, not {text!r}")
    return found


def percent(text: str) -> Decimal:
    """Return a discount in percent, from 0 to 100."""
    amount = number(text)
    if not 0 <= amount <= 100:
        raise ArgumentTypeError(f"must be between 0 and 100 percent, not {text!r}")
    return amount


def moment(text: str) -> datetime:
    """Return the instant of a date (its start) or of a date and time, in UTC if without offset."""
    try:
        return moment_from(text, ZoneInfo("UTC"), is_end=False)
    except InvalidMoment as exc:
        raise ArgumentTypeError(f"{exc}") from exc
