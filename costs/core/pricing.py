"""Pricing: exact arithmetic on the rates of a model, rounded up once per call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter, itemgetter, mul
from typing import Final

from costs.core.rates import ASKED_FOR, PRICED, BandWeights, Rates
from costs.core.usage import FEES, INPUT_BUCKETS, STANDARD_PLACE, Usage, UsageCeiling

# What prices are shown for: a million tokens, a thousand calls that have a fee.
_SHOWN_UNITS: Final = {name: 1_000 if name in FEES else 1_000_000 for name in PRICED}
_INPUTS: Final = len(INPUT_BUCKETS)
_counts = attrgetter(*PRICED)


@dataclass(frozen=True, slots=True)
class UsagePrice:
    """What a usage costs. `unpriced` names what has no rate of its own: it is then an estimate, as
    it is of a model that is priced `by_hour`.
    """

    nanoeur: int
    unpriced: tuple[str, ...] = ()
    by_hour: bool = False

    @property
    def is_estimate(self) -> bool:
        """Whether it is not what the usage will have cost for certain."""
        return self.by_hour or bool(self.unpriced)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargedBand:
    """What a service tier charges for requests with more than `above_input_tokens` of input.

    `nanoeur` is by TOKEN_BUCKETS per million tokens and by FEES per thousand calls, each rounded up
    once, as a call with just these would be; None has no price of its own.
    """

    service_tier: str
    above_input_tokens: int
    nanoeur: Mapping[str, int | None]


def band_prices(rates: Rates, place: str = STANDARD_PLACE) -> list[ChargedBand]:
    """Return what calls are charged at a place, by service tier and band, shortest requests first.

    The same integers as `price_of` adds up, with discounts and the factor of the place.
    """
    tables = rates.tables(place)
    return [
        ChargedBand(
            service_tier=tier,
            above_input_tokens=weights.above_input_tokens,
            nanoeur={
                name: -(-weight * _SHOWN_UNITS[name] // tables.denominator) if is_known else None
                for name, weight, is_known in zip(
                    PRICED, weights.per_unit, weights.is_known, strict=True
                )
            },
        )
        for tier, bands in tables.tiers.items()
        for weights in reversed(bands)
    ]


def price_of(usage: Usage, rates: Rates) -> UsagePrice:
    """Return what the call cost, rounded up once.

    What has no rate of its own has a stand-in, never a cheaper one than any known: an unknown
    tier or place costs what the highest known one does, an unknown bucket the highest known price
    of input or output, a search the highest that any vendor has published.
    """
    tables = rates.tables(usage.place)
    counts = _counts(usage)
    tiers = tables.reached(usage.service_tier)
    input_tokens = sum(counts[:_INPUTS])
    numerator, weights = max(
        (
            (sum(map(mul, counts, weights.per_unit)), weights)
            for weights in (_band_for(input_tokens, bands) for bands in tiers)
        ),
        key=itemgetter(0),
    )
    unpriced = _unpriced_as_a_whole(usage, rates)
    if not all(weights.is_known):
        of_buckets = zip(PRICED, counts, weights.is_known, strict=True)
        unpriced += [_spelled(name) for name, count, known in of_buckets if count and not known]
    nanoeur = -(-numerator // tables.denominator)
    return UsagePrice(nanoeur, tuple(unpriced), by_hour=rates.by_hour is not None)


def cost_nanoeur(usage: Usage, rates: Rates) -> int:
    """Return what the call cost, rounded up once; see `price_of`."""
    return price_of(usage, rates).nanoeur


def bound_of(most: UsageCeiling, rates: Rates) -> UsagePrice:
    """Return the upper bound of the cost of a call within `most`, rounded up.

    Every token costs the highest input or output price of the highest band that could apply.
    `unpriced` names what the request asks for that has no rate of its own.
    """
    tables = rates.tables(most.place)
    numerator = max(
        most.input_tokens * of_input + most.output_tokens * of_output
        for above, of_input, of_output in rates.ceilings(most)
        if most.at_highest_rates or most.input_tokens > above or above == 0
    )
    reached = [weights for bands in tables.reached(most.service_tier) for weights in bands]
    unpriced = _unpriced_as_a_whole(most, rates)
    for index, name in enumerate(PRICED):
        times = getattr(most, name) if name in FEES else int(name in ASKED_FOR - most.without)
        if times and not all(weights.is_known[index] for weights in reached):
            unpriced.append(_spelled(name))
        if times and name in FEES:
            numerator += times * max(weights.per_unit[index] for weights in reached)
    return UsagePrice(-(-numerator // tables.denominator), tuple(unpriced))


def bound_nanoeur(most: UsageCeiling, rates: Rates) -> int:
    """Return the upper bound of the cost of a call within `most`, rounded up."""
    return bound_of(most, rates).nanoeur


def _band_for(input_tokens: int, highest_first: tuple[BandWeights, ...]) -> BandWeights:
    for weights in highest_first:
        if input_tokens > weights.above_input_tokens:
            return weights
    return highest_first[-1]


def _unpriced_as_a_whole(asked: Usage | UsageCeiling, rates: Rates) -> list[str]:
    """Return the tier and the place, if these have no rates."""
    unpriced = []
    if not rates.tables(STANDARD_PLACE).knows(asked.service_tier):
        unpriced.append(f"service tier {asked.service_tier}")
    if asked.place != STANDARD_PLACE and asked.place not in rates.places:
        unpriced.append(f"place {asked.place}")
    return unpriced


def _spelled(name: str) -> str:
    return name.replace("_", " ")
