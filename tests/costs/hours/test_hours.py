"""What an hour costs, and how its tokens share it: plain values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from costs.core.holds import EventKind, HoldCharge, Move, State, adjust
from costs.core.hours import HOUR, HourlyStep, cost_of_hour, hour_of, hours_priced, shares_of

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
EUR = 10**9
seconds = st.integers(-7200, 7200)
prices = st.none() | st.integers(0, 10**13)


def step(after_s: float, nanoeur: int | None) -> HourlyStep:
    return HourlyStep(NOON + timedelta(seconds=after_s), nanoeur)


def test_whole_hour_costs_its_price() -> None:
    assert cost_of_hour([step(-9999, 2_400_000_000)], NOON) == 2_400_000_000


def test_price_counts_for_its_seconds() -> None:
    begun = [step(900, 2 * EUR)]
    assert cost_of_hour(begun, NOON) == 1_500_000_000
    changed = [*begun, step(1800, 4 * EUR), step(2700, None)]
    assert cost_of_hour(changed, NOON) == 500_000_000 + EUR
    assert cost_of_hour(changed, NOON + HOUR) == 0
    assert cost_of_hour(changed, NOON - HOUR) == 0


def test_change_within_second_counts_from_its_start() -> None:
    assert cost_of_hour([step(0.4, 3600), step(1.9, None)], NOON) == 1


def test_cost_of_hour_is_rounded_up() -> None:
    assert cost_of_hour([step(3599, 1)], NOON) == 1


@given(st.lists(st.tuples(seconds, prices), unique_by=lambda each: each[0], max_size=6))
def test_same_price_costs_same_however_often_it_is_set(
    changes: list[tuple[int, int | None]],
) -> None:
    same = [step(after_s, 3600) for after_s, _ in sorted(changes, key=lambda each: each[0])]
    assert cost_of_hour([step(-9999, 3600), *same], NOON) == 3600


@given(st.lists(st.tuples(seconds, prices), unique_by=lambda each: each[0], max_size=6))
def test_every_hour_with_cost_is_priced_once(changes: list[tuple[int, int | None]]) -> None:
    steps = [step(*each) for each in sorted(changes, key=lambda each: each[0])]
    until = NOON + 4 * HOUR
    hours = list(hours_priced(steps, after=None, until=until))
    assert hours == sorted(set(hours))
    around = [NOON + n * HOUR for n in range(-3, 4)]
    assert {hour for hour in around if cost_of_hour(steps, hour)} <= {*hours}
    for hour in hours:
        later = [each for each in hours if each > hour]
        assert list(hours_priced(steps, after=hour, until=until)) == later
    assert all(hour + HOUR <= until for hour in hours)


def test_hour_is_due_only_when_it_is_over() -> None:
    steps = [step(60, EUR)]
    assert list(hours_priced(steps, after=None, until=NOON + HOUR)) == [NOON]
    assert list(hours_priced(steps, after=None, until=NOON + timedelta(seconds=3599))) == []


def test_hours_are_those_of_utc() -> None:
    assert hour_of(datetime.fromisoformat("2026-06-01T17:45:10+05:45")) == NOON


@given(st.integers(0, 10**14), st.lists(st.integers(0, 10**9), max_size=50))
def test_shares_add_up_and_are_rounded_by_less_than_one(nanoeur: int, tokens: list[int]) -> None:
    shares, whole = shares_of(nanoeur, tokens), sum(tokens)
    assert sum(shares) == (nanoeur if whole else 0)
    for share, count in zip(shares, tokens, strict=True):
        assert whole == 0 or abs(share * whole - nanoeur * count) < whole
        assert count or share == 0


@given(st.integers(0, 90), st.integers(0, 90), st.integers(0, 90))
def test_adjustment_takes_back_estimate_and_adds_overrun(
    amount: int, charged: int, share: int
) -> None:
    hold = HoldCharge(State.SETTLED, amount, charged)
    found = adjust(hold, cost_nanoeur=share)
    assert isinstance(found, Move)
    assert (found.state, found.event_kind) == (State.SETTLED, EventKind.ADJUSTMENT)
    assert (found.charged_nanoeur, found.event_nanoeur) == (share, share - charged)
    assert found.estimated_change == -charged
    assert found.settled_change + found.overrun_change == share - charged
    assert found.settled_change <= 0
    assert found.overrun_change >= 0 or charged > amount


def test_only_settled_hold_is_adjusted() -> None:
    for state in (State.HELD, State.RELEASED, State.UNKNOWN):
        assert adjust(HoldCharge(state, 10, 5), cost_nanoeur=7) is None
