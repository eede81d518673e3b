"""Prices and factors set by hand keep the rest, and can be taken back."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from costs.core.rates import Band, Rates
from costs.models import PriceFactor, Rate
from costs.prices.by_hand import GivenPrice, set_factor, set_prices
from costs.prices.checks import PriceRefused
from costs.prices.undo import undo
from tests.costs.price_list import (
    NOW,
    input_usd,
    load,
    priced,
    rates_of,
    seeded_price,
    set_by_hand,
    set_price,
)

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

LATER = NOW + timedelta(days=30)
INPUT, OUTPUT, CACHE = "input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok"
LONG = priced("4", "16", above_input_tokens=1000, cache_read_usd_per_mtok=Decimal(2))
BASE = priced("2", cache_read_usd_per_mtok=Decimal(1), web_search_usd_per_k=Decimal(10))


def give(usd: str, column: str = INPUT, *, keeps_rest: bool = True, **more: Any) -> None:
    given: dict[str, Any] = {"provider": "openai", "model": "m-1", "starts_at": NOW} | more
    set_prices([GivenPrice(prices={column: Decimal(usd)}, **given)], now=NOW, keeps_rest=keeps_rest)


def bands(**at: Any) -> dict[tuple[str, int], Band]:
    found = rates_of("m-1", **at)
    return {(b.service_tier, b.above_input_tokens): b for b in (found.bands if found else ())}


def discount(percent: int, **more: Any) -> PriceFactor:
    values: dict[str, Any] = {
        "provider": "openai",
        "model": "m-1",
        "kind": "discount",
        "starts_at": NOW,
    }
    row: dict[str, Any] = (
        {"source": "our contract", "factor": 1 - Decimal(percent) / 100} | values | more
    )
    now = row.pop("now", NOW)
    return set_factor(PriceFactor(**row), now=now).rows[0]


def rates(**at: Any) -> Rates:
    found = rates_of("m-1", **at)
    assert found is not None
    return found


def test_price_for_one_thing_keeps_others() -> None:
    load(seeded_price(BASE, LONG), seeded_price(priced("3", service_tier="priority")))
    before = bands()
    give("5")
    after = bands()
    assert after.keys() == before.keys()
    assert after["standard", 1000] == before["standard", 1000]
    assert after["priority", 0] == before["priority", 0]
    assert after["standard", 0].input_usd_per_mtok == 5
    assert after["standard", 0].cache_read_usd_per_mtok == 1
    assert after["standard", 0].web_search_usd_per_k == 10
    assert after["standard", 0].output_usd_per_mtok == 8


def test_price_of_band_keeps_base_and_other_tiers() -> None:
    load(seeded_price(BASE, LONG), seeded_price(priced("3", service_tier="priority")))
    give("3", CACHE, above_input_tokens=1000)
    assert bands()["standard", 0] == BASE
    assert bands()["standard", 1000].cache_read_usd_per_mtok == 3
    assert bands()["standard", 1000].output_usd_per_mtok == 16
    give("7", service_tier="priority", starts_at=NOW + timedelta(seconds=1))
    assert bands(at=LATER)["standard", 1000].cache_read_usd_per_mtok == 3
    assert bands(at=LATER)["priority", 0].input_usd_per_mtok == 7


def test_rest_is_dropped_by_wish_only() -> None:
    load(seeded_price(BASE, LONG))
    with pytest.raises(PriceRefused, match="output must be given"):
        give("5", keeps_rest=False)
    prices = {INPUT: Decimal(5), OUTPUT: Decimal(6)}
    only = GivenPrice(provider="openai", model="m-1", prices=prices, starts_at=NOW)
    set_prices([only], now=NOW, keeps_rest=False)
    assert list(bands()) == [("standard", 0)]
    assert bands()["standard", 0].cache_read_usd_per_mtok is None


def test_several_prices_are_added_together_or_not_at_all() -> None:
    load(seeded_price(BASE, LONG))
    both = [
        GivenPrice(
            provider="openai",
            model="m-1",
            prices={INPUT: Decimal(usd)},
            above_input_tokens=above,
            starts_at=NOW,
        )
        for usd, above in ((9, 1000), (8, 0))
    ]
    set_prices(both, now=NOW)
    assert [b.input_usd_per_mtok for b in bands().values()] == [8, 9]
    count = Rate.objects.count()
    bad = GivenPrice(provider="x", model="m", prices={INPUT: Decimal(1)}, starts_at=LATER)
    with pytest.raises(PriceRefused):
        set_prices([GivenPrice(provider="openai", model="m-1", prices={INPUT: Decimal(3)},
                               starts_at=LATER), bad], now=NOW)  # fmt: skip
    assert Rate.objects.count() == count


def test_names_are_compared_in_lower_case() -> None:
    load(seeded_price(BASE))
    set_price(priced("3"), model=" OpenAI/M-1 ", provider="OpenAI")
    assert input_usd("m-1") == 3


def test_announced_price_of_list_does_not_replace_one_set_by_hand() -> None:
    load(seeded_price(BASE), seeded_price(priced("4"), starts_at=LATER))
    give("3")
    assert input_usd("m-1", at=LATER) == 3


@pytest.mark.parametrize("is_by_hand", [False, True])
def test_price_that_would_never_be_in_force_is_refused(is_by_hand: bool) -> None:
    begun = NOW - timedelta(hours=9)
    load(seeded_price(BASE), *([] if is_by_hand else [seeded_price(priced("4"), starts_at=begun)]))
    if is_by_hand:
        give("4", starts_at=begun)
    with pytest.raises(PriceRefused, match=r"is in force from 2026-11-23T03.*; give a later start"):
        give("5", starts_at=begun - timedelta(hours=1))
    assert input_usd("m-1", at=begun - timedelta(hours=1)) == 2
    give("5", starts_at=begun + timedelta(hours=1))
    assert input_usd("m-1") == 5


# --- undo ---------------------------------------------------------------------------------------


def take_back(*, now: Any, **more: Any) -> None:
    undo(**{"provider": "openai", "model": "m-1"} | more, now=now)


def test_price_in_force_is_followed_by_what_was_before() -> None:
    load(seeded_price(BASE, LONG))
    give("5")
    rows = set(Rate.objects.values_list("id", flat=True))
    at = NOW + timedelta(hours=1)
    take_back(now=at)
    assert bands(at=at) == {("standard", 0): BASE, ("standard", 1000): LONG}
    assert input_usd("m-1", at=at - timedelta(microseconds=1)) == 5
    assert rows <= set(Rate.objects.values_list("id", flat=True))


def test_announced_price_is_deleted() -> None:
    load(seeded_price(BASE))
    give("5", starts_at=LATER)
    take_back(now=NOW)
    assert input_usd("m-1", at=LATER) == 2
    assert Rate.objects.count() == 1


def test_list_may_update_price_that_was_taken_back() -> None:
    load(seeded_price(BASE))
    give("5")
    assert load(seeded_price(priced("3"))).set_by_hand == ("openai m-1",)
    take_back(now=NOW + timedelta(hours=1))
    at = NOW + timedelta(hours=2)
    done = load(seeded_price(priced("3")), seeded_price(priced("4"), starts_at=LATER), now=at)
    assert (done.prices, done.set_by_hand) == (2, ())
    assert input_usd("m-1", at=at) == 3
    assert input_usd("m-1", at=LATER) == 4
    assert (
        load(seeded_price(priced("3")), seeded_price(priced("4"), starts_at=LATER), now=at).prices
        == 0
    )


def test_prices_are_taken_back_in_turn() -> None:
    load(seeded_price(BASE))
    for hour, usd in enumerate(("3", "4")):
        set_by_hand(usd, starts_at=NOW + timedelta(hours=hour), now=NOW + timedelta(hours=hour))
    seen = []
    for hour in (2, 3):
        at = NOW + timedelta(hours=hour)
        take_back(now=at)
        seen.append(input_usd("m-1", at=at))
        if hour == 2:
            assert load(seeded_price(priced("9")), now=at).set_by_hand == ("openai m-1",)
    assert seen == [3, 2]
    with pytest.raises(PriceRefused, match="has no price or factor set by hand"):
        take_back(now=NOW + timedelta(hours=4))


def test_model_without_earlier_price_has_none_afterwards() -> None:
    load()
    set_by_hand("3", starts_at=NOW)
    at = NOW + timedelta(hours=1)
    take_back(now=at)
    assert rates_of("m-1", at=at) is None
    assert input_usd("m-1") == 3
    assert load(seeded_price(priced("0", "0")), now=at + timedelta(hours=1)).prices == 1
    assert input_usd("m-1", at=LATER) == 0


def test_snapshot_without_price_of_its_own_takes_other_name_again() -> None:
    load(seeded_price(BASE))
    set_price(priced("3"), model="m-1-0613")
    take_back(model="m-1-0613", now=NOW + timedelta(hours=1))
    assert input_usd("m-1-0613", "m-1", at=LATER) == 2


def test_start_selects_what_is_taken_back() -> None:
    load(seeded_price(BASE))
    give("5", starts_at=LATER)
    give("3")
    take_back(starts_at=LATER, now=NOW)
    assert input_usd("m-1", at=LATER) == 3
    with pytest.raises(PriceRefused, match="no price or factor set by hand from 2026-12-23"):
        take_back(starts_at=LATER, now=NOW)


# --- factors ------------------------------------------------------------------------------------


def test_discount_applies_from_its_start_to_its_end() -> None:
    load(seeded_price(BASE))
    discount(20)
    discount(0, starts_at=LATER)
    assert rates(at=NOW - timedelta(seconds=1)).discount == 1
    assert rates().discount == Decimal("0.8")
    assert rates(at=LATER).discount == 1


def test_discount_of_model_counts_before_that_of_provider() -> None:
    load(seeded_price(BASE))
    discount(20, model="")
    assert rates().discount == Decimal("0.8")
    discount(50)
    assert rates().discount == Decimal("0.5")
    take_back(now=NOW + timedelta(hours=1))
    assert rates(at=LATER).discount == Decimal("0.8")
    assert rates().discount == Decimal("0.5")


def test_factor_of_model_counts_before_later_one_of_wildcard() -> None:
    load(seeded_price(BASE))
    discount(0, kind="place", place="eu", factor=Decimal("1.2"))
    PriceFactor.objects.create(
        provider="openai", model="m*", kind="place", place="eu", factor=Decimal("1.1"),
        starts_at=LATER, source="pulse prices.toml: a page",
    )  # fmt: skip
    assert rates(at=LATER).places == {"eu": Decimal("1.2")}


def test_discount_that_is_taken_back_restores_earlier_one() -> None:
    load(seeded_price(BASE))
    discount(20)
    discount(50, starts_at=NOW + timedelta(hours=1), now=NOW + timedelta(hours=1))
    take_back(now=NOW + timedelta(hours=2))
    assert rates(at=LATER).discount == Decimal("0.8")
    take_back(now=NOW + timedelta(hours=3))
    assert rates(at=LATER).discount == 1


def test_place_that_is_taken_back_is_unknown() -> None:
    load(seeded_price(BASE))
    discount(0, kind="place", place="EU", factor=Decimal("1.1"))
    assert rates().places == {"eu": Decimal("1.1")}
    take_back(now=NOW + timedelta(hours=1))
    assert rates(at=LATER).places == {}


def test_last_change_is_taken_back_first() -> None:
    load(seeded_price(BASE))
    give("3")
    discount(20, now=NOW + timedelta(seconds=1), starts_at=NOW + timedelta(seconds=1))
    take_back(now=NOW + timedelta(hours=1))
    assert rates(at=LATER).discount == 1
    assert input_usd("m-1", at=LATER) == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"provider": "opnai"}, "Unknown provider"),
        ({"factor": Decimal("-0.2")}, "must be between 0 and 1"),
        ({"factor": Decimal("1.2")}, "must be between 0 and 1"),
        ({"factor": Decimal("0.1234567")}, "factor: "),
        ({"factor": Decimal("NaN")}, "factor: "),
        ({"place": "eu"}, "applies to every place"),
        ({"kind": "place", "place": ""}, "place: must be a name"),
        ({"kind": "place", "place": "global"}, "place: must be a name"),
        ({"kind": "place", "place": "eu", "factor": Decimal(0)}, "must be above 0"),
        ({"kind": "place", "place": "eu", "factor": Decimal(101)}, "at most 100"),
        ({"kind": "gift"}, "kind: "),
        ({"source": "genai-prices 1: x"}, "reserved"),
    ],
)
def test_invalid_factor_is_rejected(change: dict[str, Any], why: str) -> None:
    with pytest.raises(PriceRefused, match=why):
        discount(20, **change)
    assert not PriceFactor.objects.exists()


def test_discount_that_would_never_apply_is_refused() -> None:
    discount(20)
    with pytest.raises(PriceRefused, match=r"is in force from 2026-11-23.*; give a later start"):
        discount(30, starts_at=NOW - timedelta(days=1))
    discount(30, model="", starts_at=NOW - timedelta(days=1))


def test_second_discount_from_same_moment_is_rejected() -> None:
    discount(20)
    with pytest.raises(PriceRefused, match=r"openai m-1 already has a factor from 2026-11-23T12"):
        discount(30)
