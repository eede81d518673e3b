"""Helpers for price list tests: a price, a load, and the rates in force."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from costs.core.exchange_rates import DatedRate
from costs.core.rates import Band, Rates
from costs.models import Rate
from costs.prices.book import load_price_book
from costs.prices.by_hand import GivenPrice, set_prices
from costs.prices.changes import Seeded, seed
from costs.prices.genai import SINCE_EVER
from costs.prices.seed import SHORT_NAMES, SeedFactor, SeedPrice
from tests.commands import output_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def priced(input_usd: str, output_usd: str = "8", **more: Any) -> Band:
    return Band(
        input_usd_per_mtok=Decimal(input_usd), output_usd_per_mtok=Decimal(output_usd), **more
    )


def seeded_price(*bands: Band, starts_at: datetime = SINCE_EVER, model: str = "m-1") -> SeedPrice:
    return SeedPrice(
        provider="openai",
        model=model,
        service_tier=bands[0].service_tier,
        starts_at=starts_at,
        bands=bands,
        source="genai-prices 0: a page",
    )


def load(*prices: SeedPrice, factors: Iterable[SeedFactor] = (), now: datetime = NOW) -> Seeded:
    days = [DatedRate(date(2026, 11, 20), Decimal("1.25"))]
    return seed(prices=prices, factors=factors, exchange_rates=days, now=now)


def rates_of(*names: str, provider: str = "openai", at: datetime = NOW) -> Rates | None:
    return load_price_book().rates_for(names, provider, at)


def standard(rates: Rates) -> Band:
    """Return the prices of the standard tier, for the shortest requests."""
    (band,) = (b for b in rates.bands if (b.service_tier, b.above_input_tokens) == ("standard", 0))
    return band


def input_usd(*names: str, at: datetime = NOW) -> Decimal | None:
    found = rates_of(*names, at=at)
    return standard(found).input_usd_per_mtok if found else None


prices = partial(output_of, "prices")


def set_price(band: Band, *, model: str = "m-1", now: datetime = NOW, **more: Any) -> Rate:
    """Set the known prices of a band by hand; return its row."""
    prices = {column: usd for column in SHORT_NAMES.values() if (usd := getattr(band, column))}
    given: dict[str, Any] = {
        "provider": "openai",
        "model": model,
        "prices": {"input_usd_per_mtok": band.input_usd_per_mtok, **prices},
        "service_tier": band.service_tier,
        "above_input_tokens": band.above_input_tokens,
        "starts_at": now,
    }
    return set_prices([GivenPrice(**given | more)], now=now).rows[0]


def set_by_hand(input_usd: str, *, starts_at: datetime, **more: Any) -> Rate:
    return set_price(priced(input_usd), starts_at=starts_at, **more)
