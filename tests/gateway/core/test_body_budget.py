"""The memory that bodies may take is shared among their owners."""

from __future__ import annotations

from gateway.core.body_budget import PROCESS_MAX_BYTES, BodyBudget


def test_no_owner_passes_its_share() -> None:
    budget = BodyBudget()
    shares = {"org": 100, "key": 60}
    assert budget.take(60, shares)
    assert not budget.take(1, shares)
    assert budget.take(40, {"org": 100, "other key": 60})
    assert not budget.take(1, {"org": 100, "third key": 60})
    budget.give_back(60, shares)
    assert budget.take(60, shares)


def test_refused_bytes_count_for_none_of_owners() -> None:
    budget = BodyBudget()
    assert not budget.take(2, {"org": 2, "key": 1})
    assert budget.take(2, {"org": 2, "other key": 2})


def test_all_together_do_not_pass_process_limit() -> None:
    budget, half = BodyBudget(), PROCESS_MAX_BYTES // 2
    for owner in ("a", "b"):
        assert budget.take(half, {owner: half})
    assert not budget.take(1, {"c": half})
    budget.give_back(half, {"a": half})
    assert budget.take(1, {"c": half})
