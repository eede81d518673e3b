"""Rates: what fits, when it fits, and what is given back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from costs.core.rate_limits import (
    UNITS,
    RateKind,
    RateLimit,
    RateState,
    TakenRate,
    over_rate,
    state_at,
)
from orgs.fields import new_id

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
LIMIT = RateLimit(
    scope="policy:1",
    requests_per_minute=60,
    tokens_per_minute=7_000_000,
    concurrent_requests=2,
    wait_s=5,
)


@dataclass
class Bucket:
    """What is taken of a bucket."""

    requests_taken: int = 0
    tokens_taken: int = 0
    in_flight: int = 0
    refilled_at: datetime = NOON


def after(seconds: float, **taken: Any) -> RateState:
    """Return the state of a bucket so many seconds after this was taken."""
    return state_at(NOON + timedelta(seconds=seconds), LIMIT, Bucket(**taken))


@pytest.mark.parametrize(
    ("seconds", "used", "left", "wait_s"),
    [(0, 60, 0, 1.0), (0.999999, 60, 0, 1e-6), (1, 59, 1, None), (30, 30, 30, None)],
)
def test_request_is_refilled_each_second(
    seconds: float, used: int, left: int, wait_s: float | None
) -> None:
    state = after(seconds, requests_taken=60 * UNITS)
    kind = RateKind.REQUESTS
    assert (state.used(kind), state.left(kind)) == (used, left)
    assert state.wait_s(kind, 1) == wait_s


def test_refill_of_single_token_is_exact_at_any_limit() -> None:
    state = after(0.000001, tokens_taken=7_000_000 * UNITS)
    assert state.tokens_taken == 7_000_000 * (UNITS - 1)
    assert state.left(RateKind.TOKENS) == 0
    assert after(0.000009, tokens_taken=7_000_000 * UNITS).left(RateKind.TOKENS) == 1


def test_bucket_holds_no_more_than_its_minute() -> None:
    state = after(3600, tokens_taken=UNITS)
    assert (state.tokens_taken, state.left(RateKind.TOKENS)) == (0, 7_000_000)


def test_clock_that_runs_back_refills_nothing() -> None:
    assert after(-5, requests_taken=UNITS).used(RateKind.REQUESTS) == 1


def test_lowered_limit_leaves_nothing() -> None:
    state = after(0, requests_taken=90 * UNITS)
    assert (state.left(RateKind.REQUESTS), state.wait_s(RateKind.REQUESTS, 1)) == (0, 31.0)


def test_bucket_that_does_not_exist_is_full() -> None:
    state = state_at(NOON, LIMIT, None)
    assert (state.left(RateKind.REQUESTS), state.full_in_s(RateKind.REQUESTS)) == (60, 0.0)
    assert over_rate([state], 7_000_000) is None


def test_longest_wait_is_given_and_shortest_patience() -> None:
    slow = RateLimit(scope="a", requests_per_minute=6, wait_s=60)
    patient = RateState(limit=slow, requests_taken=6 * UNITS)
    over = over_rate([after(0, requests_taken=60 * UNITS, in_flight=2), patient], 10)
    assert over is not None
    assert (over.state, over.kind, over.retry_after_s) == (patient, RateKind.REQUESTS, 10)
    assert (over.wait_max_s, over.may_wait) == (5, False)


@pytest.mark.parametrize(
    ("wait_s", "taken", "may_wait"),
    [(0, {"in_flight": 2}, False), (1, {"in_flight": 2}, True), (0.9, {"in_flight": 0}, False)],
)
def test_call_waits_where_its_turn_may_come_in_time(
    wait_s: float, taken: dict[str, Any], may_wait: bool
) -> None:
    limit = RateLimit(scope="a", requests_per_minute=60, concurrent_requests=2, wait_s=wait_s)
    bucket = Bucket(**taken) if taken["in_flight"] else Bucket(requests_taken=60 * UNITS)
    over = over_rate([state_at(NOON, limit, bucket)], 0)
    assert over is not None
    assert (over.may_wait, over.retry_after_s) == (may_wait, 1)


@pytest.mark.parametrize(
    ("in_flight", "requests_taken", "least_wait_s"),
    [(0, 0, 30.0), (1, 0, 0.0), (1, 60 * UNITS, 1.0)],
)
def test_tokens_may_come_back_sooner_while_calls_are_in_flight(
    in_flight: int, requests_taken: int, least_wait_s: float
) -> None:
    limit = RateLimit(scope="a", requests_per_minute=60, tokens_per_minute=600, wait_s=29)
    taken = {"in_flight": in_flight, "requests_taken": requests_taken}
    over = over_rate([RateState(limit=limit, tokens_taken=600 * UNITS, **taken)], 300)
    assert over is not None
    assert (over.wait_s, over.least_wait_s) == (30.0, least_wait_s)
    assert over.may_wait is (least_wait_s < 30)


@pytest.mark.parametrize(
    ("used", "elapsed_s", "given_back"),
    [
        (0, 0, 600 * UNITS),
        (100, 0, 500 * UNITS),
        (100, 15, 450 * UNITS),  # of 600 a minute, 150 are refilled
        (0, 60, 0),
        (700, 60, -100 * UNITS),
    ],
)
def test_what_was_refilled_meanwhile_is_not_given_back(
    used: int, elapsed_s: float, given_back: int
) -> None:
    taken = TakenRate(
        bucket_id=new_id(), tokens=600, requests_per_minute=None, tokens_per_minute=600
    )
    elapsed = timedelta(seconds=elapsed_s)
    assert taken.unused_tokens(used, elapsed=elapsed) == given_back
    assert taken.unused_request(elapsed=elapsed) == 0
