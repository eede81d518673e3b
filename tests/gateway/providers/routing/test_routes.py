"""Rows that serve one model share its calls by weight, in the order of their rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest

from gateway.providers.routing.routes import ordered

CALLS = 10_000


@dataclass(frozen=True)
class ServingRow:
    """A row as far as it is ordered."""

    name: str
    weight: int = 1
    order: int = 0


EU, US, BACKUP = ServingRow("eu", 3), ServingRow("us", 1), ServingRow("backup", 100, order=1)


def _chance() -> random.Random:
    return random.Random(24)  # noqa: S311  the same in each run


def _names(
    rows: Iterable[ServingRow],
    *,
    affinity: str | None = None,
    failing: Mapping[str, float] | None = None,
    chance: random.Random | None = None,
) -> list[str]:
    found = ordered(
        rows,
        affinity=affinity,
        failing_until_s=(failing or {}).get,
        chance=chance or _chance(),
    )
    return [row.name for row in found]


def _firsts(rows: Iterable[ServingRow], *, by_affinity: bool) -> Counter[str]:
    rows, chance = [*rows], _chance()
    return Counter(
        _names(rows, affinity=f"session {n}" if by_affinity else None, chance=chance)[0]
        for n in range(CALLS)
    )


@pytest.mark.parametrize("by_affinity", [True, False], ids=["conversations", "chance"])
def test_rows_share_calls_by_weight(by_affinity: bool) -> None:
    firsts = _firsts([EU, US, ServingRow("asia", 6)], by_affinity=by_affinity)
    # Five standard deviations of a binomial distribution with p = 1/2, the widest.
    for name, share in {"eu": 0.3, "us": 0.1, "asia": 0.6}.items():
        assert firsts[name] == pytest.approx(CALLS * share, abs=5 * (CALLS / 4) ** 0.5)


def test_row_behind_first_one_is_drawn_by_weight_too() -> None:
    chance = _chance()
    rows = [ServingRow("first", 10_000_000), EU, US]
    seconds = Counter(_names(rows, chance=chance)[1] for _ in range(CALLS))
    assert seconds["eu"] == pytest.approx(CALLS * 0.75, abs=5 * (CALLS / 4) ** 0.5)


@pytest.mark.parametrize("by_affinity", [True, False], ids=["conversations", "chance"])
def test_row_of_higher_order_comes_after_all_others(by_affinity: bool) -> None:
    affinities = [f"session {n}" if by_affinity else None for n in range(100)]
    lasts = {_names([BACKUP, EU, US], affinity=each)[-1] for each in affinities}
    assert lasts == {"backup"}


def test_conversation_keeps_its_row_whatever_order_rows_are_listed_in() -> None:
    for n in range(100):
        affinity = f"session {n}"
        assert _names([EU, US], affinity=affinity) == _names([US, EU], affinity=affinity)


def test_removed_row_moves_only_its_own_conversations() -> None:
    asia = ServingRow("asia", 2)
    for n in range(1000):
        before = _names([EU, US, asia], affinity=f"session {n}")
        after = _names([EU, US], affinity=f"session {n}")
        assert after == [name for name in before if name != "asia"]


def test_higher_weight_moves_conversations_only_to_its_row() -> None:
    for n in range(1000):
        before = _names([EU, US], affinity=f"session {n}")
        after = _names([EU, ServingRow("us", 2)], affinity=f"session {n}")
        assert after == before or after[0] == "us"


def test_failing_row_comes_last_and_moves_only_its_own_conversations() -> None:
    asia = ServingRow("asia", 2)
    for n in range(100):
        usual = _names([EU, US, asia], affinity=f"session {n}")
        found = _names([EU, US, asia], affinity=f"session {n}", failing={"eu": 5.0})
        assert found == [*(name for name in usual if name != "eu"), "eu"]


def test_row_of_higher_order_comes_before_failing_one() -> None:
    assert _names([EU, BACKUP], failing={"eu": 5.0}) == ["backup", "eu"]


def test_failing_row_that_opens_soonest_comes_before_other_failing_ones() -> None:
    failing = {"eu": 9.0, "us": 7.0, "backup": 5.0}
    assert _names([EU, US, BACKUP], failing=failing) == ["backup", "us", "eu"]


def test_affinity_may_be_any_text() -> None:
    assert sorted(_names([EU, US], affinity="\ud800 \n é")) == ["eu", "us"]
