"""The prices of the installed packages and our own file, as values.

Nothing here touches the network or the database.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from costs.core.model_names import NAME, covers
from costs.core.rates import PRICE_COLUMNS, Band
from costs.core.usage import STANDARD_TIER
from costs.models import SOURCE_MAX_CHARS, USD_MAX
from costs.prices.genai import GenaiData, listed_prices, packaged_data
from costs.prices.series import SEEDED_SOURCES
from orgs.core.errors import Invalid

_OWN_FILE: Final = Path(__file__).with_name("data") / "prices.toml"

# Short names of the prices, as our file and the command's options have them.
SHORT_NAMES: Final = {column.partition("_usd_per_")[0]: column for column in PRICE_COLUMNS}
NAME_MAX_CHARS: Final = 200
TIER_MAX_CHARS: Final = 16
_Tier = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPrice:
    """The bands of one service tier of one model from `starts_at` on."""

    provider: str
    model: str
    service_tier: str
    starts_at: datetime
    bands: tuple[Band, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFactor:
    """The factor of a place on the token prices of a model from `starts_at` on.

    `model` may have `*` as a wildcard; an empty one is every other model of the provider.
    """

    provider: str
    model: str
    place: str
    factor: Decimal
    starts_at: datetime
    source: str


def seed_prices(data: GenaiData | None = None) -> list[SeedPrice]:
    """Return every price known offline, each tier's history in order; our own file wins.

    `data` is instead of the installed package's. Raises Invalid if it lacks a model that our own
    file builds on, or has a price that the list cannot have.
    """
    found, own = data or packaged_data(), _own_file()
    try:
        prices = _all_prices(found, own)
    except KeyError as exc:
        raise Invalid(f"genai-prices {found.named} has no price of {exc.args[0]}") from exc
    for price in prices:
        _check(price)
    return prices


def _check(price: SeedPrice) -> None:
    is_named = NAME.fullmatch(price.model) and len(price.model) <= NAME_MAX_CHARS
    amounts = [getattr(band, column) for band in price.bands for column in PRICE_COLUMNS]
    is_usable = all(usd is None or 0 <= usd <= USD_MAX for usd in amounts)
    if not (is_named and is_usable and len(price.service_tier) <= TIER_MAX_CHARS):
        raise Invalid(f"A price of {price.provider} {price.model!r} cannot be used")


def _all_prices(data: GenaiData, own: Mapping[str, Any]) -> list[SeedPrice]:
    tiers: dict[_Tier, list[SeedPrice]] = {}
    for provider, choice in own["genai_prices"].items():
        for price in _prices_of_provider(provider, choice, data):
            tiers.setdefault(_tier_of(price), []).append(price)
    ours: dict[_Tier, list[SeedPrice]] = {}
    for entry in own["price"]:
        price = _own_price(entry)
        ours.setdefault(_tier_of(price), []).append(price)
    tiers |= ours
    for entry in own["more"]:
        tiers = {key: [_with_more(price, entry) for price in tiers[key]] for key in tiers}
    for entry in own["alike"]:
        tiers |= _alike(entry, tiers)
    for entry in own["tier"]:
        made = _tier_by_factor(entry, tiers)
        before = (p for p in tiers.get(_tier_of(made[0]), ()) if p.starts_at < made[0].starts_at)
        tiers[_tier_of(made[0])] = [*before, *made]
    return [price for prices in tiers.values() for price in prices]


def seed_factors() -> list[SeedFactor]:
    """Return the factors of all places."""
    return [factor for entry in _own_file()["place"] for factor in _factors(entry)]


@cache
def known_providers() -> frozenset[str]:
    """Return the vendors that prices are known of."""
    own = _own_file()
    return frozenset((*own["genai_prices"], *(entry["provider"] for entry in own["alike"])))


def _own_file() -> dict[str, Any]:
    return tomllib.loads(_OWN_FILE.read_text(encoding="utf-8"))


def _tier_of(price: SeedPrice) -> _Tier:
    return price.provider, price.model, price.service_tier


def _prices_of_provider(
    provider: str, choice: Mapping[str, Any], data: GenaiData
) -> Iterator[SeedPrice]:
    source = f"{SEEDED_SOURCES[0]}{data.named}: {data.page_of(provider)}"[:SOURCE_MAX_CHARS]
    for listed in listed_prices(provider, choice, data):
        yield SeedPrice(
            provider=provider,
            model=listed.model,
            service_tier=listed.service_tier,
            starts_at=listed.starts_at,
            bands=listed.bands,
            source=source,
        )


def _own_price(entry: Mapping[str, Any]) -> SeedPrice:
    prices: dict[str, Any] = {
        field: Decimal(entry[short]) for short, field in SHORT_NAMES.items() if short in entry
    }
    return SeedPrice(
        provider=entry["provider"],
        model=entry["model"],
        service_tier=STANDARD_TIER,
        starts_at=_moment(entry),
        bands=(Band(**prices),),
        source=f"{SEEDED_SOURCES[1]}{entry['source']}",
    )


def _moment(entry: Mapping[str, Any]) -> datetime:
    return datetime.combine(entry["starts_at"], time(), UTC)


def _with_more(price: SeedPrice, entry: Mapping[str, Any]) -> SeedPrice:
    """Return a price with what an entry of our file adds to it, if it is for its model and tier."""
    is_for = price.provider == entry["provider"] and any(
        covers(pattern, model=price.model, provider=price.provider) for pattern in entry["models"]
    )
    if not is_for or price.service_tier not in entry.get("tiers", (price.service_tier,)):
        return price
    bands = tuple(replace(band, **_amounts(entry, band)) for band in price.bands)
    return replace(price, bands=bands, source=_joined(price.source, entry["source"]))


def _amounts(entry: Mapping[str, Any], band: Band) -> dict[str, Any]:
    given = {field: entry[short] for short, field in SHORT_NAMES.items() if short in entry}
    return {field: _amount(amount, band) for field, amount in given.items()}


def _amount(given: str, band: Band) -> Decimal | None:
    """Return an amount that is given as such, or as another price of the band, or a multiple."""
    times, _, name = given.rpartition(" x ")
    if name not in SHORT_NAMES:
        return Decimal(given)
    other: Decimal | None = getattr(band, SHORT_NAMES[name])
    return None if other is None else other * Decimal(times or 1)


def _joined(source: str, more: str) -> str:
    """Return both sources; what does not fit is left to our own file."""
    return f"{source}; {more}"[:SOURCE_MAX_CHARS]


def _tier_by_factor(
    entry: Mapping[str, Any], tiers: Mapping[_Tier, Sequence[SeedPrice]]
) -> list[SeedPrice]:
    """Return the history of a tier whose token prices are a multiple of the standard ones."""
    begun, factor = _moment(entry), Decimal(entry["factor"])
    standard = tiers[entry["provider"], entry["model"], STANDARD_TIER]
    before = [price for price in standard if price.starts_at <= begun]
    later = [price for price in standard if price.starts_at > begun]
    return [
        replace(
            price,
            service_tier=entry["service_tier"],
            starts_at=max(price.starts_at, begun),
            bands=tuple(_times(factor, band, entry["service_tier"]) for band in price.bands),
            source=f"{SEEDED_SOURCES[1]}{entry['source']}",
        )
        for price in (*before[-1:], *later)
    ]


def _times(factor: Decimal, band: Band, tier: str) -> Band:
    tokens = (field for field in SHORT_NAMES.values() if field.endswith("_per_mtok"))
    prices = {field: usd * factor for field in tokens if (usd := getattr(band, field)) is not None}
    changes: dict[str, Any] = {**prices, "service_tier": tier}
    return replace(band, **changes)


def _factors(entry: Mapping[str, Any]) -> Iterator[SeedFactor]:
    for place in entry["places"]:
        for model in entry.get("models", ("",)):
            yield SeedFactor(
                provider=entry["provider"],
                model=model,
                place=place,
                factor=Decimal(entry["factor"]),
                starts_at=_moment(entry),
                source=f"{SEEDED_SOURCES[1]}{entry['source']}",
            )


def _alike(
    entry: Mapping[str, str], tiers: Mapping[_Tier, Sequence[SeedPrice]]
) -> dict[_Tier, list[SeedPrice]]:
    """Return the tiers of a model that costs what another one does."""
    provider, _, model = entry["as"].partition("/")
    source = f"{SEEDED_SOURCES[1]}as {entry['as']}: {entry['why']}"
    named: dict[str, Any] = {
        "provider": entry["provider"],
        "model": entry["model"],
        "source": source,
    }
    return {
        (entry["provider"], entry["model"], tier): [replace(price, **named) for price in prices]
        for (of, name, tier), prices in tiers.items()
        if (of, name) == (provider, model)
    }
