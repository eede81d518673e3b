"""The prices of the installed packages and our own file, as values.

Nothing here touches the network or the database.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import genai_prices.types as vendor_prices
from genai_prices.data import providers as vendor_lists

from costs.core.rates import Band
from costs.core.usage import STANDARD_TIER

GENAI_PRICES: Final = "genai-prices"
OWN_PRICES: Final = "pulse prices.toml"
SEEDED_SOURCES: Final = (f"{GENAI_PRICES} ", f"{OWN_PRICES}: ")
# The start of a price without a known date: before any of the vendors had an API.
SINCE_EVER: Final = datetime(2020, 1, 1, tzinfo=UTC)

_OWN_FILE: Final = Path(__file__).with_name("data") / "prices.toml"

# Short names of the prices, as our file and the command's options have them.
SHORT_NAMES: Final = {
    "input": "input_usd_per_mtok",
    "output": "output_usd_per_mtok",
    "cache_read": "cache_read_usd_per_mtok",
    "cache_write_5m": "cache_write_5m_usd_per_mtok",
    "cache_write_1h": "cache_write_1h_usd_per_mtok",
    "input_audio": "input_audio_usd_per_mtok",
    "output_audio": "output_audio_usd_per_mtok",
    "web_search": "web_search_usd_per_k",
}
# genai-prices' units and our columns.
_FIELD_OF_UNIT: Final = {
    "input_mtok": "input_usd_per_mtok",
    "output_mtok": "output_usd_per_mtok",
    "cache_read_mtok": "cache_read_usd_per_mtok",
    "cache_write_mtok": "cache_write_5m_usd_per_mtok",
    "cache_write_1h_mtok": "cache_write_1h_usd_per_mtok",
    "input_audio_mtok": "input_audio_usd_per_mtok",
    "output_audio_mtok": "output_audio_usd_per_mtok",
    "web_searches_kcount": "web_search_usd_per_k",
}
# Units without a bucket of ours that cannot make a call cost more than our buckets do: cached
# audio is counted as audio, and searches in stored files are the vendor's own tool. A model priced
# in any other unit (hours, pages, images) is omitted: no price is better than a low one.
_UNITS_WITHOUT_BUCKET: Final = frozenset({"cache_audio_read_mtok", "storage_searches_kcount"})
_TIER_KEYS: Final = ("service_tier", "speed")
_STANDARD_CONTEXT_VALUE: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPrice:
    """The bands of one service tier of one model from `starts_at` on."""

    provider: str
    model: str
    service_tier: str
    starts_at: datetime
    bands: tuple[Band, ...]
    source: str


def seed_prices() -> list[SeedPrice]:
    """Return every price known offline, each model's history in order; our own file wins."""
    own = tomllib.loads(_OWN_FILE.read_text(encoding="utf-8"))
    by_model: dict[tuple[str, str], list[SeedPrice]] = {}
    for provider, choice in own["genai_prices"].items():
        for price in _prices_of_provider(provider, choice):
            by_model.setdefault((price.provider, price.model), []).append(price)
    ours: dict[tuple[str, str], list[SeedPrice]] = {}
    for entry in own["price"]:
        price = _own_price(entry)
        ours.setdefault((price.provider, price.model), []).append(price)
    by_model |= ours
    for entry in own["alike"]:
        by_model[(entry["provider"], entry["model"])] = _alike(entry, by_model)
    return [price for prices in by_model.values() for price in prices]


def known_providers() -> frozenset[str]:
    """Return the providers that a price can be for."""
    own = tomllib.loads(_OWN_FILE.read_text(encoding="utf-8"))
    return frozenset((*own["genai_prices"], *(entry["provider"] for entry in own["alike"])))


def _prices_of_provider(provider: str, choice: Mapping[str, Any]) -> Iterator[SeedPrice]:
    listed = next(candidate for candidate in vendor_lists if candidate.id == provider)
    source = f"{SEEDED_SOURCES[0]}{version(GENAI_PRICES)}: {(listed.pricing_urls or ('',))[0]}"
    without = tuple(choice.get("without", ()))
    named = {name: listed.find_model(name) for name in choice["names"]}
    for model in listed.models:
        series = [
            replace(price, provider=provider, source=source) for price in _series_of_model(model)
        ]
        names = (*_names(model, listed), *(name for name, found in named.items() if found is model))
        for name in dict.fromkeys(names):
            if not name.startswith(without or ("\0",)):
                yield from (replace(price, model=name) for price in series)


def _names(model: vendor_prices.ModelInfo, listed: vendor_prices.Provider) -> Iterator[str]:
    """Yield the names that the list gives literally for a model and for no other."""
    for name in (model.id, *_spelled_out(model.match)):
        if listed.find_model(name) in (model, None):
            yield name.casefold().rstrip("-")


def _spelled_out(clause: object) -> Iterator[str]:
    if isinstance(clause, vendor_prices.ClauseEquals):
        yield clause.equals
    elif isinstance(clause, vendor_prices.ClauseOr):
        for part in clause.or_:
            yield from _spelled_out(part)


def _series_of_model(model: vendor_prices.ModelInfo) -> Iterator[SeedPrice]:
    variants = model.price_variants or []
    tiers: dict[str, dict[str, str]] = {STANDARD_TIER: {}}
    for variant in variants:
        ((key, value), *more) = variant.when.items()
        if key in _TIER_KEYS and not more and value != _STANDARD_CONTEXT_VALUE:
            tiers[value] = {key: value}
    for tier, context in tiers.items():
        # Batches use another API; only what a single request can choose is a tier.
        of_tier = [variant for variant in variants if context and variant.when == context]
        before: tuple[Band, ...] = ()
        for moment in _turning_points(model, of_tier):
            if context and not any(_is_active(variant.constraint, moment) for variant in of_tier):
                continue
            bands = _bands(model.get_prices(moment, context or None), tier)
            if bands and bands != before:
                yield SeedPrice(
                    provider="",
                    model=model.id,
                    service_tier=tier,
                    starts_at=moment,
                    bands=bands,
                    source="",
                )
            before = bands


def _turning_points(
    model: vendor_prices.ModelInfo, variants: Iterable[vendor_prices.PriceVariant]
) -> list[datetime]:
    conditions = [] if isinstance(model.prices, vendor_prices.ModelPrice) else model.prices
    constraints = [
        *(condition.constraint for condition in conditions),
        *(variant.constraint for variant in variants),
    ]
    days = {
        constraint.start_date
        for constraint in constraints
        if isinstance(constraint, vendor_prices.StartDateConstraint)
    }
    return sorted({SINCE_EVER, *(datetime.combine(day, time(), UTC) for day in days)})


def _is_active(constraint: object, moment: datetime) -> bool:
    if isinstance(constraint, vendor_prices.StartDateConstraint):
        return constraint.active(moment)
    return constraint is None


def _bands(prices: vendor_prices.ModelPrice, tier: str) -> tuple[Band, ...]:
    """Return the prices as bands; none when a unit is not ours, or none is given."""
    units = {unit: price for unit, price in vars(prices).items() if price is not None}
    if "input_mtok" not in units or units.keys() - _FIELD_OF_UNIT - _UNITS_WITHOUT_BUCKET:
        return ()
    ours = {field: units[unit] for unit, field in _FIELD_OF_UNIT.items() if unit in units}
    # A model priced by input alone, such as embeddings, has no output tokens.
    ours.setdefault("output_usd_per_mtok", Decimal(0))
    starts = {
        tier_.start
        for price in ours.values()
        if isinstance(price, vendor_prices.TieredPrices)
        for tier_ in price.tiers
    }
    return tuple(
        band_from({field: _above(price, start) for field, price in ours.items()}, tier, start)
        for start in sorted({0, *starts})
    )


def band_from(
    prices: Mapping[str, Decimal], tier: str = STANDARD_TIER, above_input_tokens: int = 0
) -> Band:
    """Return a band of these prices, named like the columns of the price list."""
    of_band: dict[str, Any] = {**prices}
    return Band(service_tier=tier, above_input_tokens=above_input_tokens, **of_band)


def _above(price: Decimal | vendor_prices.TieredPrices, start: int) -> Decimal:
    """Return the price of requests just above `start` input tokens."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= start]
    return reached[-1] if reached else price.base


def _own_price(entry: Mapping[str, Any]) -> SeedPrice:
    prices = {
        field: Decimal(entry[short]) for short, field in SHORT_NAMES.items() if short in entry
    }
    return SeedPrice(
        provider=entry["provider"],
        model=entry["model"],
        service_tier=STANDARD_TIER,
        starts_at=datetime.combine(entry["starts_at"], time(), UTC),
        bands=(band_from(prices),),
        source=f"{SEEDED_SOURCES[1]}{entry['source']}",
    )


def _alike(
    entry: Mapping[str, str], by_model: Mapping[tuple[str, str], list[SeedPrice]]
) -> list[SeedPrice]:
    provider, _, model = entry["as"].partition("/")
    source = f"{SEEDED_SOURCES[1]}as {entry['as']}: {entry['why']}"
    return [
        replace(price, provider=entry["provider"], model=entry["model"], source=source)
        for price in by_model[(provider, model)]
    ]
