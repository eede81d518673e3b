"""Prices that are shown are those that are charged, to the nano-euro."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from costs.core.pricing import band_prices, price_of
from costs.core.rates import PRICE_COLUMNS, PRICED, REQUIRED_COLUMNS, Band, Rates
from costs.core.usage import FEES, INPUT_BUCKETS, Usage
from costs.prices.book import PriceBook
from gateway.core.model_names import Model
from gateway.guards.rule_sets import RuleIndex
from gateway.price_pages.pages import SHOWN, exported_model, model_line, shown_bands
from gateway.price_pages.reports import ModelTable, PricedModel
from gateway.providers.catalog import load_catalog

# Integers are drawn twenty times as fast as decimals.
USD = st.integers(0, 10**14).map(lambda n: Decimal(n).scaleb(-9))
STARTS = (200_000, 999_999, 1_000_000, 2_500_000)
OTHERS = tuple(column for column in PRICE_COLUMNS if column not in REQUIRED_COLUMNS)
PLACES: Final = {"global": Decimal(1), "eu": Decimal("1.1"), "us-east-1": Decimal("0.97")}
TOKENS_MAX: Final = 3_000_000
# What the vendors charge at another bucket's price; every other bucket has a column of its name.
SAME_AS: Final = {
    **dict.fromkeys(("input_uncached", "input_image", "tool_prompt"), "input"),
    **dict.fromkeys(("output_text", "output_reasoning"), "output"),
    **{"web_searches": "web_search", "web_search_previews": "web_search_preview"},
}


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
        places={name: factor for name, factor in PLACES.items() if name != "global"},
        discount=draw(st.integers(0, 1_000)) * Decimal("0.001"),
    )


def unit_of(bucket: str) -> int:
    """Return how much of it a price is for."""
    return 1_000 if bucket in FEES else 1_000_000


def exact(rates: Rates, band: Band, bucket: str, place: str) -> Fraction | None:
    """Return the nano-euro of one unit of a bucket, by the list's own numbers; None is unknown."""
    column = f"{SAME_AS.get(bucket, bucket)}_usd_per_{'k' if bucket in FEES else 'mtok'}"
    usd: Decimal | None = getattr(band, column, None)
    if usd is None:
        return None
    factor = Fraction(rates.discount) * (1 if bucket in FEES else Fraction(PLACES[place]))
    return Fraction(usd) * factor / Fraction(rates.usd_per_eur) * 10**9 / unit_of(bucket)


def listed(rates: Rates, service_tier: str, above: int) -> Band:
    """Return a band as the list has it."""
    [band] = (
        each
        for each in rates.bands
        if (each.service_tier, each.above_input_tokens) == (service_tier, above)
    )
    return band


@given(all_rates(), st.sampled_from(tuple(PLACES)), st.integers(0, 1_000))
def test_price_is_shown_and_charged_for_every_bucket_tier_and_band(
    rates: Rates, place: str, per_mille: int
) -> None:
    charged = band_prices(rates, place)
    assert len(charged) == len(rates.bands)
    for shown in charged:
        band = listed(rates, shown.service_tier, shown.above_input_tokens)
        of_input = exact(rates, band, "input_uncached", place) or Fraction(0)
        for bucket in PRICED:
            price = exact(rates, band, bucket, place)
            assert shown.nanoeur[bucket] == (
                None if price is None else ceil(price * unit_of(bucket))
            ), bucket
            for usage in _within(rates, band, bucket, per_mille, place=place):
                found = price_of(usage, rates)
                if price is None:
                    assert found.unpriced == (bucket.replace("_", " "),)
                    continue
                rest = 0 if bucket == "input_uncached" else usage.input_uncached * of_input
                total = getattr(usage, bucket) * price + rest
                assert (found.nanoeur, found.unpriced) == (ceil(total), ()), bucket


def _within(
    rates: Rates, band: Band, bucket: str, per_mille: int, *, place: str
) -> Iterator[Usage]:
    """Yield usages of a bucket that a band is for, with the least and the most input, and between.

    What is not input comes with plain input.
    """
    least = band.above_input_tokens + 1
    later = (
        each.above_input_tokens
        for each in rates.bands
        if each.service_tier == band.service_tier and each.above_input_tokens >= least
    )
    most = min(later, default=TOKENS_MAX)
    named: dict[str, Any] = {"service_tier": band.service_tier, "place": place}
    for tokens in (least, least + (most - least) * per_mille // 1_000, most):
        if bucket in INPUT_BUCKETS:
            yield Usage(**named | {bucket: tokens})
        else:
            units = 1 + 2 * unit_of(bucket) * per_mille // 1_000
            yield Usage(**named | {"input_uncached": tokens, bucket: units})


@given(all_rates(), st.sampled_from(tuple(PLACES)), st.data())
def test_call_of_many_buckets_is_charged_sum_of_prices(
    rates: Rates, place: str, data: st.DataObject
) -> None:
    band = data.draw(st.sampled_from(rates.bands))
    prices = {bucket: exact(rates, band, bucket, place) for bucket in PRICED}
    known = [bucket for bucket, price in prices.items() if price is not None]
    counts = {
        bucket: data.draw(st.integers(0, 1_000_000)) for bucket in known if bucket not in FEES
    }
    counts |= {bucket: data.draw(st.integers(0, 2_000)) for bucket in known if bucket in FEES}
    usage = Usage(service_tier=band.service_tier, place=place, **counts)
    reached = max(
        (
            each
            for each in rates.bands
            if each.service_tier == band.service_tier
            and (each.above_input_tokens < usage.input_tokens or each.above_input_tokens == 0)
        ),
        key=lambda each: each.above_input_tokens,
    )
    found = price_of(usage, rates)
    of_reached = {bucket: exact(rates, reached, bucket, place) for bucket in known}
    if all(price is not None or not counts[bucket] for bucket, price in of_reached.items()):
        total = sum((counts[bucket] * (price or 0) for bucket, price in of_reached.items()))
        assert (found.nanoeur, found.unpriced) == (ceil(total), ())
    else:
        assert found.unpriced


@given(all_rates(), st.sampled_from(tuple(PLACES)))
def test_page_shows_every_known_price_of_every_band(rates: Rates, place: str) -> None:
    found = {(band.service_tier, band.above_input_tokens): band for band in rates.bands}
    for shown in shown_bands(rates, place):
        band = found.pop((shown.service_tier, shown.above_input_tokens))
        assert {price.name: (price.nanoeur, price.unit) for price in shown.prices} == {
            bucket: (
                ceil(price * unit_of(bucket)),
                "per 1,000" if bucket in FEES else "per million tokens",
            )
            for bucket in SHOWN
            if (price := exact(rates, band, bucket, place)) is not None
        }
    assert not found


@given(all_rates())
def test_files_have_every_known_price_of_every_band(rates: Rates) -> None:
    priced = PricedModel(model=Model(id="m", provider="p"), rates=rates)
    table, rules = _table(), RuleIndex()
    exported = exported_model(priced, table, rules)
    found = {(band.service_tier, band.above_input_tokens): band for band in rates.bands}
    for of_file in exported["bands"]:
        band = found.pop((of_file["serviceTier"], of_file["aboveInputTokens"]))
        assert {name: Decimal(price["eur"]) for name, price in of_file["prices"].items()} == {
            bucket: Decimal(ceil(price * unit_of(bucket))).scaleb(-9)
            for bucket in SHOWN
            if (price := exact(rates, band, bucket, "global")) is not None
        }
    assert not found
    standard, line = listed(rates, "standard", 0), model_line(priced, table, rules)
    for bucket, column, of_list in (
        ("input_uncached", "inputEurPerMtok", line.input),
        ("output_text", "outputEurPerMtok", line.output),
    ):
        nanoeur = ceil((exact(rates, standard, bucket, "global") or 0) * 10**6)
        assert Decimal(exported[column]) == Decimal(nanoeur).scaleb(-9)
        assert of_list is not None
        assert of_list.nanoeur == nanoeur
    assert _decimals(exported["places"]) == {
        name: factor for name, factor in PLACES.items() if name != "global"
    }
    assert Decimal(exported["discount"]) == rates.discount


def _table() -> ModelTable:
    return ModelTable(
        at=datetime(2026, 1, 2, tzinfo=UTC),
        book=PriceBook(0, {}, ()),
        catalog=load_catalog(sandbox=False),
        providers={},
        models={},
    )


def _decimals(texts: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(text) for name, text in texts.items()}
