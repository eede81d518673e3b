"""Options of the actions: amounts, moments, prices."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandParser

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


def number(text: str) -> Decimal:
    """Return a finite decimal number."""
    try:
        amount = Decimal(text)
    except InvalidOperation as exc:
        raise ArgumentTypeError(f"must be an amount, not {text!r}") from exc
    if not amount.is_finite():
        raise ArgumentTypeError(f"must be an amount of 0 or more, not {text!r}")
    return amount


def percent(text: str) -> Decimal:
    """Return a discount in percent, from 0 to 100."""
    amount = number(text)
    if not 0 <= amount <= 100:
        raise ArgumentTypeError(f"must be between 0 and 100 percent, not {text!r}")
    return amount


def moment(text: str) -> datetime:
    """Return the instant of a date (its start in UTC) or an ISO 8601 timestamp."""
    try:
        if len(text) == len("2026-01-31"):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ArgumentTypeError(
            f"must be a date (2026-01-31) or a timestamp, not {text!r}"
        ) from exc
    return at if at.tzinfo else at.replace(tzinfo=UTC)
