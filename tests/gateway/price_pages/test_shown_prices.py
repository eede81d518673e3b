"""Prices that are shown are those that are charged, to the nano-euro."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from costs.core.pricing import band_prices, price_of
from costs.core.rates import PRICE_COLUMNS, PRICED, REQUIRED_COLUMNS, Band, Rates
from costs.core.usage import FEES, INPUT_BUCKETS, Usage
from gateway.price_pages.pages import SHOWN, shown_bands

# Integers are drawn twenty times as fast as decimals.
USD = st.integers(0, 10**14).map(lambda n: Decimal(n).scaleb(-9))
STARTS = (200_000, 999_999, 1_000_000, 2_500_000)
OTHERS = tuple(column for column in PRICE_COLUMNS if column not in REQUIRED_COLUMNS)


@st.composite
def all_rates(draw: st.DrawFn) -> Rates:
    """Rates with up to three tiers of up to four bands, any prices unknown, and a discount."""
    bands = []
    for tier in ("standard", *draw(st.sets(st.sampled_from(("flex", "priority"))))):
        for start in sorted({0, *draw(st.sets(st.sampled_from(STARTS)))}):
            prices = {column: draw(USD) for column in REQUIRED_COLUMNS}
            prices |= {
                column: usd for column in OTHERS if (usd := draw(st.none() | USD)) is not None
            }
            bands.append(Band(service_tier=tier, above_input_tokens=start, **prices))
    return Rates(
        provider="p",
        model="m",
        bands=tuple(bands),
        usd_per_eur=draw(st.integers(5_000, 20_000)) * Decimal("0.0001"),
        exchange_rate_date=date(2026, 1, 1),
        source="test",
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        places={"eu": Decimal("1.1")},
        discount=draw(st.integers(0, 1_000)) * Decimal("0.001"),
    )


@given(all_rates(), st.sampled_from(PRICED), st.sampled_from(("global", "eu")), st.data())
def test_shown_price_is_charged_for_every_bucket_tier_and_band(
    rates: Rates, bucket: str, place: str, data: st.DataObject
) -> None:
    band = data.draw(st.sampled_from(band_prices(rates, place)))
    unit = 1_000 if bucket in FEES else 1_000_000
    units = data.draw(st.integers(1, 5)) if bucket in INPUT_BUCKETS else 1
    is_output = bucket not in INPUT_BUCKETS
    # Input that reaches the band, whose charge alone is known from another call.
    reaches = band.above_input_tokens + 1 if is_output and band.above_input_tokens else 0
    named: dict[str, Any] = {"service_tier": band.service_tier, "place": place}
    usage = Usage(**named | {bucket: unit * units})
    starts = [
        each.above_input_tokens
        for each in band_prices(rates, place)
        if each.service_tier == band.service_tier and each.above_input_tokens < usage.input_tokens
    ]
    # A million tokens of input are beyond the lower bands.
    assume(is_output or max(starts, default=0) == band.above_input_tokens)
    shown = band.nanoeur[bucket]
    if is_output:
        base = Usage(input_uncached=reaches, **named)
        usage = Usage(**named | {"input_uncached": reaches, bucket: unit * units})
        charged = price_of(usage, rates).nanoeur - price_of(base, rates).nanoeur
        tolerated = 1 if reaches else 0  # both are rounded up
    else:
        charged, tolerated = price_of(usage, rates).nanoeur, units - 1
    if shown is None:
        assert price_of(usage, rates).unpriced
        return
    assert not price_of(usage, rates).unpriced
    assert abs(charged - shown * units) <= tolerated


@given(all_rates(), st.sampled_from(("global", "eu")))
def test_page_shows_every_known_price_of_every_band(rates: Rates, place: str) -> None:
    charged = {
        (band.service_tier, band.above_input_tokens): band.nanoeur
        for band in band_prices(rates, place)
    }
    assert len(charged) == len(rates.bands)
    for band in shown_bands(rates, place):
        prices = charged.pop((band.service_tier, band.above_input_tokens))
        assert {price.name: price.nanoeur for price in band.prices} == {
            name: prices[name] for name in SHOWN if prices[name] is not None
        }
    assert not charged
