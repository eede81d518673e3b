"""The effect of each outcome on a hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.admission import Balance
from costs.core.holds import EventKind, HoldCharge, State, move
from tests.costs.books import NOON

amounts = st.integers(min_value=0, max_value=2**62)
FINAL = [State.SETTLED, State.RELEASED]


@given(amount=amounts, cost=amounts)
def test_usage_charges_its_cost_and_counts_overrun_separately(amount: int, cost: int) -> None:
    step = move(HoldCharge(State.HELD, amount), outcome=State.SETTLED, cost_nanoeur=cost)
    assert step is not None
    assert (step.state, step.charged_nanoeur, step.event_nanoeur) == (State.SETTLED, cost, cost)
    assert step.held_change == -amount
    assert step.settled_change + step.overrun_change == cost
    assert step.settled_change <= amount
    assert step.overrun_change == max(0, cost - amount)


@given(amount=amounts)
def test_unbilled_call_releases_hold(amount: int) -> None:
    step = move(HoldCharge(State.HELD, amount), outcome=State.RELEASED, cost_nanoeur=None)
    assert step is not None
    assert (step.state, step.charged_nanoeur, step.event_kind) == (State.RELEASED, 0, None)
    assert (step.held_change, step.settled_change, step.overrun_change) == (-amount, 0, 0)


@given(amount=amounts, cost=st.none() | amounts)
def test_unknown_outcome_charges_full_hold_until_known(amount: int, cost: int | None) -> None:
    bound = move(HoldCharge(State.HELD, amount), outcome=State.UNKNOWN, cost_nanoeur=None)
    assert bound is not None
    assert (bound.state, bound.event_kind) == (State.UNKNOWN, EventKind.BOUND)
    assert (bound.charged_nanoeur, bound.settled_change) == (amount, amount)
    late = move(
        HoldCharge(State.UNKNOWN, amount, amount),
        outcome=State.RELEASED if cost is None else State.SETTLED,
        cost_nanoeur=cost,
    )
    assert late is not None
    assert (late.state, late.event_kind) == (State.SETTLED, EventKind.CORRECTION)
    assert late.held_change == 0
    assert amount + (late.event_nanoeur or 0) == late.charged_nanoeur == (cost or 0)
    assert bound.settled_change + late.settled_change + late.overrun_change == (cost or 0)


@given(amount=amounts, seen=amounts, cost=amounts)
def test_unknown_outcome_charges_estimate_until_known(amount: int, seen: int, cost: int) -> None:
    step = move(HoldCharge(State.HELD, amount), outcome=State.UNKNOWN, cost_nanoeur=seen)
    assert step is not None
    assert (step.state, step.event_kind) == (State.UNKNOWN, EventKind.ESTIMATE)
    assert step.charged_nanoeur == step.event_nanoeur == step.estimated_change == seen
    assert step.held_change == -amount
    assert (step.settled_change, step.overrun_change) == (min(amount, seen), max(0, seen - amount))
    left = HoldCharge(State.UNKNOWN, amount, step.charged_nanoeur)
    late = move(left, outcome=State.SETTLED, cost_nanoeur=cost)
    assert late is not None
    assert step.estimated_change + late.estimated_change == 0
    assert step.settled_change + late.settled_change == min(cost, amount)
    assert step.overrun_change + late.overrun_change == max(0, cost - amount)


@pytest.mark.parametrize("state", [*FINAL, State.UNKNOWN])
@pytest.mark.parametrize("outcome", State)
def test_final_states_do_not_change(state: State, outcome: State) -> None:
    if state is State.UNKNOWN and outcome in FINAL:
        return  # the one way back, above
    assert move(HoldCharge(state, 10), outcome=outcome, cost_nanoeur=5) is None


@pytest.mark.parametrize("state", [State.HELD, State.UNKNOWN])
def test_unknown_cost_is_never_zero(state: State) -> None:
    with pytest.raises(ValueError, match="unknown is never zero"):
        move(HoldCharge(state, 10), outcome=State.SETTLED, cost_nanoeur=None)


@given(limit=amounts, charged=amounts, held=amounts, amount=amounts)
def test_room_exists_exactly_within_limit(limit: int, charged: int, held: int, amount: int) -> None:
    balance = Balance(limit_nanoeur=limit, charged_nanoeur=charged, held_nanoeur=held, ends_at=NOON)
    fits = charged + held + amount <= limit
    # What is past its limit already still has room for a call that costs nothing.
    assert balance.has_room_for(amount) is (fits or amount == 0)
