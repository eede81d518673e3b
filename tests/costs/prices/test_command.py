"""`prices show` and `prices set`, as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.management import CommandError

from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from costs.models import Rate
from tests.costs.kept_rates import read_rates
from tests.costs.price_list import load, priced, prices, rates_of

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_show_prints_current_price() -> None:
    prices("load")
    printed = prices("show", "gpt-4o-mini", "--at", "2026-11-01")
    assert "openai gpt-4o-mini" in printed
    assert "standard: input 0.15, output 0.6, cache_read 0.075" in printed
    assert "1 EUR = 1.1172 USD (ECB, 2026-10-30)" in printed
    assert "source: genai-prices " in printed


def test_show_json_matches_stored_rates() -> None:
    prices("load")
    (shown,) = json.loads(prices("show", "openai/GPT-4o", "--at", "2024-10-01", "--format", "json"))
    assert shown["exchange_rate_date"] == "2024-10-01"
    assert read_rates(shown).standard.input_usd_per_mtok == Decimal("2.5")


def test_set_then_show() -> None:
    load()
    printed = prices(
        "set", "My-Model", "--provider", "openai", "--input", "2", "--output", "8",
        "--cache-read", "0.5", "--cache-write-5m", "2.5", "--cache-write-1h", "4",
        "--from", "2026-11-22", "--source", "our contract",
    )  # fmt: skip
    expected = "openai my-model costs 2 USD in and 8 USD out per million tokens from 2026-11-22T"
    assert printed.startswith(expected)
    found = rates_of("my-model")
    assert found is not None
    assert found.source == "our contract"
    assert found.standard == priced(
        "2",
        cache_read_usd_per_mtok=Decimal("0.5"),
        cache_write_5m_usd_per_mtok=Decimal("2.5"),
        cache_write_1h_usd_per_mtok=Decimal(4),
    )
    assert rates_of("my-model", at=datetime(2026, 11, 21, tzinfo=UTC)) is None


def test_zero_price_can_be_set() -> None:
    load()
    prices("set", "gemma-4-31b-it", "--provider", "google", "--input", "0", "--output", "0",
           "--from", "2026-01-01")  # fmt: skip
    found = rates_of("gemma-4-31b-it", provider="google")
    assert found is not None
    assert cost_nanoeur(Usage(input_uncached=10**6), found) == 0


SET = ("set", "m-1", "--provider", "openai")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("show", "no-such-model"), "no-such-model has no price at "),
        (
            ("show", "gpt-4", "--at", "soon"),
            "must be a date .* or a timestamp, not 'soon'",
        ),
        ((*SET, "--input", "1"), "--output"),
        ((*SET, "--input", "cheap", "--output", "1"), "must be an amount, not 'cheap'"),
        ((*SET, "--input", "-1", "--output", "1"), "--input"),
        ((*SET, "--input", "inf", "--output", "1"), "must be an amount of 0 or more, not 'inf'"),
        (("set", "m", "--provider", "x", "--input", "1", "--output", "1"), "Unknown provider 'x'"),
        (("sell",), "sell"),
        ((), "required"),
    ],
)
def test_invalid_input_gets_one_line(arguments: Sequence[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        prices(*arguments)
    assert not Rate.objects.exists()
