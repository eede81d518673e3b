"""The offline data of `prices load`: prices of every model, and the ECB's exchange rates."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Q

from costs.core.pricing import cost_nanoeur, price_of
from costs.core.rates import Band, Rates
from costs.core.usage import INPUT_BUCKETS, TOKEN_BUCKETS, Usage
from costs.models import ExchangeRate, PriceFactor, Rate
from costs.prices.book import price_list_version
from costs.prices.by_hand import set_factor
from costs.prices.seed import SeedFactor, seed_factors, seed_prices
from tests.costs.price_list import NOW, input_usd, load, prices, rates_of, standard
from tests.costs.seeded import seeded_rates

pytestmark = pytest.mark.django_db

# Provider, model, USD per million tokens in and out, each as its vendor lists it.
KNOWN_PRICES = [
    ("openai", "gpt-4o", ("2.5", "10")),
    ("openai", "gpt-4o-2024-05-13", ("5", "15")),
    ("openai", "gpt-4o-mini", ("0.15", "0.6")),
    ("openai", "gpt-4-turbo", ("10", "30")),
    ("openai", "gpt-4", ("30", "60")),
    ("openai", "gpt-3.5-turbo", ("0.5", "1.5")),
    ("openai", "o1-preview", ("15", "60")),
    ("anthropic", "claude-3-5-sonnet-20241022", ("3", "15")),
    ("anthropic", "claude-3-opus-20240229", ("15", "75")),
    ("anthropic", "claude-3-haiku-20240307", ("0.25", "1.25")),
    ("google", "gemini-pro", ("0.5", "1.5")),
    ("google", "gemini-pro-vision", ("0.5", "1.5")),
    ("google", "gemini-1.5-flash-8b", ("0.0375", "0.15")),
    ("mistral", "mistral-small", ("0.15", "0.6")),
    ("sandbox", "sandbox-small", ("0.15", "0.6")),
    ("sandbox", "sandbox-large", ("2.5", "10")),
    ("openai", "text-embedding-3-small", ("0.02", "0")),
]


def test_loading_prices_every_model_and_every_day_since_2023() -> None:
    printed = prices("load")
    assert printed.startswith(f"Added {Rate.objects.count()} prices and ")
    assert Rate.objects.count() > 700
    days = ExchangeRate.objects.order_by("on_date")
    assert days[0].on_date == date(2023, 1, 2)
    assert days[0].usd_per_eur == Decimal("1.0683")
    assert days.count() > 900


def test_loading_again_adds_nothing() -> None:
    prices("load")
    version = price_list_version()
    assert prices("load").startswith("Added 0 prices and 0 exchange rates")
    assert price_list_version() == version


def test_every_row_has_source() -> None:
    prices("load")
    assert not Rate.objects.filter(Q(source="") | ~Q(source__contains=": ")).exists()
    gpt = Rate.objects.get(model="gpt-4-0613")
    assert gpt.source.startswith("genai-prices ")
    assert "https://" in gpt.source
    own = Rate.objects.get(model="gemini-pro-vision")
    assert own.source.startswith("pulse prices.toml: https://")


def test_known_prices_are_loaded() -> None:
    prices("load")
    for provider, model, usd in KNOWN_PRICES:
        found = rates_of(model, provider=provider)
        assert found is not None, model
        rate = standard(found).input_usd_per_mtok, standard(found).output_usd_per_mtok
        assert rate == tuple(map(Decimal, usd)), model


def test_old_prices_apply_to_old_calls() -> None:
    prices("load")
    lowered_on = datetime(2025, 6, 10, tzinfo=UTC)
    assert input_usd("o3", at=lowered_on - timedelta(seconds=1)) == 10
    assert input_usd("o3", at=lowered_on) == 2


def test_long_requests_and_service_tiers_have_own_prices() -> None:
    prices("load")
    found = rates_of("gpt-5.6-sol")
    assert found is not None
    by_band = {(b.service_tier, b.above_input_tokens): b.input_usd_per_mtok for b in found.bands}
    assert by_band == {
        ("standard", 0): 4, ("standard", 272_000): 8,
        ("flex", 0): 2, ("flex", 272_000): 4,
        ("priority", 0): 8, ("priority", 272_000): 16,
        ("fast", 0): 8, ("fast", 272_000): 16,
    }  # fmt: skip


def test_ended_band_is_omitted() -> None:
    prices("load")
    ended_on = datetime(2026, 3, 13, tzinfo=UTC)
    before, after = (
        rates_of("claude-opus-4-6", provider="anthropic", at=at)
        for at in (ended_on - timedelta(days=1), ended_on)
    )
    long = Usage(input_uncached=200_001)
    assert before is not None
    assert after is not None
    assert {b.above_input_tokens for b in before.bands} == {0, 200_000}
    assert cost_nanoeur(long, before) > 1.9 * cost_nanoeur(long, after)


def test_cache_writes_are_priced() -> None:
    prices("load")
    found = rates_of("claude-3-5-sonnet-20241022", provider="anthropic")
    assert found is not None
    assert standard(found).cache_write_5m_usd_per_mtok == Decimal("3.75")
    assert standard(found).cache_write_1h_usd_per_mtok == 6
    assert standard(found).cache_read_usd_per_mtok == Decimal("0.3")


def test_model_with_unsupported_units_has_no_price() -> None:
    prices("load")
    for provider, model in [
        ("openai", "whisper-1"),
        ("openai", "gpt-image-1"),
        ("mistral", "mistral-ocr-latest"),
        ("mistral", "voxtral-small-latest"),
        ("google", "gemma-3"),
    ]:
        assert rates_of(model, provider=provider) is None, model


def test_seed_has_each_price_once_in_order() -> None:
    seen: dict[tuple[str, str, str], datetime] = {}
    for price in seed_prices():
        key = (price.provider, price.model, price.service_tier)
        assert price.starts_at > seen.get(key, datetime.min.replace(tzinfo=UTC)), key
        seen[key] = price.starts_at
        assert len(price.source) <= 300


def factors() -> set[tuple[str, str, str, Decimal]]:
    rows = PriceFactor.objects.values_list("provider", "model", "place", "factor")
    return {(provider, model, place, factor) for provider, model, place, factor in rows}


def test_places_are_loaded_once_with_source() -> None:
    assert "price factors of places" in prices("load")
    known, version = factors(), price_list_version()
    assert ("anthropic", "claude-opus-4-6", "us", Decimal("1.1")) in known
    assert ("openai", "", "eu", Decimal("1.1")) in known
    assert "factors" not in prices("load")
    assert (factors(), price_list_version()) == (known, version)
    assert not PriceFactor.objects.exclude(source__contains="https://").exists()


@pytest.mark.parametrize(
    ("provider", "model", "places"),
    [
        ("anthropic", "claude-opus-4-6", {"us": "1.1"}),
        ("anthropic", "claude-sonnet-4-6", {"us": "1.1"}),
        ("anthropic", "claude-haiku-5-5", {"us": "1.1"}),
        ("anthropic", "claude-opus-4-5-20251101", {}),
        ("anthropic", "claude-3-haiku-20240307", {}),
        ("openai", "gpt-5.4-mini-2026-03-17", {"us": "1.1", "eu": "1.1"}),
        ("openai", "gpt-6.1-terra", {"us": "1.1", "eu": "1.1"}),
        ("openai", "gpt-5.3-codex", {"us": "1", "eu": "1"}),
        ("openai", "gpt-5-2025-08-07", {"us": "1", "eu": "1"}),
        ("openai", "gpt-4o", {"us": "1", "eu": "1"}),
        ("openai", "o3", {"us": "1", "eu": "1"}),
        ("mistral", "mistral-large-latest", {"us": "1.1", "eu": "1.1"}),
        ("google", "gemini-2.5-pro", {}),
    ],
)
def test_place_has_factor_of_model(provider: str, model: str, places: dict[str, str]) -> None:
    found = seeded_rates(provider, model).places
    assert {name: str(found[name]) for name in ("us", "eu") if name in found} == places


def factor_of_place() -> SeedFactor:
    named = ("openai", "", "eu")
    [found] = [f for f in seed_factors() if (f.provider, f.model, f.place) == named]
    return found


def places_by_start() -> list[tuple[datetime, Decimal]]:
    rows = PriceFactor.objects.order_by("starts_at")
    return [*rows.values_list("starts_at", "factor")]


def test_place_set_by_hand_is_kept() -> None:
    by_hand = {"provider": "openai", "kind": "place", "place": "eu", "source": "set by hand"}
    PriceFactor.objects.create(**by_hand, factor=2, starts_at=NOW)
    before = factor_of_place()
    later = replace(before, starts_at=NOW + timedelta(days=9))
    assert [load(factors=[before, later]).factors for _ in range(2)] == [1, 0]
    assert places_by_start() == [(before.starts_at, before.factor), (NOW, 2)]


def test_changed_factor_counts_from_now_on() -> None:
    before = factor_of_place()
    changed = replace(before, factor=Decimal("1.2"))
    announced = replace(before, factor=Decimal("1.3"), starts_at=NOW + timedelta(days=9))
    assert [load(factors=[before]).factors for _ in range(2)] == [1, 0]
    assert [load(factors=[changed, announced]).factors for _ in range(2)] == [2, 0]
    known = [(before.starts_at, before.factor), (NOW, Decimal("1.2"))]
    assert places_by_start() == [*known, (announced.starts_at, Decimal("1.3"))]
    load(factors=[changed])
    assert places_by_start() == known


def test_announced_factor_does_not_replace_one_set_by_hand() -> None:
    before = factor_of_place()
    later = replace(before, starts_at=NOW + timedelta(days=9))
    load(factors=[before, later])
    by_hand = {"provider": "openai", "kind": "place", "place": "eu", "source": "set by hand"}
    set_factor(PriceFactor(**by_hand, factor=2, starts_at=NOW), now=NOW)
    load(factors=[before, later])
    assert places_by_start() == [(before.starts_at, before.factor), (NOW, 2)]


def test_ultrafast_costs_six_times_standard() -> None:
    bands = seeded_rates("openai", "gpt-6-astra").bands
    of = {(b.service_tier, b.above_input_tokens): b for b in bands}
    short, long = of["ultrafast", 0], of["ultrafast", 272_000]
    assert [short.input_usd_per_mtok, short.output_usd_per_mtok] == [60, 300]
    assert [short.cache_read_usd_per_mtok, short.cache_write_30m_usd_per_mtok] == [6, 75]
    assert [long.input_usd_per_mtok, long.output_usd_per_mtok] == [120, 450]
    assert short.web_search_usd_per_k == of["standard", 0].web_search_usd_per_k == 10
    before = seeded_rates("openai", "gpt-6-astra", at=datetime(2026, 9, 28, tzinfo=UTC))
    assert "ultrafast" not in {band.service_tier for band in before.bands}


@pytest.mark.parametrize(("day", "factor"), [("2027-02-28", 3), ("2027-03-01", 6)])
def test_ultrafast_of_later_model_has_announced_factor(day: str, factor: int) -> None:
    at = datetime.fromisoformat(f"{day}T00:00+00:00")
    bands = seeded_rates("openai", "gpt-6.2-sol", at=at).bands
    short = {b.service_tier: b for b in bands if not b.above_input_tokens}
    standard, fast = short["standard"], short["ultrafast"]
    assert [standard.input_usd_per_mtok, standard.output_usd_per_mtok] == [2, 10]
    assert [fast.input_usd_per_mtok, fast.output_usd_per_mtok] == [2 * factor, 10 * factor]


def test_cache_write_has_lifetime_of_its_vendor() -> None:
    for price in seed_prices():
        for band in price.bands:
            is_openai = price.provider in ("openai", "sandbox")
            other = (
                band.cache_write_5m_usd_per_mtok if is_openai else band.cache_write_30m_usd_per_mtok
            )
            assert other is None, price.model
            if not is_openai:
                assert band.cache_write_12h_usd_per_mtok is None
            elif band.cache_write_12h_usd_per_mtok is not None:
                assert (price.model, price.service_tier) == ("gpt-6.1-terra", "standard")


# What a vendor can report. What it cannot has no price either.
REPORTED = {
    "openai": {"cache_write_30m", "cache_write_12h", "cache_read_audio", "web_search_previews"},
    "anthropic": {"cache_write_5m", "cache_write_1h"},
    "google": {"cache_read_audio"},
    "mistral": set[str](),
}


def prices_by_bucket(band: Band) -> dict[str, Decimal | None]:
    return {
        **dict(zip(TOKEN_BUCKETS, band.rates_by_bucket(), strict=True)),
        "web_searches": band.web_search_usd_per_k,
        "web_search_previews": band.web_search_preview_usd_per_k,
    }


def assert_own_price(bucket: str, usd: Decimal | None, *, band: Band, rates: Rates) -> None:
    """Assert the price of a bucket alone, but for the input that reaches the band."""
    above, is_input = band.above_input_tokens, bucket in INPUT_BUCKETS
    count, rest = (above + 1000, 0) if is_input else (1000, above + 1)
    counts: dict[str, Any] = {"input_uncached": rest, bucket: count}
    usage = Usage(service_tier=band.service_tier, **counts)
    price = price_of(usage, rates)
    if usd is None:
        assert price.unpriced == (bucket.replace("_", " "),)
        return
    per = 1_000_000 if bucket in TOKEN_BUCKETS else 1000
    cost = usd * count / per + band.input_usd_per_mtok * rest / 1_000_000
    assert price.unpriced == ()
    assert 0 <= price.nanoeur - cost * 10**9 < 1


def test_no_seeded_bucket_has_price_of_another() -> None:
    names = {(price.provider, price.model) for price in seed_prices() if price.provider in REPORTED}
    for provider, model in names:
        rates = seeded_rates(provider, model, at=datetime(2027, 2, 1, tzinfo=UTC))
        for band in rates.bands:
            for bucket, usd in prices_by_bucket(band).items():
                assert_own_price(bucket, usd, band=band, rates=rates)


def test_vendor_reports_no_bucket_that_only_another_one_prices() -> None:
    special = {bucket for buckets in REPORTED.values() for bucket in buckets}
    for price in seed_prices():
        reported = REPORTED.get(price.provider)
        if reported is None:
            continue
        for band in price.bands:
            own = prices_by_bucket(band)
            priced = {bucket for bucket in special if own[bucket] is not None}
            assert priced <= reported, (price.provider, price.model)


@pytest.mark.parametrize(
    ("provider", "model", "search", "preview"),
    [
        ("openai", "gpt-4.1", 10, 25),
        ("openai", "gpt-4o", 10, 25),
        ("openai", "gpt-5-chat-latest", 10, 25),
        ("openai", "o3", 10, 10),
        ("openai", "o3-pro", 10, 10),
        ("openai", "gpt-6.1-sol", 10, 10),
        ("openai", "gpt-4o-search-preview", 25, 25),
        ("openai", "gpt-4o-mini-search-preview-2025-03-11", 25, 25),
        ("openai", "gpt-5-search-api", 10, 10),
        ("anthropic", "claude-opus-5", 10, None),
        ("google", "gemini-2.0-flash", 35, None),
        ("google", "gemini-2.5-pro", 35, None),
        ("google", "gemini-3-pro-preview", 14, None),
        ("google", "gemini-4-argon", 14, None),
    ],
)
def test_searches_have_fee_of_model(
    provider: str, model: str, search: int, preview: int | None
) -> None:
    for band in seeded_rates(provider, model).bands:
        fees = [band.web_search_usd_per_k, band.web_search_preview_usd_per_k]
        assert fees == [search, preview]
