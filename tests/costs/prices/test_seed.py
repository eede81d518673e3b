"""The offline data of `prices load`: prices of every model, and the ECB's exchange rates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Q

from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from costs.models import ExchangeRate, Rate
from costs.prices.book import price_list_version
from costs.prices.seed import seed_prices
from tests.costs.price_list import input_usd, prices, rates_of

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
        rate = found.standard.input_usd_per_mtok, found.standard.output_usd_per_mtok
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
    assert found.standard.cache_write_5m_usd_per_mtok == Decimal("3.75")
    assert found.standard.cache_write_1h_usd_per_mtok == 6
    assert found.standard.cache_read_usd_per_mtok == Decimal("0.3")


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
