"""The simulated working day is played to its end, its books add up, and it is near measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from benchmarks.simulation import tables
from benchmarks.simulation.checks import AGENTS, at_once
from benchmarks.simulation.holds import AT_ONCE, KNOWN, LOWERED, SLICES, WAYS, Way
from benchmarks.simulation.load import Developer, all_turns, working_day
from benchmarks.simulation.play import (
    MakeRules,
    Played,
    limits_of,
    of_each_key,
    of_organization,
    played,
    principals,
)
from benchmarks.simulation.prices import EUR, rates

DEVELOPERS: Final = 3
LIMITS: Final = {"all": of_organization(15 * EUR), "each key": of_each_key(4 * EUR)}


@pytest.fixture(scope="module")
def day() -> Sequence[Developer]:
    """A day that costs 32 EUR."""
    return working_day(developers=DEVELOPERS, seed=1)


def test_each_way_gets_same_day() -> None:
    assert working_day(developers=2, seed=1) == working_day(developers=2, seed=1)
    assert working_day(developers=2, seed=1) != working_day(developers=2, seed=2)


def test_developers_cost_what_is_published() -> None:
    day = working_day(developers=50, seed=1)
    eur = sorted(each.cost_nanoeur / EUR for each in day)
    usd = [each * float(rates().usd_per_eur) for each in eur]
    assert 12.5 < sum(usd) / 50 < 14
    assert sum(each < 30 for each in usd) == 45


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.hold.__name__)
def test_books_add_up(day: Sequence[Developer], way: Way, limit: str) -> None:
    over = played(day, way, LIMITS[limit])
    turns = [turn for developer in day for turn in all_turns(developer)]
    assert over.counts.turns == len(turns)
    assert 0 < over.counts.refused < len(turns)
    assert +over.ledger.held == {}
    assert _charged(over) == over.counts.cost_nanoeur
    if not over.counts.cut:
        asked = over.counts.cost_nanoeur + over.counts.refused_nanoeur.total()
        assert asked == sum(developer.cost_nanoeur for developer in day)
    if not way.grows:
        assert over.ledger.passed_nanoeur <= 0
    _assert_left_is_unspent(over, LIMITS[limit], way)


def _charged(over: Played) -> int:
    """Return the charges of all limits together, of which each call is in one that refuses."""
    return sum(over.ledger.charged[scope] for scope in over.ledger.limits)


def _assert_left_is_unspent(over: Played, rules: MakeRules, way: Way) -> None:
    callers = principals(DEVELOPERS)
    limits = {
        scope: limit
        for caller in callers
        for scope, limit in limits_of(rules(callers, way), caller).items()
    }
    charged = over.ledger.charged
    left = sum(max(0, limit - charged[scope]) for scope, limit in limits.items())
    assert 0 <= over.wanted_nanoeur <= left


def test_hold_that_knows_costs_leaves_next_to_nothing(day: Sequence[Developer]) -> None:
    over = played(day, KNOWN, of_organization(15 * EUR))
    assert over.wanted_nanoeur < EUR // 20
    assert over.counts.early == 0


def test_lower_holds_use_more_of_limit(day: Sequence[Developer]) -> None:
    ways = (AT_ONCE, LOWERED, KNOWN)
    left = [played(day, way, of_each_key(4 * EUR)).wanted_nanoeur for way in ways]
    assert left == sorted(left, reverse=True)
    assert left[0] > 4 * left[1] > left[2]


def test_slices_hold_less(day: Sequence[Developer]) -> None:
    rules = of_organization(1_000 * EUR)
    whole, slices = (played(day, way, rules) for way in (AT_ONCE, SLICES))
    assert whole.counts.refused == slices.counts.refused == 0
    assert whole.counts.cost_nanoeur == slices.counts.cost_nanoeur
    assert slices.ledger.held_max_nanoeur < whole.ledger.held_max_nanoeur / 2


def test_turns_at_once_are_as_measured() -> None:
    refused_at_once = at_once(20 * EUR, AT_ONCE).counts
    assert refused_at_once.turns - refused_at_once.refused == 8
    waiting = at_once(20 * EUR, LOWERED)
    assert (waiting.counts.refused, len(waiting.counts.waits_s)) == (0, 21)
    assert max(waiting.counts.waits_s) < 0.45  # until the first settlements, and a look


def test_turns_go_on_until_money_is_spent() -> None:
    over = at_once(5 * EUR, replace(LOWERED, wait_s=600), until_refused=True)
    assert over.counts.refused == AGENTS
    assert over.counts.lowest_hold_nanoeur is not None
    assert 0 <= over.left_nanoeur < over.counts.lowest_hold_nanoeur
    assert 120 < over.counts.turns - over.counts.refused < 145


def test_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert tables.print_all(developers=1, seed=3) == 0
    printed = capsys.readouterr().out
    assert printed.count(f"\n| {KNOWN.name} |") == 4
    assert "| 20 EUR, refused at once | 8 |" in printed
