"""The rates of one model at one moment: bands, service tiers, places, discount.

Vendors quote USD per million tokens; the ledger counts nano-euro.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from hashlib import blake2b
from math import lcm
from operator import attrgetter
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from costs.core.hours import HourlyRate
from costs.core.usage import (
    FEES,
    INPUT_BUCKETS,
    STANDARD_PLACE,
    STANDARD_TIER,
    TOKEN_BUCKETS,
    UsageCeiling,
)

# The highest price of 1,000 searches that any vendor has published (50 USD, for a large search
# context, in 2025): the stand-in for searches without a price of their own.
HIGHEST_WEB_SEARCH_USD_PER_K: Final = Decimal(50)
# Input that costs more than plain text and is only there if the request asks for it.
ASKED_FOR: Final = frozenset({"cache_write_1h", "cache_write_12h", "output_audio"})

# Nano-euro per unit of usage = rate x factor / usd_per_eur.
_TOKEN_FACTOR: Final = 10**9 // 10**6
_FEE_FACTOR: Final = 10**9 // 10**3
_INPUTS: Final = len(INPUT_BUCKETS)
_TOKENS: Final = len(TOKEN_BUCKETS)
PRICED: Final = (*TOKEN_BUCKETS, *FEES)


class Dated(Protocol):
    """A value in force from its `starts_at` until its successor's."""

    @property
    def starts_at(self) -> datetime: ...


DatedT = TypeVar("DatedT", bound=Dated)


def rate_at(series: Sequence[DatedT], moment: datetime) -> DatedT | None:
    """Return what is in force at `moment` in a series sorted by `starts_at`, or None before it.

    None is an unknown price, which is never zero.
    """
    index = bisect_right(series, moment, key=attrgetter("starts_at"))
    return series[index - 1] if index else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Prices of one service tier for requests with more than `above_input_tokens` of input.

    Every vendor in the list bills the whole request, input and output, at the band that its total
    input falls in, cached tokens counted ("prompts > 200k tokens", "> 272K input tokens"; their
    pages are the rows' sources). None is unknown: what falls in that bucket has no price.
    """

    service_tier: str = STANDARD_TIER
    above_input_tokens: int = 0
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cache_read_usd_per_mtok: Decimal | None = None
    cache_read_audio_usd_per_mtok: Decimal | None = None
    cache_write_5m_usd_per_mtok: Decimal | None = None
    cache_write_30m_usd_per_mtok: Decimal | None = None
    cache_write_1h_usd_per_mtok: Decimal | None = None
    cache_write_12h_usd_per_mtok: Decimal | None = None
    input_audio_usd_per_mtok: Decimal | None = None
    output_audio_usd_per_mtok: Decimal | None = None
    web_search_usd_per_k: Decimal | None = None
    web_search_preview_usd_per_k: Decimal | None = None

    def rates_by_bucket(self) -> tuple[Decimal | None, ...]:
        """Return USD per million tokens in the order of TOKEN_BUCKETS; None is unknown.

        By the vendors' own words images and what tools add to the prompt are input tokens, and
        reasoning is output: these have no rates of their own.
        """
        uncached, output = self.input_usd_per_mtok, self.output_usd_per_mtok
        by_bucket = {
            "input_uncached": uncached,
            "cache_read": self.cache_read_usd_per_mtok,
            "cache_read_audio": self.cache_read_audio_usd_per_mtok,
            "cache_write_5m": self.cache_write_5m_usd_per_mtok,
            "cache_write_30m": self.cache_write_30m_usd_per_mtok,
            "cache_write_1h": self.cache_write_1h_usd_per_mtok,
            "cache_write_12h": self.cache_write_12h_usd_per_mtok,
            "cache_write_other": None,
            "input_audio": self.input_audio_usd_per_mtok,
            "input_image": uncached,
            "tool_prompt": uncached,
            "output_text": output,
            "output_reasoning": output,
            "output_audio": self.output_audio_usd_per_mtok,
        }
        return tuple(by_bucket[bucket] for bucket in TOKEN_BUCKETS)


PRICE_COLUMNS: Final = tuple(f.name for f in fields(Band) if "_usd_per_" in f.name)
REQUIRED_COLUMNS: Final = ("input_usd_per_mtok", "output_usd_per_mtok")


@dataclass(frozen=True, slots=True)
class BandWeights:
    """A band in integers: nano-euro per unit of usage, times a denominator that all bands share.

    `per_unit` follows TOKEN_BUCKETS and FEES. It has a stand-in where `is_known` is False: the
    highest known price of that side, input or output, in any tier and band.
    """

    above_input_tokens: int
    per_unit: tuple[int, ...]
    is_known: tuple[bool, ...]

    def highest(self, buckets: range, without: frozenset[str]) -> int:
        """Return the highest price of these buckets, by index, but those `without`, in `per_unit`'s
        unit. The stand-in of one counts only if requests must ask for it.
        """
        return max(
            self.per_unit[i]
            for i in buckets
            if (name := TOKEN_BUCKETS[i]) not in without and (self.is_known[i] or name in ASKED_FOR)
        )


@dataclass(frozen=True, slots=True)
class PlaceTables:
    """All bands of a place as integers, by tier, highest band first; their common denominator."""

    denominator: int
    tiers: Mapping[str, tuple[BandWeights, ...]]

    def knows(self, service_tier: str) -> bool:
        """Whether a tier has rates."""
        return _named(service_tier) in self.tiers

    def reached(self, service_tier: str) -> tuple[tuple[BandWeights, ...], ...]:
        """Return the bands of a tier; of all tiers if it has no rates."""
        bands = self.tiers.get(_named(service_tier))
        return tuple(self.tiers.values()) if bands is None else (bands,)


@dataclass(frozen=True, slots=True)
class StoredRates:
    """Rates as stored, once for all calls that were admitted at them."""

    id: UUID
    rates: str


def rate_card(rates: str) -> StoredRates:
    """Return the card of rates in JSON; its id is derived from them."""
    return StoredRates(UUID(bytes=blake2b(rates.encode(), digest_size=16).digest()), rates)


# The rates of a call that costs nothing.
FREE: Final = rate_card("{}")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Everything needed to price a call to one model at one moment, fixed at its admission.

    `usd_per_eur` is the exchange rate in force, that of `exchange_rate_date`. Bands are in any
    order; each service tier has one from 0 tokens up, and the standard tier exists.
    `places` are factors on all token prices by place, `discount` one on every price. With a price
    `by_hour` the others make an estimate, until the hour's cost is divided.
    """

    provider: str
    model: str
    bands: tuple[Band, ...]
    usd_per_eur: Decimal
    exchange_rate_date: date
    source: str
    starts_at: datetime
    places: Mapping[str, Decimal] = field(default_factory=dict)
    discount: Decimal = Decimal(1)
    by_hour: HourlyRate | None = None
    # Caches of `tables` and `ceilings`, which every request needs; by factor, since a provider can
    # make up any number of places.
    _by_factor: dict[Decimal, PlaceTables] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _ceilings: dict[tuple[str, Decimal, frozenset[str]], tuple[tuple[int, int, int], ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        floors = {band.service_tier for band in self.bands if band.above_input_tokens == 0}
        if STANDARD_TIER not in floors or any(b.service_tier not in floors for b in self.bands):
            raise ValueError(
                f"{self.provider} {self.model}: each service tier must have a band from 0 tokens"
            )
        if self.usd_per_eur <= 0:
            raise ValueError(f"usd_per_eur must be positive, not {self.usd_per_eur}")

    def tables(self, place: str) -> PlaceTables:
        """Return all bands as integers for a place; for an unknown one, the highest known."""
        factor = self._factor(place)
        found = self._by_factor.get(factor)
        if found is None:
            found = self._by_factor[factor] = _tables(self, factor)
        return found

    def _factor(self, place: str) -> Decimal:
        if place == STANDARD_PLACE:
            return Decimal(1)
        highest = max((Decimal(1), *self.places.values()))
        return self.places.get(place, highest)

    def ceilings(self, most: UsageCeiling) -> tuple[tuple[int, int, int], ...]:
        """Return (above_input_tokens, highest input weight, highest output weight) per band."""
        tables = self.tables(most.place)
        is_one = tables.knows(most.service_tier) and not most.at_highest_rates
        tier = most.service_tier if is_one else ""  # any tier
        without = frozenset[str]() if most.at_highest_rates else most.without
        key = (tier, self._factor(most.place), without)
        found = self._ceilings.get(key)
        if found is None:
            found = self._ceilings[key] = tuple(
                (
                    weights.above_input_tokens,
                    weights.highest(range(_INPUTS), without),
                    weights.highest(range(_INPUTS, _TOKENS), without),
                )
                for bands in tables.reached(tier)
                for weights in bands
            )
        return found

    @cached_property
    def card(self) -> StoredRates:
        """These rates as holds and cost events refer to them; decimals are strings."""
        return rate_card(json.dumps(self.as_dict(), separators=(",", ":")))

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form, as plain values; decimals are strings, missing prices omitted."""
        factors: dict[str, Any] = {}
        if self.places:
            factors["places"] = {place: str(factor) for place, factor in self.places.items()}
        if self.discount != 1:
            factors["discount"] = str(self.discount)
        if self.by_hour is not None:
            factors["by_hour"] = self.by_hour.as_dict()
        return {
            "provider": self.provider,
            "model": self.model,
            "starts_at": self.starts_at.isoformat(),
            "source": self.source,
            "usd_per_eur": str(self.usd_per_eur),
            "exchange_rate_date": self.exchange_rate_date.isoformat(),
            "bands": [band_as_dict(band) for band in self.bands],
            **factors,
        }


def _tables(rates: Rates, factor: Decimal) -> PlaceTables:
    """Return the bands as integers, with the factor of a place on their token prices."""
    token = Fraction(rates.discount) * Fraction(factor) * _TOKEN_FACTOR
    fee = Fraction(rates.discount) * _FEE_FACTOR
    exact = {band: _nanoeur_per_unit(band, rates.usd_per_eur, token, fee) for band in rates.bands}
    sides = (range(_INPUTS), range(_INPUTS, _TOKENS))
    highest = [
        max(price for of in exact.values() for i in side if (price := of[i]) is not None)
        for side in sides
    ]
    search = Fraction(HIGHEST_WEB_SEARCH_USD_PER_K) * fee / Fraction(rates.usd_per_eur)
    stand_ins = (
        *(highest[0] for _ in sides[0]),
        *(highest[1] for _ in sides[1]),
        *(search for _ in FEES),
    )
    filled = {
        band: tuple(
            stand_in if price is None else price
            for price, stand_in in zip(of, stand_ins, strict=True)
        )
        for band, of in exact.items()
    }
    denominator = lcm(*(part.denominator for of in filled.values() for part in of))
    tiers: dict[str, list[BandWeights]] = {}
    for band in sorted(rates.bands, key=attrgetter("above_input_tokens"), reverse=True):
        weights = BandWeights(
            above_input_tokens=band.above_input_tokens,
            per_unit=tuple(int(part * denominator) for part in filled[band]),
            is_known=tuple(part is not None for part in exact[band]),
        )
        tiers.setdefault(band.service_tier, []).append(weights)
    return PlaceTables(denominator, {tier: tuple(weights) for tier, weights in tiers.items()})


def _nanoeur_per_unit(
    band: Band, usd_per_eur: Decimal, token: Fraction, fee: Fraction
) -> tuple[Fraction | None, ...]:
    fees = (band.web_search_usd_per_k, band.web_search_preview_usd_per_k)
    factors = (*(token for _ in TOKEN_BUCKETS), *(fee for _ in FEES))
    return tuple(
        None if usd is None else Fraction(usd) * factor / Fraction(usd_per_eur)
        for usd, factor in zip((*band.rates_by_bucket(), *fees), factors, strict=True)
    )


def band_as_dict(band: Band) -> dict[str, Any]:
    """Return the stored form of a band; decimals are strings, missing prices omitted."""
    values = {f.name: getattr(band, f.name) for f in fields(band)}
    return {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in values.items()
        if value is not None
    }


def _named(service_tier: str) -> str:
    """Return a tier's name in the list: `default` is what OpenAI calls the standard one."""
    return STANDARD_TIER if service_tier == "default" else service_tier
