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
from costs.models import PriceFactor, Rate
from costs.prices.seed import SHORT_NAMES
from tests.costs.kept_rates import read_rates
from tests.costs.price_list import load, priced, prices, rates_of, seeded_price, standard

LONG = priced("4", above_input_tokens=1000)
pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_show_prints_current_price() -> None:
    prices("load")
    printed = prices("show", "gpt-4o-mini", "--at", "2026-11-01")
    assert "openai gpt-4o-mini" in printed
    assert "standard: input 0.15, output 0.6, cache_read 0.075" in printed
    assert "1 EUR = 1.1172 USD (rate of 2026-10-30)" in printed
    assert "source: genai-prices " in printed


def test_show_json_matches_stored_rates() -> None:
    prices("load")
    (shown,) = json.loads(prices("show", "openai/GPT-4o", "--at", "2024-10-01", "--format", "json"))
    assert shown["exchange_rate_date"] == "2024-10-01"
    assert standard(read_rates(shown)).input_usd_per_mtok == Decimal("2.5")


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
    assert standard(found) == priced(
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


def test_every_price_can_be_set_and_is_kept() -> None:
    load()
    options = [f"--{short.replace('_', '-')}" for short in SHORT_NAMES]
    prices(*SET, *(part for n, name in enumerate(options, 1) for part in (name, str(n))))
    printed = prices(*SET, "--input", "0.5")
    assert "input 1 -> 0.5; kept: output 2, cache_read 3, cache_read_audio 4" in printed
    assert "web_search_preview 12" in printed


def test_preview_changes_nothing() -> None:
    load(seeded_price(priced("2", cache_read_usd_per_mtok=Decimal(1))))
    printed = prices(*SET, "--input", "3", "--preview")
    assert "would cost 3 USD in and 8 USD out" in printed
    assert "standard: input 2 -> 3; kept: output 8, cache_read 1" in printed
    assert "1,000 tokens in and 1,000 out: 0.008 EUR -> 0.0088 EUR" in printed
    assert "nothing was changed" in printed
    prices(*SET, "--discount", "20", "--preview")
    assert Rate.objects.count() == 1
    assert not PriceFactor.objects.exists()
    prices(*SET, "--input", "3")
    assert "input 3 -> 2" in prices("undo", "m-1", "--provider", "openai", "--preview")
    assert Rate.objects.count() == 2


def test_dropped_prices_are_named() -> None:
    load(seeded_price(priced("2", cache_read_usd_per_mtok=Decimal(1)), LONG))
    printed = prices(*SET, "--input", "3", "--output", "8", "--only")
    assert "standard: input 2 -> 3; kept: output 8; dropped: cache_read 1" in printed
    assert "standard above 1000 input tokens: dropped: input 4, output 8" in printed


def test_discount_of_provider_names_models_that_change() -> None:
    load(seeded_price(priced("2")))
    printed = prices("set", "*", "--provider", "openai", "--discount", "12.5")
    assert "openai *: 12.5 % off" in printed
    assert "openai m-1 from" in printed
    assert "discount: none -> 12.5 %" in printed
    assert "discount: 12.5 %" in prices("show", "m-1")
    assert "12.5 % off" in prices("undo", "*", "--provider", "openai")
    assert "discount" not in prices("show", "m-1")


def test_place_is_set_and_taken_back_by_id() -> None:
    load(seeded_price(priced("2")))
    prices(*SET, "--factor", "1.1", "--place", "eu")
    assert "place eu: x 1.1" in prices("show", "m-1")
    (row,) = json.loads(prices("list", "--by-hand", "--format", "json"))
    (set_by_hand,) = row["set_by_hand"]
    assert (set_by_hand["kind"], set_by_hand["factor"]) == ("place", "1.100000")
    prices("undo", set_by_hand["id"])
    assert "place" not in prices("show", "m-1")
    assert prices("list", "--by-hand") == "none\n"


def test_list_marks_prices_by_hand_and_announced_ones() -> None:
    load(seeded_price(priced("2")), seeded_price(priced("2"), model="m-2"))
    prices(*SET, "--input", "3", "--source", "our contract")
    prices(*SET, "--input", "4", "--from", "2099-01-01")
    rows = json.loads(prices("list", "--provider", "openai", "--format", "json"))
    assert [(row["model"], row["by_hand"]) for row in rows] == [("m-1", True), ("m-2", False)]
    assert rows[0]["bands"][0]["input_usd_per_mtok"] == "3"
    assert [each["starts_at"][:10] for each in rows[0]["announced"]] == ["2099-01-01"]
    assert [each["announced"] for each in rows[0]["set_by_hand"]] == [False, True]
    text = prices("list", "--by-hand")
    assert "set by hand: standard from" in text
    assert "(our contract), id" in text
    assert "announced from 2099-01-01T00:00:00+00:00: standard: input 4, output 8" in text
    assert "m-2" not in text


def test_list_has_only_models_and_what_is_set_by_hand() -> None:
    prices("load")
    assert "*" not in prices("list", "--limit", "1000")
    prices("set", "*", "--provider", "openai", "--factor", "1.2", "--place", "eu")
    rows = json.loads(prices("list", "--provider", "openai", "--format", "json"))
    assert [row["model"] for row in rows if "*" in row["model"]] == ["*"]


def test_list_is_paged() -> None:
    load(*(seeded_price(priced("2"), model=f"m-{n}") for n in range(3)))
    first = prices("list", "--limit", "2")
    assert "1 more; continue with --after openai/m-1" in first
    assert prices("list", "--after", "openai/m-1").startswith("openai m-2\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("show", "no-such-model"), "no-such-model has no price at "),
        (
            ("show", "gpt-4", "--at", "soon"),
            "must be a date, or a date and time, such as",
        ),
        ((*SET, "--input", "1"), "output must be given: openai m-1 has no standard price"),
        (SET, "exactly one of them"),
        ((*SET, "--only"), "At least one price must be given"),
        ((*SET, "--input", "1", "--output", "1", "--discount", "5"), "exactly one of them"),
        ((*SET, "--discount", "101"), "must be between 0 and 100 percent, not '101'"),
        ((*SET, "--discount", "0.00001"), "factor: "),
        ((*SET, "--discount", "nan"), "must be a number"),
        ((*SET, "--factor", "1.1"), "--factor and --place must be given together"),
        (("set", " ", "--provider", "openai", "--discount", "5"), "A model must be given"),
        (("undo", "m-1"), "--provider must be given"),
        (("undo", "m-1", "--provider", "openai"), "has no price or factor set by hand"),
        (("undo", "01a22584-6711-77d4-9a41-c6f93c08ea4a"), "No price or factor has the id"),
        (("load", "--preview"), "--preview must be given with --file"),
        (("load", "--file", "no-such-file"), "cannot be read"),
        (("list", "--limit", "0"), "must be an integer between 1 and 1000"),
        (("list", "--after", "gpt-4o"), "must be a provider and a model"),
        (
            (*SET, "--input", "cheap", "--output", "1"),
            "such as 1.0842, not 'cheap'",
        ),
        ((*SET, "--input", "-1", "--output", "1"), "--input"),
        ((*SET, "--input", "inf", "--output", "1"), "must be a number such as 1.0842, not 'inf'"),
        (("set", "m", "--provider", "x", "--input", "1", "--output", "1"), "Unknown provider 'x'"),
        (("sell",), "sell"),
        ((), "required"),
    ],
)
def test_invalid_input_gets_one_line(arguments: Sequence[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        prices(*arguments)
    assert not Rate.objects.exists()
