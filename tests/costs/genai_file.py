"""A data file as genai-prices publishes it, made of the installed package's data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from genai_prices.data import providers
from genai_prices.types import ModelPrice

from costs.prices.seed import known_providers

Changes = Callable[[dict[str, Any]], None]


def write_data(path: Path, change: Changes = lambda _: None) -> Path:
    """Write the data of the known providers, with a change of the lists by provider."""
    lists = {each.id: _plain(each) for each in providers if each.id in known_providers()}
    change(lists)
    path.write_text(json.dumps([*lists.values()]), encoding="utf-8")
    return path


def prices_of(lists: dict[str, Any], provider: str, model: str) -> dict[str, Any]:
    """Return the prices of a model in a file, to be changed; of dated ones the last."""
    found = next(each for each in lists[provider]["models"] if each["id"] == model)
    prices: Any = found["prices"]
    return prices[-1]["prices"] if isinstance(prices, list) else prices  # type: ignore[no-any-return]  # JSON


def _plain(value: Any) -> Any:
    if isinstance(value, ModelPrice):
        return {name: _plain(each) for name, each in vars(value).items() if each is not None}
    if is_dataclass(value):
        named = ((each.name, getattr(value, each.name)) for each in fields(value) if each.init)
        return {
            name.rstrip("_"): _plain(each)
            for name, each in named
            if each is not None and name != "extractors"
        }
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, (date, time)) else value
