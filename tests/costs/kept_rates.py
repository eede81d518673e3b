"""Reads stored rates of holds and cost events, which must suffice to price again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from costs.core.rates import Band, Rates


def read_rates(kept: str | Mapping[str, Any]) -> Rates:
    """Return the rates of a card's text, or of what `Rates.as_dict` returned."""
    values = json.loads(kept) if isinstance(kept, str) else kept
    return Rates(
        provider=values["provider"],
        model=values["model"],
        bands=tuple(_band(band) for band in values["bands"]),
        usd_per_eur=Decimal(values["usd_per_eur"]),
        exchange_rate_date=date.fromisoformat(values["exchange_rate_date"]),
        source=values["source"],
        starts_at=datetime.fromisoformat(values["starts_at"]),
        places={place: Decimal(factor) for place, factor in values.get("places", {}).items()},
        discount=Decimal(values.get("discount", "1")),
    )


def _band(values: Mapping[str, Any]) -> Band:
    as_kept = {"service_tier", "above_input_tokens"}
    of_band: dict[str, Any] = {
        name: value if name in as_kept else Decimal(value) for name, value in values.items()
    }
    return Band(**of_band)
