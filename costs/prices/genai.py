"""Prices of genai-prices data, the installed package's or a file's, as bands.

Nothing here touches the network or the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import genai_prices.types as vendor_prices
import pydantic
from genai_prices.data import providers as vendor_lists

from costs.core.rates import Band
from costs.core.usage import STANDARD_TIER
from costs.prices.series import GENAI_PRICES
from orgs.core.errors import Invalid

# The published file has 1 MB.
FILE_MAX_BYTES: Final = 10_000_000

# The start of a price without a known date: before any of the vendors had an API.
SINCE_EVER: Final = datetime(2020, 1, 1, tzinfo=UTC)

# genai-prices' units and our columns. What a cache write without a lifetime is, the provider says.
_CACHE_WRITE: Final = "cache_write_mtok"
_FIELD_OF_UNIT: Final = {
    "input_mtok": "input_usd_per_mtok",
    "output_mtok": "output_usd_per_mtok",
    "cache_read_mtok": "cache_read_usd_per_mtok",
    "cache_audio_read_mtok": "cache_read_audio_usd_per_mtok",
    "cache_write_1h_mtok": "cache_write_1h_usd_per_mtok",
    "input_audio_mtok": "input_audio_usd_per_mtok",
    "output_audio_mtok": "output_audio_usd_per_mtok",
    "web_searches_kcount": "web_search_usd_per_k",
}
# Searches in stored files are the vendor's own tool, which is refused. A model priced in any other
# unit (hours, pages, images) is omitted: no price is better than a low one.
_UNITS_WITHOUT_BUCKET: Final = frozenset({"storage_searches_kcount"})
_TIER_KEYS: Final = ("service_tier", "speed")
_STANDARD_CONTEXT_VALUE: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPrice:
    """The bands of one service tier of one model from `starts_at` on."""

    model: str
    service_tier: str
    starts_at: datetime
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class GenaiData:
    """Lists of prices by provider, and what names them: a version, or a file's digest."""

    named: str
    lists: Sequence[vendor_prices.Provider]

    def page_of(self, provider: str) -> str:
        """Return the vendor's page that the prices of a provider are from."""
        return (self.list_of(provider).pricing_urls or ("",))[0]

    def list_of(self, provider: str) -> vendor_prices.Provider:
        """Return the list of a provider. Raises Invalid."""
        found = next((candidate for candidate in self.lists if candidate.id == provider), None)
        if found is None:
            raise Invalid(f"genai-prices {self.named} has no provider {provider!r}")
        return found


def packaged_data() -> GenaiData:
    """Return the data of the installed package."""
    return GenaiData(version(GENAI_PRICES), vendor_lists)


def data_in_file(path: Path) -> GenaiData:
    """Return a newer version of the package's data: its `prices/new_data/v2/data.json`.

    Raises Invalid.
    """
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise Invalid(f"{path} must be at most {FILE_MAX_BYTES} bytes")
        content = path.read_bytes()
        raw = json.loads(content, parse_float=Decimal)
        if not isinstance(raw, list):
            raise Invalid(f"{path} must be a list of providers, as genai-prices publishes it")
        # What the package's own update does with what it has downloaded; nothing public takes it.
        lists = vendor_prices._providers_from_raw(raw)
    except OSError as exc:
        raise Invalid(f"{path} cannot be read: {exc.strerror}") from exc
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Invalid(f"{path}: {where}: {first['msg']}") from exc
    except (ValueError, TypeError, KeyError, RecursionError, ArithmeticError) as exc:
        raise Invalid(f"{path} must be JSON as genai-prices publishes it: {exc}") from exc
    return GenaiData(f"file {blake2b(content, digest_size=4).hexdigest()}", lists)


def listed_prices(
    provider: str, choice: Mapping[str, Any], data: GenaiData
) -> Iterator[ListedPrice]:
    """Yield the prices of a provider under each name, as `choice` in our own file says."""
    listed = data.list_of(provider)
    without = tuple(choice.get("without", ()))
    fields = {**_FIELD_OF_UNIT, _CACHE_WRITE: f"cache_write_{choice['cache_write']}_usd_per_mtok"}
    named = {name: listed.find_model(name) for name in choice["names"]}
    for model in listed.models:
        series = [*_series_of_model(model, fields)]
        names = (*_names(model, listed), *(name for name, found in named.items() if found is model))
        for name in dict.fromkeys(names):
            if not name.startswith(without or ("\0",)):
                yield from (replace(price, model=name) for price in series)


def known_bands(provider: str, model: str, *, cache_write: str, at: datetime) -> tuple[Band, ...]:
    """Return the standard bands of one model of any provider in the list at a moment.

    None if they are not known. `cache_write` is the lifetime that a cache write without one has.
    """
    listed = next((each for each in vendor_lists if each.id == provider), None)
    found = listed.find_model(model) if listed else None
    if found is None:
        return ()
    fields = {**_FIELD_OF_UNIT, _CACHE_WRITE: f"cache_write_{cache_write}_usd_per_mtok"}
    return _bands(found.get_prices(at, None), STANDARD_TIER, fields)


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


def _series_of_model(
    model: vendor_prices.ModelInfo, fields: Mapping[str, str]
) -> Iterator[ListedPrice]:
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
            bands = _bands(model.get_prices(moment, context or None), tier, fields)
            if bands and bands != before:
                yield ListedPrice(model=model.id, service_tier=tier, starts_at=moment, bands=bands)
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


def _bands(
    prices: vendor_prices.ModelPrice, tier: str, fields: Mapping[str, str]
) -> tuple[Band, ...]:
    """Return the prices as bands; none when a unit is not ours, or none is given."""
    units = {unit: price for unit, price in vars(prices).items() if price is not None}
    if "input_mtok" not in units or units.keys() - fields - _UNITS_WITHOUT_BUCKET:
        return ()
    ours = {field: units[unit] for unit, field in fields.items() if unit in units}
    # A model priced by input alone, such as embeddings, has no output tokens.
    ours.setdefault("output_usd_per_mtok", Decimal(0))
    starts = {
        tier_.start
        for price in ours.values()
        if isinstance(price, vendor_prices.TieredPrices)
        for tier_ in price.tiers
    }
    return tuple(
        Band(service_tier=tier, above_input_tokens=start, **_above_all(ours, start))
        for start in sorted({0, *starts})
    )


def _above_all(
    prices: Mapping[str, Decimal | vendor_prices.TieredPrices], start: int
) -> dict[str, Any]:
    return {field: _above(price, start) for field, price in prices.items()}


def _above(price: Decimal | vendor_prices.TieredPrices, start: int) -> Decimal:
    """Return the price of requests just above `start` input tokens."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= start]
    return reached[-1] if reached else price.base
