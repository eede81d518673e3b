"""Pricing: the rates of one model at one moment, and exact arithmetic on them.

Vendors quote USD per million tokens; the ledger counts nano-euro. The conversion
is one fraction, rounded up once per call.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from hashlib import blake2b
from math import lcm
from operator import attrgetter, mul
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from costs.core.usage import INPUT_BUCKETS, STANDARD_TIER, TOKEN_BUCKETS, Usage, UsageCeiling

# The names of the default tier.
_STANDARD_NAMES: Final = frozenset({STANDARD_TIER, "default"})
# The highest price of 1,000 searches that any vendor has published (50 USD, for a large search
# context, in 2025); used where a model's searches have no price of their own.
HIGHEST_WEB_SEARCH_USD_PER_K: Final = Decimal(50)

# Nano-euro per unit of usage = rate x factor / usd_per_eur.
_TOKEN_FACTOR: Final = 10**9 // 10**6
_SEARCH_FACTOR: Final = 10**9 // 10**3
_INPUTS: Final = len(INPUT_BUCKETS)
_TOKENS: Final = len(TOKEN_BUCKETS)
_counts = attrgetter(*TOKEN_BUCKETS, "web_searches")


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
    pages are the rows' sources). None is no price of its own; `rates_by_bucket` gives the one that
    then applies.
    """

    service_tier: str = STANDARD_TIER
    above_input_tokens: int = 0
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cache_read_usd_per_mtok: Decimal | None = None
    cache_write_5m_usd_per_mtok: Decimal | None = None
    cache_write_1h_usd_per_mtok: Decimal | None = None
    input_audio_usd_per_mtok: Decimal | None = None
    output_audio_usd_per_mtok: Decimal | None = None
    web_search_usd_per_k: Decimal | None = None

    def rates_by_bucket(self) -> tuple[Decimal, ...]:
        """Return USD per million tokens in the order of TOKEN_BUCKETS.

        A bucket without its own price costs as much as plain input or output tokens; a one-hour
        cache write at least as much as a five-minute one.
        """
        uncached, output = self.input_usd_per_mtok, self.output_usd_per_mtok
        write_5m = _first(self.cache_write_5m_usd_per_mtok, uncached)
        by_bucket = {
            "input_uncached": uncached,
            "cache_read": _first(self.cache_read_usd_per_mtok, uncached),
            "cache_write_5m": write_5m,
            "cache_write_1h": _first(self.cache_write_1h_usd_per_mtok, max(write_5m, uncached)),
            "input_audio": _first(self.input_audio_usd_per_mtok, uncached),
            "input_image": uncached,
            "tool_prompt": uncached,
            "output_text": output,
            "output_reasoning": output,
            "output_audio": _first(self.output_audio_usd_per_mtok, output),
        }
        return tuple(by_bucket[bucket] for bucket in TOKEN_BUCKETS)


@dataclass(frozen=True, slots=True)
class _Weights:
    """A band in integers: nano-euro per unit of usage, times a denominator that all bands share.

    `per_unit` follows TOKEN_BUCKETS and ends with web searches.
    """

    above_input_tokens: int
    per_unit: tuple[int, ...]

    def highest(self, buckets: range, without: frozenset[str]) -> int:
        return max(self.per_unit[i] for i in buckets if TOKEN_BUCKETS[i] not in without)


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

    `usd_per_eur` is the European Central Bank's reference rate of `exchange_rate_date`. Bands
    are in any order; each service tier has one from 0 tokens up, and the standard tier exists.
    """

    provider: str
    model: str
    bands: tuple[Band, ...]
    usd_per_eur: Decimal
    exchange_rate_date: date
    source: str
    starts_at: datetime
    # Cache of `ceilings`, which every request needs.
    _ceilings: dict[tuple[str | None, frozenset[str]], tuple[tuple[int, int, int], ...]] = field(
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

    @cached_property
    def standard(self) -> Band:
        """The prices that pages show: the standard tier's, for the shortest requests."""
        return next(
            b for b in self.bands if b.above_input_tokens == 0 and b.service_tier == STANDARD_TIER
        )

    @cached_property
    def _denominator_and_tiers(self) -> tuple[int, dict[str, tuple[_Weights, ...]]]:
        """The bands as integers by tier, highest band first, and their common denominator."""
        exact = {band: _nanoeur_per_unit(band, self.usd_per_eur) for band in self.bands}
        denominator = lcm(*(part.denominator for parts in exact.values() for part in parts))
        tiers: dict[str, list[_Weights]] = {}
        for band in sorted(self.bands, key=attrgetter("above_input_tokens"), reverse=True):
            per_unit = tuple(int(part * denominator) for part in exact[band])
            weights = _Weights(band.above_input_tokens, per_unit)
            tiers.setdefault(band.service_tier, []).append(weights)
        return denominator, {tier: tuple(weights) for tier, weights in tiers.items()}

    def ceilings(
        self, service_tier: str | None, without: frozenset[str]
    ) -> tuple[tuple[int, int, int], ...]:
        """Return (above_input_tokens, highest input weight, highest output weight) per band."""
        found = self._ceilings.get((service_tier, without))
        if found is None:
            tiers = self._denominator_and_tiers[1]
            named = _known_tier(service_tier, tiers)
            chosen = tiers.values() if named is None else (tiers[named],)
            found = tuple(
                (
                    weights.above_input_tokens,
                    weights.highest(range(_INPUTS), without),
                    weights.highest(range(_INPUTS, _TOKENS), without),
                )
                for bands in chosen
                for weights in bands
            )
            self._ceilings[(service_tier, without)] = found
        return found

    @cached_property
    def card(self) -> StoredRates:
        """These rates as holds and cost events refer to them; decimals are strings."""
        return rate_card(json.dumps(self.as_dict(), separators=(",", ":")))

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form, as plain values; decimals are strings, missing prices omitted."""
        return {
            "provider": self.provider,
            "model": self.model,
            "starts_at": self.starts_at.isoformat(),
            "source": self.source,
            "usd_per_eur": str(self.usd_per_eur),
            "exchange_rate_date": self.exchange_rate_date.isoformat(),
            "bands": [_band_as_dict(band) for band in self.bands],
        }


def cost_nanoeur(usage: Usage, rates: Rates) -> int:
    """Return what the call cost, rounded up once.

    A service tier without rates is priced at the highest known one; `is_estimate` tells.
    Measured: 1.1 us once the rates have been used (`bound_nanoeur`: 0.8 us), 0.2 ms the first time.
    """
    denominator, tiers = rates._denominator_and_tiers
    tier = _known_tier(usage.service_tier, tiers)
    if tier is None:
        return max(_ceiling_of(usage, bands, denominator) for bands in tiers.values())
    return _ceiling_of(usage, tiers[tier], denominator)


def is_estimate(usage: Usage, rates: Rates) -> bool:
    """Whether a fallback price was used: the tier has no rates, or searches have no price."""
    tiers = rates._denominator_and_tiers[1]
    searches_unpriced = usage.web_searches > 0 and rates.standard.web_search_usd_per_k is None
    return searches_unpriced or _known_tier(usage.service_tier, tiers) is None


def bound_nanoeur(most: UsageCeiling, rates: Rates) -> int:
    """Return the upper bound of the cost of a call within `most`, rounded up.

    Every token costs the highest input or output price of the highest band that could apply.
    """
    denominator, tiers = rates._denominator_and_tiers
    numerator = max(
        most.input_tokens * of_input + most.output_tokens * of_output
        for above, of_input, of_output in rates.ceilings(most.service_tier, most.without)
        if most.input_tokens > above or above == 0
    )
    if most.web_searches:
        search = max(weights.per_unit[-1] for bands in tiers.values() for weights in bands)
        numerator += most.web_searches * search
    return -(-numerator // denominator)


def _ceiling_of(usage: Usage, highest_first: tuple[_Weights, ...], denominator: int) -> int:
    counts = _counts(usage)
    weights = highest_first[0]
    if len(highest_first) > 1:
        weights = _band_for(sum(counts[:_INPUTS]), highest_first)
    numerator: int = sum(map(mul, counts, weights.per_unit))
    return -(-numerator // denominator)


def _known_tier(service_tier: str | None, tiers: Collection[str]) -> str | None:
    if service_tier in _STANDARD_NAMES:
        return STANDARD_TIER
    return service_tier if service_tier in tiers else None


def _band_for(input_tokens: int, highest_first: tuple[_Weights, ...]) -> _Weights:
    for weights in highest_first:
        if input_tokens > weights.above_input_tokens:
            return weights
    return highest_first[-1]


def _nanoeur_per_unit(band: Band, usd_per_eur: Decimal) -> tuple[Fraction, ...]:
    search = _first(band.web_search_usd_per_k, HIGHEST_WEB_SEARCH_USD_PER_K)
    per_token = (Fraction(rate) * _TOKEN_FACTOR for rate in band.rates_by_bucket())
    exchange = Fraction(usd_per_eur)
    return tuple(usd / exchange for usd in (*per_token, Fraction(search) * _SEARCH_FACTOR))


def _first(own: Decimal | None, fallback: Decimal) -> Decimal:
    return fallback if own is None else own


def _band_as_dict(band: Band) -> dict[str, Any]:
    values = {f.name: getattr(band, f.name) for f in fields(band)}
    return {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in values.items()
        if value is not None
    }
