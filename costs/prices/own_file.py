"""An operator's own prices: a TOML file with entries in the form of our data/prices.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from costs.core.usage import STANDARD_TIER
from costs.prices.by_hand import GivenPrice, checked_row
from costs.prices.checks import HAND_SOURCE, PriceRefused
from costs.prices.seed import SHORT_NAMES

FILE_MAX_BYTES: Final = 1_000_000
# The list has some 800. While they are added, in one transaction, no other change of it can begin.
ENTRIES_MAX: Final = 1_000
_NAMES: Final = ("provider", "model", "service_tier", "source")
_KEYS: Final = frozenset((*_NAMES, "above_input_tokens", "starts_at", *SHORT_NAMES))


def prices_in_file(path: Path, *, now: datetime) -> list[GivenPrice]:
    """Return the prices of a file; those without a start begin now. Raises PriceRefused."""
    entries = _parsed(path)
    prices = []
    for number, entry in enumerate(entries, start=1):
        try:
            price = _price(entry, now=now)
            checked_row(price, now=now)
        except PriceRefused as exc:
            named = f"{entry.get('provider', '?')} {entry.get('model', '?')}"
            message = f"{path}, price {number} ({named}): {exc.message}"
            raise PriceRefused(message, field=exc.field) from exc
        prices.append(price)
    return prices


def _parsed(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise PriceRefused(f"{path} must be at most {FILE_MAX_BYTES} bytes")
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as exc:
        raise PriceRefused(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, InvalidOperation, RecursionError) as exc:
        raise PriceRefused(f"{path} must be TOML: {exc}") from exc
    entries = content.get("price")
    is_list = isinstance(entries, list) and all(isinstance(each, dict) for each in entries)
    if content.keys() != {"price"} or not is_list or not entries:
        raise PriceRefused(f"{path} must consist of [[price]] entries")
    if len(entries) > ENTRIES_MAX:
        raise PriceRefused(f"{path} must have at most {ENTRIES_MAX} prices, not {len(entries)}")
    return list(entries)


def _price(entry: Mapping[str, Any], *, now: datetime) -> GivenPrice:
    if unknown := sorted(entry.keys() - _KEYS):
        raise PriceRefused(f"{unknown[0]} is not a known field", field=unknown[0])
    for name in ("provider", "model"):
        if name not in entry:
            raise PriceRefused(f"{name} must be given", field=name)
    for name in _NAMES:
        if not isinstance(entry.get(name, ""), str):
            raise PriceRefused(f"{name} must be text", field=name)
    above = entry.get("above_input_tokens", 0)
    if type(above) is not int:
        raise PriceRefused("above_input_tokens must be an integer", field="above_input_tokens")
    return GivenPrice(
        provider=entry["provider"],
        model=entry["model"],
        service_tier=entry.get("service_tier", STANDARD_TIER),
        above_input_tokens=above,
        starts_at=_moment(entry.get("starts_at", now)),
        prices={
            column: _usd(short, entry[short])
            for short, column in SHORT_NAMES.items()
            if short in entry
        },
        source=entry.get("source", HAND_SOURCE),
    )


def _moment(value: object) -> datetime:
    """Return the instant of a TOML date (its start in UTC) or timestamp."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise PriceRefused("starts_at must be a date or a timestamp", field="starts_at")


def _usd(short: str, value: object) -> Decimal:
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            return Decimal(value)
        except InvalidOperation:
            pass
    raise PriceRefused(f"{short} must be an amount, not {value!r}", field=short)
