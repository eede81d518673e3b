"""The price list is append-only; requests read a snapshot of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from costs.models import ExchangeRate, Rate
from costs.prices.book import load_price_book, price_list_version
from costs.prices.checks import PriceRefused
from tests.costs.price_list import (
    NOW,
    input_usd,
    load,
    priced,
    prices,
    rates_of,
    seeded_price,
    set_by_hand,
    set_price,
    standard,
)

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_changed_price_is_new_row_from_now() -> None:
    load(seeded_price(priced("2")))
    load(seeded_price(priced("1")), now=NOW + timedelta(days=1))
    assert input_usd("m-1") == 2
    assert input_usd("m-1", at=NOW + timedelta(days=1)) == 1
    assert Rate.objects.count() == 2
    assert load(seeded_price(priced("1")), now=NOW + timedelta(days=2)).prices == 0


def test_change_of_bands_replaces_all_bands() -> None:
    load(seeded_price(priced("2"), priced("4", above_input_tokens=1000)))
    load(seeded_price(priced("2")))
    found = rates_of("m-1", at=NOW)
    assert found is not None
    assert [b.above_input_tokens for b in found.bands] == [0]


def test_announced_price_starts_on_its_day() -> None:
    later = NOW + timedelta(days=30)
    load(seeded_price(priced("1")), seeded_price(priced("2"), starts_at=later))
    assert input_usd("m-1", at=later - timedelta(microseconds=1)) == 1
    assert input_usd("m-1", at=later) == 2


def test_announced_price_can_be_withdrawn() -> None:
    later = NOW + timedelta(days=30)
    load(seeded_price(priced("1")), seeded_price(priced("2"), starts_at=later))
    load(seeded_price(priced("1")), seeded_price(priced("3"), starts_at=later))
    assert input_usd("m-1", at=later) == 3
    load(seeded_price(priced("1")))
    assert input_usd("m-1", at=later) == 1


def test_late_history_does_not_change_past_prices() -> None:
    ExchangeRate.objects.create(
        on_date=date(2026, 1, 2), usd_per_eur=Decimal("1.25"), source="a test"
    )
    load(seeded_price(priced("1")))
    earlier = NOW - timedelta(days=100)
    load(seeded_price(priced("1")), seeded_price(priced("2"), starts_at=earlier))
    assert input_usd("m-1", at=earlier) == 1
    assert input_usd("m-1", at=NOW) == 2


def test_loading_keeps_price_set_by_hand() -> None:
    later = NOW + timedelta(days=30)
    load(seeded_price(priced("2")))
    set_by_hand("1", starts_at=NOW - timedelta(days=1))
    done = load(seeded_price(priced("3")), seeded_price(priced("4"), starts_at=later))
    assert (done.prices, done.set_by_hand) == (0, ("openai m-1",))
    assert input_usd("m-1", at=NOW) == input_usd("m-1", at=later) == 1
    assert input_usd("m-1", at=NOW - timedelta(days=2)) == 2


def test_loading_adds_only_prices_before_one_set_by_hand() -> None:
    set_by_hand("1", starts_at=NOW)
    later = NOW + timedelta(days=30)
    load(seeded_price(priced("2")), seeded_price(priced("3"), starts_at=later))
    assert input_usd("m-1", at=NOW - timedelta(days=1)) == 2
    assert input_usd("m-1", at=later) == 1


def test_price_for_long_requests_requires_base_price() -> None:
    band = priced("4", above_input_tokens=1000)
    with pytest.raises(PriceRefused, match="requires a price from 0 tokens"):
        set_price(band, starts_at=NOW)
    set_by_hand("2", starts_at=NOW)
    set_price(band, starts_at=NOW)
    load()
    found = rates_of("m-1")
    assert found is not None
    assert [b.above_input_tokens for b in found.bands] == [0, 1000]


def test_tier_without_standard_price_has_no_price() -> None:
    load()
    set_price(priced("4", service_tier="priority"), starts_at=NOW)
    assert rates_of("m-1") is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"provider": "opnai"}, "Unknown provider 'opnai'; must be one of anthropic, google"),
        ({"source": "genai-prices 1: forged"}, "is reserved for"),
        ({"model": "m" * 201}, "model: "),
        ({"model": ""}, "model: "),
        ({"band": priced("-1")}, "must be at least 0"),
        ({"band": priced("1", cache_read_usd_per_mtok=Decimal(-1))}, "must be at least 0"),
        ({"band": priced("0.0000000001")}, "input_usd_per_mtok: .*decimal places"),
        ({"band": priced("NaN")}, "input_usd_per_mtok: "),
        ({"band": priced("1", service_tier="x" * 17)}, "service_tier: "),
        ({"band": priced("1", service_tier="default")}, "service_tier: must be a name such as"),
        ({"band": priced("1", above_input_tokens=-1)}, "must be at least 0, not -1"),
        ({"band": priced("100000.1")}, "must be at most 100000"),
        ({"band": priced("1e20")}, "input_usd_per_mtok: "),
        ({"band": priced("Infinity")}, "input_usd_per_mtok: "),
        ({"model": "my model"}, "is not a valid model name"),
        ({"model": "openai/"}, "model: "),
        ({"source": "undone by hand: set by hand"}, "is reserved for"),
        ({"source": " "}, "source: "),
        ({"source": "a\x00b"}, "source: "),
        ({"starts_at": datetime(1970, 1, 1, tzinfo=UTC)}, "must be between the years 2000 and"),
        ({"starts_at": datetime(9999, 12, 31, tzinfo=UTC)}, "must be between the years 2000 and"),
    ],
)
def test_invalid_price_is_rejected(change: dict[str, Any], why: str) -> None:
    wanted: dict[str, Any] = {"band": priced("1")} | change
    with pytest.raises(PriceRefused, match=why):
        set_price(wanted.pop("band"), **wanted)
    assert not Rate.objects.exists()


def test_duplicate_start_is_rejected() -> None:
    set_by_hand("1", starts_at=NOW)
    with pytest.raises(PriceRefused, match="already has a price from 2026-11-23T12:00:00"):
        set_by_hand("2", starts_at=NOW)
    assert Rate.objects.get().input_usd_per_mtok == 1


def test_seeded_bands_survive_database_unchanged() -> None:
    """Stored prices must equal the seed, or every load would find a change."""
    price = seeded_price(
        replace(priced("0.123456789", "99999.123456789"), web_search_usd_per_k=Decimal("0.1"))
    )
    load(price)
    assert load(price).prices == 0


def test_first_name_with_price_is_used() -> None:
    load(seeded_price(priced("1"), model="m"), seeded_price(priced("2"), model="m-0613"))
    assert input_usd("m-0613", "m") == 2
    assert input_usd("m-0314", "m") == 1
    assert input_usd("n", "o") is None
    assert rates_of("m", provider="anthropic") is None
    assert rates_of() is None


def test_name_without_current_price_is_skipped() -> None:
    load(seeded_price(priced("1"), model="m"))
    set_price(priced("2"), model="m-0613", starts_at=NOW + timedelta(days=1))
    assert input_usd("m-0613", "m") == 1
    assert input_usd("m-0613", "m", at=NOW + timedelta(days=1)) == 2


def test_last_known_exchange_rate_is_used_with_its_date() -> None:
    load(seeded_price(priced("1")))
    found = rates_of("m-1", at=NOW + timedelta(days=400))
    assert found is not None
    assert (found.usd_per_eur, found.exchange_rate_date) == (Decimal("1.25"), date(2026, 11, 20))


def test_price_requires_exchange_rate() -> None:
    load(seeded_price(priced("1")))
    assert rates_of("m-1", at=datetime(2026, 11, 19, 23, 59, tzinfo=UTC)) is None
    assert rates_of("m-1", at=datetime(2026, 11, 20, tzinfo=UTC)) is not None


def test_price_book_has_one_version() -> None:
    load(seeded_price(priced("1")))
    book = load_price_book()
    assert book.version == price_list_version()
    set_by_hand("2", starts_at=NOW)
    assert price_list_version() > book.version
    found = book.rates_for(["m-1"], "openai", NOW)
    assert found is not None
    assert standard(found).input_usd_per_mtok == 1


def test_same_rates_are_same_object() -> None:
    load(seeded_price(priced("1")))
    book = load_price_book()
    first = book.rates_for(["m-1"], "openai", NOW)
    assert first is book.rates_for(["m-1"], "openai", NOW + timedelta(seconds=1))


def test_rates_have_no_trailing_zeros() -> None:
    load(seeded_price(priced("150", "0.05")))
    found = rates_of("m-1")
    assert found is not None
    assert '"input_usd_per_mtok":"150","output_usd_per_mtok":"0.05"' in found.card.rates
    assert '"usd_per_eur":"1.25"' in found.card.rates


def test_price_book_takes_five_queries(django_assert_num_queries: Any) -> None:
    prices("load")
    with django_assert_num_queries(5):
        load_price_book()
