"""Prices by the hour in the price list: set, ended, taken back, and what they do to rates."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management.base import CommandError

from costs.core.hours import HourlyRate
from costs.core.pricing import bound_of, price_of
from costs.core.rates import ASKED_FOR
from costs.core.usage import Usage, UsageCeiling
from costs.models import HourlyPrice
from costs.prices.book import load_price_book, price_list_version
from costs.prices.by_hand import set_hourly
from costs.prices.checks import PriceRefused
from costs.prices.undo import undo
from orgs.models import HistoryEvent
from tests.costs.kept_rates import read_rates
from tests.costs.price_list import NOW, load, priced, prices, rates_of, seeded_price

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
USAGE = Usage(input_uncached=1_000, output_text=1_000)


def give(nanoeur: int | None, *, model: str = "", at: Any = NOW, now: Any = NOW) -> HourlyPrice:
    """Set a price by the hour of an OpenAI model or, with None, its end."""
    row = HourlyPrice(
        provider="openai",
        model=model,
        nanoeur_per_hour=nanoeur or 0,
        is_end=nanoeur is None,
        starts_at=at,
        source="lease 7",
    )
    return set_hourly(row, now=now).rows[0]


def by_hour(*names: str, at: Any = NOW) -> HourlyRate | None:
    found = rates_of(*names, at=at)
    assert found is not None
    return found.by_hour


@pytest.fixture(autouse=True)
def two_models() -> None:
    load(seeded_price(priced("2")), seeded_price(priced("3"), model="m-2"))


def test_price_of_provider_is_that_of_all_its_models_from_its_start() -> None:
    give(2_400_000_000, at=NOW + HOUR)
    assert by_hour("m-1") is None
    for name in ("m-1", "m-2"):
        found = by_hour(name, at=NOW + HOUR)
        assert found is not None
        assert (found.model, found.eur_per_hour, found.source) == ("", "2.4", "lease 7")
    give(None, at=NOW + 2 * HOUR)
    assert by_hour("m-1", at=NOW + 2 * HOUR) is None


def test_price_of_model_is_its_own() -> None:
    give(10, model=" OpenAI/M-1 ")
    found = by_hour("m-1")
    assert found is not None
    assert found.model == "m-1"
    assert by_hour("m-2") is None


def test_usage_is_estimate_and_bound_is_not() -> None:
    before = rates_of("m-1")
    give(0)
    after = rates_of("m-1")
    assert before is not None
    assert after is not None
    was, is_ = price_of(USAGE, before), price_of(USAGE, after)
    assert (was.nanoeur, was.unpriced) == (is_.nanoeur, is_.unpriced)
    assert (was.is_estimate, is_.is_estimate) == (False, True)
    most = UsageCeiling(input_tokens=1_000, output_tokens=1_000, without=ASKED_FOR)
    assert bound_of(most, before) == bound_of(most, after)
    assert not bound_of(most, after).unpriced
    assert json.loads(after.card.rates)["by_hour"] == {
        "model": "",
        "eur_per_hour": "0",
        "starts_at": NOW.isoformat(),
        "source": "lease 7",
    }
    assert read_rates(after.card.rates).bands == before.bands


def test_model_without_token_price_stays_unpriced() -> None:
    give(10, model="m-3")
    assert rates_of("m-3") is None


def test_change_raises_version_and_is_next_change() -> None:
    version = price_list_version()
    give(10, at=NOW + HOUR)
    assert price_list_version() > version
    assert load_price_book().next_change(["m-1"], "openai", NOW) == NOW + HOUR
    assert HistoryEvent.objects.get(event="hourly_price_set").subject_type == "hourlyprice"


def test_price_in_past_is_refused() -> None:
    with pytest.raises(PriceRefused, match="must begin now or later"):
        give(10, at=NOW - timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"provider": "unknown"}, "Unknown provider"),
        ({"model": "m-*"}, "not a valid model name"),
        ({"nanoeur_per_hour": -1}, "between 0 and 100000 EUR"),
        ({"nanoeur_per_hour": 10**14 + 1}, "between 0 and 100000 EUR"),
        ({"source": "genai-prices 1: x"}, "reserved"),
    ],
)
def test_invalid_price_is_refused(changes: dict[str, Any], sentence: str) -> None:
    usual = {"provider": "openai", "nanoeur_per_hour": 1, "starts_at": NOW, "source": "a"}
    with pytest.raises(PriceRefused, match=sentence):
        set_hourly(HourlyPrice(**usual | changes), now=NOW)
    assert not HourlyPrice.objects.exists()


@pytest.mark.parametrize(("first", "second"), [("", "m-1"), ("m-1", "")])
def test_provider_and_model_have_no_price_at_once(first: str, second: str) -> None:
    give(10, model=first, at=NOW + HOUR)
    for at in (NOW, NOW + HOUR, NOW + 9 * HOUR):
        with pytest.raises(PriceRefused, match="of its own at the same time"):
            give(20, model=second, at=at)
    assert HourlyPrice.objects.count() == 1
    later = NOW + timedelta(minutes=1)
    give(None, model=first, at=NOW + 2 * HOUR, now=later)
    give(20, model=second, at=NOW + 2 * HOUR, now=later)
    with pytest.raises(PriceRefused, match="of its own at the same time"):
        undo(provider="openai", model=first or "*", now=later)
    assert HourlyPrice.objects.count() == 3


def test_models_may_each_have_their_own() -> None:
    give(10, model="m-1")
    give(20, model="m-2")
    assert {by_hour(name) and by_hour(name).nanoeur_per_hour for name in ("m-1", "m-2")} == {10, 20}  # type: ignore[union-attr]


def test_prices_are_taken_back_in_turn() -> None:
    give(10)
    give(20, at=NOW + HOUR, now=NOW + HOUR)
    give(None, at=NOW + 2 * HOUR, now=NOW + 2 * HOUR)
    seen = []
    for hour in (3, 4, 5):
        at = NOW + hour * HOUR
        undo(provider="openai", model="*", now=at)
        found = by_hour("m-1", at=at)
        seen.append(found and found.nanoeur_per_hour)
    assert seen == [20, 10, None]
    with pytest.raises(PriceRefused, match="set by hand"):
        undo(provider="openai", model="*", now=NOW + 6 * HOUR)


def test_announced_price_is_deleted() -> None:
    give(10, at=NOW + HOUR)
    undo(provider="openai", model="*", now=NOW)
    assert not HourlyPrice.objects.exists()


# --- commands -----------------------------------------------------------------------------------


def test_command_sets_shows_lists_and_takes_back() -> None:
    out = prices("set", "*", "--provider", "openai", "--eur-per-hour", "2.40")
    assert "openai *: 2.4 EUR an hour from" in out
    assert "by the hour: none -> 2.4 EUR" in out
    shown = prices("show", "m-1")
    assert "by the hour: 2.4 EUR" in shown
    assert "an estimate until an hour is over" in shown
    [kept] = json.loads(prices("show", "m-1", "--format", "json"))
    assert (kept["by_hour"]["model"], kept["by_hour"]["eur_per_hour"]) == ("", "2.4")
    assert "set by hand: 2.4 EUR an hour" in prices("list", "--by-hand")
    [listed] = json.loads(prices("list", "--by-hand", "--format", "json"))
    [entry] = listed["set_by_hand"]
    assert (entry["kind"], entry["eur_per_hour"], listed["model"]) == ("hourly", "2.4", "*")
    out = prices("set", "*", "--provider", "openai", "--by-token")
    assert "priced by tokens" in out
    assert "by the hour: 2.4 EUR -> none" in out
    assert "Taken back: openai *, priced by tokens" in prices("undo", "*", "--provider", "openai")
    out = prices("undo", entry["id"])
    assert "Taken back: openai *, 2.4 EUR an hour" in out
    assert "by the hour: 2.4 EUR -> none" in out


def test_preview_changes_nothing() -> None:
    out = prices("set", "m-1", "--provider", "openai", "--eur-per-hour", "1", "--preview")
    assert "by the hour: none -> 1 EUR" in out
    assert not HourlyPrice.objects.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--eur-per-hour", "-1"), "0 or more"),
        (("--eur-per-hour", "0.0000000001"), "nine decimal places"),
        (("--eur-per-hour", "NaN"), "must be a number"),
        (("--eur-per-hour", "1", "--input", "2"), "exactly one of them"),
        (("--eur-per-hour", "1", "--by-token"), "exactly one of them"),
        (("--eur-per-hour", "1", "--from", "2020-01-01"), "must begin now or later"),
    ],
)
def test_bad_options_are_refused(options: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        prices("set", "m-1", "--provider", "openai", *options)
    assert not HourlyPrice.objects.exists()
