"""Rows that cannot be right are refused by the database, and count as unknown."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from costs.models import ExchangeRate, PriceFactor, Rate
from costs.prices.seed import SHORT_NAMES
from tests.costs.price_list import NOW, load, priced, prices, rates_of, seeded_price, set_price
from tests.costs.unusable import walls_down
from tests.databases import by_hand

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

LONG = priced("4", above_input_tokens=1000)
BAD = (
    *(f"{column} = -5" for column in SHORT_NAMES.values()),
    *(f"{column} = 100001" for column in SHORT_NAMES.values()),
    "above_input_tokens = -1",
    "model = 'M-1'",
    "model = ' m-1'",
    "model = ''",
    "provider = 'OpenAI'",
    "service_tier = 'Standard'",
)
BAD_FACTORS = ("factor = -1", "factor = 1.5", "place = 'eu'", "kind = 'place'", "model = 'M-1'")


@pytest.fixture
def factor() -> PriceFactor:
    return PriceFactor.objects.create(
        provider="openai", kind="discount", factor=Decimal("0.5"), starts_at=NOW, source="a test"
    )


@pytest.mark.parametrize("change", BAD)
def test_database_refuses_unusable_price(change: str) -> None:
    load(seeded_price(priced("2")))
    with pytest.raises(IntegrityError), transaction.atomic():
        by_hand(f"UPDATE rate SET {change}")  # noqa: S608
    row = Rate.objects.get()
    column, _, value = change.partition(" = ")
    row.pk, row.starts_at = None, NOW
    setattr(row, column, value.strip("'"))
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.parametrize("change", BAD_FACTORS)
def test_database_refuses_unusable_factor(factor: PriceFactor, change: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        by_hand(f"UPDATE price_factor SET {change}")  # noqa: S608


@pytest.mark.parametrize("usd", ["-5", "1e30", "NaN", "text"])
def test_price_with_unusable_amount_is_unknown(usd: str, caplog: pytest.LogCaptureFixture) -> None:
    if connection.vendor == "postgresql" and usd in ("1e30", "text"):
        pytest.skip("the column cannot have it")
    load(seeded_price(priced("2", cache_read_usd_per_mtok=Decimal(1))))
    set_price(priced("3"))
    with walls_down(), caplog.at_level(logging.ERROR, logger="pulse.prices"):
        Rate.objects.filter(input_usd_per_mtok=3).update(source="by SQL")
        by_hand(f"UPDATE rate SET cache_read_usd_per_mtok = '{usd}' WHERE source = 'by SQL'")  # noqa: S608
        assert rates_of("m-1") is None
        assert rates_of("m-1", at=NOW - timedelta(days=1)) is not None
        assert "cannot be used and counts as unknown: Row(provider='openai', model='m-1'" in (
            caplog.text
        )


def test_unusable_price_of_snapshot_is_not_that_of_its_model() -> None:
    load(seeded_price(priced("2")), seeded_price(priced("3"), model="m-1-0613"))
    with walls_down():
        Rate.objects.filter(model="m-1-0613").update(output_usd_per_mtok=-1)
        assert rates_of("m-1-0613", "m-1") is None


def test_unusable_tier_has_no_rates() -> None:
    load(seeded_price(priced("2")), seeded_price(priced("3", service_tier="priority")))
    with walls_down():
        Rate.objects.filter(service_tier="priority").update(output_usd_per_mtok=-1)
        found = rates_of("m-1")
    assert found is not None
    assert [band.service_tier for band in found.bands] == ["standard"]


def test_price_without_standard_band_is_unknown() -> None:
    load(seeded_price(priced("2"), LONG))
    set_price(priced("3"))
    Rate.objects.filter(starts_at=NOW, above_input_tokens=0).delete()
    assert rates_of("m-1") is None


def test_unusable_discount_is_none(factor: PriceFactor) -> None:
    load(seeded_price(priced("2")))
    for change in BAD_FACTORS[:2]:
        with walls_down():
            by_hand(f"UPDATE price_factor SET {change}")  # noqa: S608
            found = rates_of("m-1")
            assert found is not None
            assert found.discount == 1


def test_exchange_rate_before_unusable_one_is_used() -> None:
    load(seeded_price(priced("2")))
    with walls_down():
        ExchangeRate.objects.create(on_date=date(2026, 11, 22), usd_per_eur=-1, source="by SQL")
        found = rates_of("m-1", at=datetime(2026, 11, 23, tzinfo=UTC))
        assert found is not None
        assert found.usd_per_eur == Decimal("1.25")


def test_unusable_price_by_hand_can_be_taken_back_and_replaced() -> None:
    load(seeded_price(priced("2")))
    set_price(priced("3"))
    with walls_down():
        Rate.objects.filter(starts_at=NOW).update(input_usd_per_mtok=-5)
        assert "set by hand: standard from 2026-11-23T12" in prices("list")
    prices("undo", "m-1", "--provider", "openai")
    assert rates_of("m-1", at=datetime(2099, 1, 1, tzinfo=UTC)) is not None
