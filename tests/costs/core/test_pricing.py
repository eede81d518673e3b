"""Pricing: exact to the nano-euro, rounded up once, and never above the bound."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.pricing import UsagePrice, bound_nanoeur, bound_of, cost_nanoeur, price_of
from costs.core.rates import ASKED_FOR, HIGHEST_WEB_SEARCH_USD_PER_K, Band, Rates, rate_at
from costs.core.usage import INPUT_BUCKETS, OUTPUT_BUCKETS, TOKEN_BUCKETS, Usage, UsageCeiling
from tests.costs.kept_rates import read_rates

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def usd(text: str) -> Decimal:
    return Decimal(text)


def only(bucket: str, count: int) -> Usage:
    counts: dict[str, Any] = {bucket: count}
    return Usage(**counts)


def rates(*bands: Band, usd_per_eur: str = "1", **factors: Any) -> Rates:
    return Rates(
        provider="acme",
        model="acme-1",
        bands=bands,
        usd_per_eur=usd(usd_per_eur),
        exchange_rate_date=date(2025, 12, 31),
        source="a price page",
        starts_at=NEW_YEAR,
        **factors,
    )


def band(input_usd: str, output_usd: str, **more: Any) -> Band:
    return replace(
        Band(input_usd_per_mtok=usd(input_usd), output_usd_per_mtok=usd(output_usd)), **more
    )


SMALL = band("0.15", "0.60", cache_read_usd_per_mtok=usd("0.075"))
WITH_CACHE_WRITES = band(
    "3",
    "15",
    cache_read_usd_per_mtok=usd("0.30"),
    cache_write_5m_usd_per_mtok=usd("3.75"),
    cache_write_1h_usd_per_mtok=usd("6"),
    web_search_usd_per_k=usd("10"),
)
LONG = (band("1.25", "10"), band("2.50", "15", above_input_tokens=200_000))
TALKING = band(
    "2.50", "10", input_audio_usd_per_mtok=usd("40"), output_audio_usd_per_mtok=usd("80")
)


@pytest.mark.parametrize(
    ("usage", "of", "nanoeur"),
    [
        # 9 x 0.15 + 2 x 0.60 = 2.55 USD per million = 2,550 nano-USD
        (Usage(input_uncached=9, output_text=2), (SMALL,), 2_550),
        (Usage(), (SMALL,), 0),
        # 100 x 0.15 + 900 x 0.075 = 82.5 -> 82,500
        (Usage(input_uncached=100, cache_read=900), (SMALL,), 82_500),
        # reasoning and thoughts cost what answers cost: (1 + 7) x 0.60
        (Usage(output_text=1, output_reasoning=7), (SMALL,), 4_800),
        # 10 x 3 + 20 x 0.3 + 30 x 3.75 + 40 x 6 + 50 x 15 = 1,138.5
        (
            Usage(
                input_uncached=10,
                cache_read=20,
                cache_write_5m=30,
                cache_write_1h=40,
                output_text=50,
            ),
            (WITH_CACHE_WRITES,),
            1_138_500,
        ),
        # a search is 10 USD / 1,000 = 0.01 USD
        (Usage(web_searches=3), (WITH_CACHE_WRITES,), 30_000_000),
        # images and the prompts of tools are input: (5 + 6 + 7) x 1.25
        (Usage(input_uncached=5, input_image=6, tool_prompt=7), LONG, 22_500),
        # the whole request is billed in the band that its input falls in
        (Usage(input_uncached=200_000, output_text=10), LONG, 250_100_000),
        (Usage(input_uncached=200_001, output_text=10), LONG, 500_152_500),
        # ... and cached tokens count for the band
        (Usage(input_uncached=1, cache_read=200_000, output_text=10), LONG, 500_152_500),
        (Usage(input_audio=10, output_audio=20, input_uncached=4), (TALKING,), 2_010_000),
    ],
)
def test_cost_is_exact(usage: Usage, of: tuple[Band, ...], nanoeur: int) -> None:
    assert cost_nanoeur(usage, rates(*of)) == nanoeur


def test_exchange_rate_divides_before_rounding() -> None:
    # 2,550 / 1.1172 = 2,282.49...; the contract's own example is rounded up once, not per bucket.
    usage = Usage(input_uncached=9, output_text=2)
    assert cost_nanoeur(usage, rates(SMALL, usd_per_eur="1.1172")) == 2_283
    assert cost_nanoeur(usage, rates(SMALL, usd_per_eur="3")) == 850


OF_INPUT = {"input_uncached", "input_image", "tool_prompt"}
OF_OUTPUT = {"output_text", "output_reasoning"}


def test_bucket_without_price_is_unpriced_and_never_cheaper_than_any_known() -> None:
    plain = rates(band("2", "8"), band("4", "16", service_tier="priority"))
    for bucket in {*INPUT_BUCKETS} - OF_INPUT:
        price = price_of(only(bucket, 1), plain)
        assert (price.nanoeur, price.unpriced) == (4_000, (bucket.replace("_", " "),))
    for bucket in {*OUTPUT_BUCKETS} - OF_OUTPUT:
        price = price_of(only(bucket, 1), plain)
        assert (price.nanoeur, price.unpriced) == (16_000, (bucket.replace("_", " "),))


def test_images_tool_prompts_and_reasoning_have_price_of_input_and_output() -> None:
    plain = rates(band("2", "8"))
    assert {price_of(only(bucket, 1), plain).nanoeur for bucket in OF_INPUT} == {2_000}
    assert {price_of(only(bucket, 1), plain).nanoeur for bucket in OF_OUTPUT} == {8_000}
    assert not any(price_of(only(bucket, 1), plain).unpriced for bucket in OF_INPUT | OF_OUTPUT)


def test_cache_write_of_another_lifetime_is_unpriced() -> None:
    short = rates(band("2", "8", cache_write_30m_usd_per_mtok=usd("2.5")))
    assert price_of(Usage(cache_write_30m=1), short).unpriced == ()
    assert price_of(Usage(cache_write_12h=1), short).unpriced == ("cache write 12h",)


def test_unpriced_searches_use_highest_price() -> None:
    searched = Usage(web_searches=1)
    price = price_of(searched, rates(SMALL))
    assert price.nanoeur == HIGHEST_WEB_SEARCH_USD_PER_K * 10**6
    assert price.unpriced == ("web searches",)
    assert not price_of(searched, rates(WITH_CACHE_WRITES)).unpriced
    assert price_of(Usage(web_search_previews=1), rates(WITH_CACHE_WRITES)).unpriced


def test_place_multiplies_token_prices_and_no_fee() -> None:
    placed = rates(WITH_CACHE_WRITES, places={"us": usd("1.1"), "eu": usd("1")})
    assert placed.tables("mars") is placed.tables("venus") is placed.tables("us")
    usage = Usage(input_uncached=10, output_text=10, web_searches=1)
    assert cost_nanoeur(usage, placed) == 180_000 + 10_000_000
    assert cost_nanoeur(replace(usage, place="us"), placed) == 198_000 + 10_000_000
    assert cost_nanoeur(replace(usage, place="eu"), placed) == cost_nanoeur(usage, placed)
    unknown = price_of(replace(usage, place="jp"), placed)
    assert (unknown.nanoeur, unknown.unpriced) == (198_000 + 10_000_000, ("place jp",))


def test_discount_multiplies_every_price() -> None:
    usage = Usage(input_uncached=10, output_text=10, web_searches=1)
    discounted = rates(WITH_CACHE_WRITES, discount=usd("0.8"))
    assert cost_nanoeur(usage, discounted) == (180_000 + 10_000_000) * 8 // 10


def test_service_tier_has_its_own_prices() -> None:
    tiered = rates(
        band("2", "8"),
        band("1", "4", service_tier="flex"),
        band("3", "12", service_tier="priority"),
    )
    costs = {
        tier: cost_nanoeur(Usage(input_uncached=1, service_tier=tier), tiered)
        for tier in ("standard", "default", "flex", "priority", "scale")
    }
    assert costs == {
        "standard": 2_000, "default": 2_000, "flex": 1_000, "priority": 3_000, "scale": 3_000,
    }  # fmt: skip
    assert price_of(Usage(service_tier="scale"), tiered).unpriced == ("service tier scale",)
    assert not price_of(Usage(service_tier="default"), tiered).unpriced


def test_rates_without_first_band_are_rejected() -> None:
    with pytest.raises(ValueError, match="must have a band from 0 tokens"):
        rates(LONG[1])
    with pytest.raises(ValueError, match="must have a band from 0 tokens"):
        rates(SMALL, band("3", "12", service_tier="priority", above_input_tokens=1))
    with pytest.raises(ValueError, match="usd_per_eur must be positive"):
        rates(SMALL, usd_per_eur="0")


def test_rates_survive_storage() -> None:
    factors = {"places": {"us": usd("1.1")}, "discount": usd("0.8")}
    kept = rates(WITH_CACHE_WRITES, *LONG[1:], usd_per_eur="1.1172", **factors)
    assert read_rates(kept.card.rates) == kept
    assert read_rates(kept.as_dict()) == kept
    assert '"input_usd_per_mtok":"3"' in kept.card.rates


def test_rate_in_force_is_last_one_started() -> None:
    first = rates(SMALL)
    second = replace(first, starts_at=NEW_YEAR + timedelta(days=31))
    series = (first, second)
    assert rate_at(series, NEW_YEAR - timedelta(microseconds=1)) is None
    assert rate_at(series, NEW_YEAR) is first
    assert rate_at(series, second.starts_at - timedelta(microseconds=1)) is first
    assert rate_at(series, second.starts_at) is second
    assert rate_at((), NEW_YEAR) is None


def test_bound_uses_highest_bucket_and_band() -> None:
    def bound(of: Rates, **more: Any) -> int:
        return bound_nanoeur(UsageCeiling(input_tokens=10, output_tokens=1, **more), of)

    cached, talking = rates(WITH_CACHE_WRITES), rates(TALKING)
    no_12h = ASKED_FOR - {"cache_write_1h"}
    assert bound(cached, without=no_12h) == 10 * 6_000 + 15_000
    assert bound(cached, without=ASKED_FOR) == 10 * 3_750 + 15_000
    assert bound(cached, without=no_12h, web_searches=2) == 75_000 + 20_000_000
    assert bound(talking) == 10 * 40_000 + 80_000
    assert bound(talking, without=ASKED_FOR | {"input_audio"}) == 35_000


def test_bound_uses_only_bands_that_could_apply() -> None:
    def bound(input_tokens: int) -> int:
        return bound_nanoeur(
            UsageCeiling(input_tokens=input_tokens, output_tokens=10, without=ASKED_FOR),
            rates(*LONG),
        )

    assert bound(200_000) == 250_100_000
    assert bound(200_001) == 500_152_500


def test_bound_of_unknown_tier_is_highest_known_one() -> None:
    tiered = rates(band("2", "8"), band("3", "12", service_tier="priority"))

    def bound(tier: str) -> tuple[int, tuple[str, ...]]:
        most = UsageCeiling(input_tokens=1, output_tokens=1, service_tier=tier, without=ASKED_FOR)
        price = bound_of(most, tiered)
        return price.nanoeur, price.unpriced

    assert bound("standard") == bound("default") == (10_000, ())
    assert bound("priority") == (15_000, ())
    assert bound("scale") == (15_000, ("service tier scale",))


def test_bound_at_highest_rates_covers_all_tiers_bands_and_buckets() -> None:
    fast = band("3", "12", service_tier="fast", cache_write_1h_usd_per_mtok=usd("6"))
    tiered = rates(*LONG, band("2", "20", service_tier="flex"), fast)

    def bound(**more: Any) -> UsagePrice:
        return bound_of(
            UsageCeiling(input_tokens=10, output_tokens=1, without=ASKED_FOR, **more), tiered
        )

    assert bound() == UsagePrice(10 * 1_250 + 10_000)
    assert bound(at_highest_rates=True) == UsagePrice(10 * 6_000 + 20_000)
    assert bound(at_highest_rates=True, place="moon").unpriced == ("place moon",)


def test_bound_names_what_was_asked_for_without_price() -> None:
    def unpriced(asked: set[str], **more: Any) -> tuple[str, ...]:
        most = UsageCeiling(
            input_tokens=1,
            output_tokens=1,
            without=ASKED_FOR - asked,
            **more,
        )
        return bound_of(most, rates(SMALL)).unpriced

    assert unpriced(set()) == ()  # what it does not ask for does not matter
    assert unpriced({"cache_write_12h"}) == ("cache write 12h",)
    assert unpriced({"output_audio"}) == ("output audio",)
    assert unpriced(set(), web_searches=1) == ("web searches",)
    assert unpriced(set(), place="eu") == ("place eu",)


OPTIONAL = [
    name
    for name in (f.name for f in fields(Band))
    if name.endswith("_usd_per_mtok") and name not in ("input_usd_per_mtok", "output_usd_per_mtok")
]
USD = st.decimals(min_value=0, max_value=1000, places=4)
SOME_USD = st.none() | USD
COUNTS = st.integers(min_value=0, max_value=3_000_000)


@st.composite
def any_rates(draw: st.DrawFn) -> Rates:
    def any_band(above: int, tier: str = "standard") -> Band:
        return Band(
            service_tier=tier,
            above_input_tokens=above,
            input_usd_per_mtok=draw(USD),
            output_usd_per_mtok=draw(USD),
            **{name: draw(SOME_USD) for name in OPTIONAL},
        )

    above = draw(st.lists(st.integers(1, 4_000_000), max_size=2, unique=True))
    bands = [any_band(start) for start in draw(st.permutations([0, *above]))]
    if draw(st.booleans()):
        bands.append(any_band(0, "priority"))
    exchange = draw(st.decimals(min_value="0.5", max_value=2, places=4))
    factors = st.decimals(min_value="0.5", max_value=2, places=2)
    places = draw(st.dictionaries(st.sampled_from(["us", "eu"]), factors))
    return rates(*bands, usd_per_eur=str(exchange), places=places, discount=draw(factors))


@st.composite
def any_usage(draw: st.DrawFn) -> Usage:
    counts: dict[str, Any] = {bucket: draw(COUNTS) for bucket in TOKEN_BUCKETS}
    return Usage(**counts)


def exact_price(usage: Usage, of: Rates) -> UsagePrice:
    """The reference calculation: choose the band, multiply, add, convert.

    What has no rate of its own costs the highest known one of its side, in any band.
    """
    in_reach = [
        b
        for b in of.bands
        if b.service_tier == usage.service_tier
        and (b.above_input_tokens == 0 or usage.input_tokens > b.above_input_tokens)
    ]
    reached = max(in_reach, key=lambda b: b.above_input_tokens)
    known = [rates_of(b) for b in of.bands]
    dollars, unpriced = Fraction(0), []
    for bucket, usd_per_mtok in rates_of(reached).items():
        count = getattr(usage, bucket)
        if usd_per_mtok is None and count:
            unpriced.append(bucket.replace("_", " "))
        if usd_per_mtok is None:
            side = INPUT_BUCKETS if bucket in INPUT_BUCKETS else OUTPUT_BUCKETS
            usd_per_mtok = max(
                rate for band in known for name in side if (rate := band[name]) is not None
            )
        dollars += Fraction(usd_per_mtok) * count
    factor = Fraction(of.places.get(usage.place, 1)) * Fraction(of.discount)
    nanoeur = dollars * factor / 10**6 / Fraction(of.usd_per_eur) * 10**9
    return UsagePrice(ceil(nanoeur), tuple(unpriced))


def rates_of(band: Band) -> dict[str, Decimal | None]:
    return dict(zip(TOKEN_BUCKETS, band.rates_by_bucket(), strict=True))


def only_priced(usage: Usage, of: Rates) -> Usage:
    """Return the usage without what has no rate of its own, in any band."""
    without: dict[str, Any] = {
        bucket: 0
        for band in of.bands
        for bucket, usd_per_mtok in rates_of(band).items()
        if usd_per_mtok is None
    }
    return replace(usage, **without)


@given(any_usage(), any_rates(), st.sampled_from(["global", "us"]))
def test_price_is_own_rate_or_highest_of_side(usage: Usage, of: Rates, place: str) -> None:
    usage = replace(usage, place=place if place in of.places else "global")
    assert price_of(usage, of) == exact_price(usage, of)


@given(any_usage(), any_rates(), COUNTS, COUNTS)
def test_cost_never_exceeds_bound(usage: Usage, of: Rates, more_in: int, more_out: int) -> None:
    usage = only_priced(usage, of)
    most = UsageCeiling(
        input_tokens=usage.input_tokens + more_in, output_tokens=usage.output_tokens + more_out
    )
    assert cost_nanoeur(usage, of) <= bound_nanoeur(most, of)


@given(any_usage(), any_rates(), st.sampled_from(["standard", "priority", "scale"]))
def test_bound_of_tier_covers_cost_in_it(usage: Usage, of: Rates, tier: str) -> None:
    usage = replace(only_priced(usage, of), service_tier=tier)
    most = UsageCeiling(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, service_tier=tier
    )
    assert cost_nanoeur(usage, of) <= bound_nanoeur(most, of)


@given(any_rates(), COUNTS, COUNTS, COUNTS, COUNTS)
def test_larger_ceiling_never_lowers_bound(
    of: Rates, tokens_in: int, tokens_out: int, more_in: int, more_out: int
) -> None:
    narrow = UsageCeiling(input_tokens=tokens_in, output_tokens=tokens_out)
    wide = UsageCeiling(input_tokens=tokens_in + more_in, output_tokens=tokens_out + more_out)
    assert bound_nanoeur(narrow, of) <= bound_nanoeur(wide, of)


@given(any_usage(), any_rates(), st.sampled_from(OUTPUT_BUCKETS), COUNTS)
def test_more_output_never_costs_less(usage: Usage, of: Rates, bucket: str, more: int) -> None:
    longer = replace(usage, **{bucket: getattr(usage, bucket) + more})
    assert cost_nanoeur(longer, of) >= cost_nanoeur(usage, of)


@given(any_rates())
def test_stored_rates_give_same_cost(of: Rates) -> None:
    usage = Usage(input_uncached=7, cache_read=3, output_text=5)
    assert cost_nanoeur(usage, read_rates(of.card.rates)) == cost_nanoeur(usage, of)
