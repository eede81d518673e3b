"""Whose turn it is among calls that wait, as a pure decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from costs.core.admission import Balance, Limit
from costs.core.calendar.periods import BudgetWindow
from costs.core.rate_limits import UNITS, RateKind, RateLimit, RateState
from costs.ledger.balances import LiveBalances
from gateway.call.waiting.line import TURNS_AT_ONCE_MAX, Need, Waiter, WaitingLine, rate_key

ORG: Final = UUID(int=1)
LIMIT: Final = 100


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop for the futures of calls that wait."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


class Queue:
    """A line, and the names of its calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.line = WaitingLine()
        self.names: dict[Waiter, str] = {}

    def join(self, name: str, amount: int, *scopes: str, key: str = "k") -> Waiter:
        """Add a call that these limits keep out."""
        waiter = Waiter(org_id=ORG, key=key, request_id=uuid4(), since_s=1.0)
        self.names[waiter] = name
        self.line.put(waiter, need(amount, *scopes))
        waiter.turn = self.loop.create_future()
        return waiter

    def turns(self, **left: Any) -> list[str]:
        """Return whose turn it is with so much left of each limit, and give it."""
        turns = self.line.turns(live(**left))
        for waiter in turns:
            waiter.wake()
        return [self.names[waiter] for waiter in turns]


@pytest.fixture
def queue(loop: asyncio.AbstractEventLoop) -> Queue:
    return Queue(loop)


def need(amount: int, *scopes: str) -> Need:
    limits = tuple(
        Limit(scope=scope, span=BudgetWindow.DAY, limit_nanoeur=LIMIT) for scope in scopes
    )
    return Need(
        config_version=1,
        amount_nanoeur=amount,
        limits=limits,
        kept_out_by=frozenset(scopes),
        wait_s=20.0,
    )


def live(
    *, version: int = 1, is_enabled: bool = True, charged: int = 0, **left: int
) -> LiveBalances:
    balances = {
        scope: Balance(
            limit_nanoeur=LIMIT,
            charged_nanoeur=charged,
            held_nanoeur=LIMIT - charged - each,
            ends_at=datetime.max.replace(tzinfo=UTC),
        )
        for scope, each in left.items()
    }
    return LiveBalances(config_version=version, is_enabled=is_enabled, balances=balances)


def test_room_is_for_each_beside_those_before_it(queue: Queue) -> None:
    for name in ("a", "b", "c"):
        queue.join(name, 10, "day")
    assert queue.turns(day=9) == []
    assert queue.turns(day=20) == ["a", "b"]


def test_room_that_asking_calls_may_take_is_not_given_twice(queue: Queue) -> None:
    first = queue.join("a", 10, "day")
    queue.join("b", 10, "day")
    assert queue.turns(day=19) == ["a"]
    assert queue.turns(day=19) == []
    queue.line.remove(first)
    assert queue.turns(day=10) == ["b"]


def test_call_that_does_not_fit_keeps_those_behind_it_out(queue: Queue) -> None:
    queue.join("large", 50, "day")
    queue.join("small", 10, "day")
    queue.join("of another key", 10, "day", key="l")
    assert queue.turns(day=49) == []
    assert queue.turns(day=70) == ["large", "of another key", "small"]


def test_call_keeps_others_out_only_of_limits_it_lacks(queue: Queue) -> None:
    queue.join("large", 50, "day", "team")
    queue.join("small", 10, "day")
    assert queue.turns(day=60, team=40) == ["small"]
    queue.line.remove(next(each for each, _ in queue.line if each.is_asking))
    assert set(queue.line.in_front_of(need(1, "day", "team").by_scope)) == {"team"}


def test_two_calls_are_never_behind_each_other(queue: Queue) -> None:
    queue.join("a", 60, "day", "team", key="k")
    queue.join("b", 60, "team", "day", key="l")
    assert queue.turns(day=100, team=100) == ["a"]


def test_keys_take_turns_and_each_serves_first_come(queue: Queue) -> None:
    for n in range(3):
        queue.join(f"k{n}", 10, "day", key="k")
    for n in range(2):
        queue.join(f"l{n}", 10, "day", key="l")
    assert queue.turns(day=30) == ["k0", "l0", "k1"]
    for waiter in [each for each, _ in queue.line if each.is_asking]:
        queue.line.remove(waiter)
    assert queue.turns(day=10) == ["l1"]


def test_failed_turn_keeps_place(queue: Queue) -> None:
    first = queue.join("a", 10, "day")
    queue.join("b", 10, "day")
    assert queue.turns(day=10) == ["a"]
    queue.line.put(first, need(10, "day"))
    first.turn = queue.loop.create_future()
    assert queue.turns(day=10) == ["a"]


def test_spent_limit_ends_wait_of_all_that_it_is_too_small_for(queue: Queue) -> None:
    queue.join("fits", 40, "day")
    queue.join("does not", 41, "day")
    assert queue.turns(charged=60, day=39) == ["does not"]


@pytest.mark.parametrize("change", [{"version": 2}, {"is_enabled": False}])
def test_changed_organization_is_checked_again_in_portions(
    queue: Queue, change: dict[str, int]
) -> None:
    for n in range(TURNS_AT_ONCE_MAX + 1):
        queue.join(str(n), 10, "day")
    first = queue.turns(**change, day=0)
    assert first == [str(n) for n in range(TURNS_AT_ONCE_MAX)]
    assert queue.turns(**change, day=0) == [str(TURNS_AT_ONCE_MAX)]


def test_balance_not_seen_yet_is_waited_for(queue: Queue) -> None:
    queue.join("a", 10, "day", "team")
    assert queue.turns(day=100) == []
    assert queue.turns(day=100, team=100) == ["a"]


def test_limits_in_which_none_waits_are_forgotten(queue: Queue) -> None:
    queue.join("a", 10, "day")
    for n in range(3):
        gone = queue.join("b", 10, "day", f"session {n}")
        queue.turns(day=0, **{f"session {n}": 0})
        queue.line.remove(gone)
    queue.turns(day=0)
    assert set(queue.line.balances) == {"day"}


# --- rates ----------------------------------------------------------------------------------------

RATE: Final = RateLimit(scope="p", requests_per_minute=60, tokens_per_minute=600, wait_s=10)


def rated(queue: Queue, name: str, tokens: int, *, key: str = "k") -> Waiter:
    """Add a call that a rate keeps out."""
    waiter = queue.join(name, 0, key=key)
    queue.line.put(waiter, replace(need(0), rates=(RATE,), tokens=tokens))
    return waiter


def seen(*, requests: int = 0, tokens: int = 0) -> LiveBalances:
    """Return that so much is left of the rate."""
    state = RateState(
        limit=RATE, requests_taken=(60 - requests) * UNITS, tokens_taken=(600 - tokens) * UNITS
    )
    return replace(live(), rates={RATE.scope: state})


def test_refilled_rate_is_for_each_beside_those_before_it(queue: Queue) -> None:
    waiters = {rated(queue, name, 100): name for name in ("a", "b", "c")}
    assert queue.line.turns(seen(requests=9, tokens=99)) == []
    turns = queue.line.turns(seen(requests=9, tokens=250))
    assert [waiters[each] for each in turns] == ["a", "b"]


def test_call_that_lacks_tokens_keeps_others_out_of_tokens_only(queue: Queue) -> None:
    rated(queue, "large", 200)
    free = rated(queue, "free", 0)
    rated(queue, "small", 1)
    assert queue.line.turns(seen(requests=9, tokens=199)) == [free]
    scopes = need_of_rate(1).by_scope
    assert set(queue.line.in_front_of(scopes)) == {rate_key("p", RateKind.TOKENS)}


def need_of_rate(tokens: int) -> Need:
    return replace(need(0), rates=(RATE,), tokens=tokens)


def test_line_is_looked_at_when_first_call_is_ready(queue: Queue) -> None:
    rated(queue, "first", 100)
    rated(queue, "second", 300)
    assert queue.line.turns(seen(requests=0, tokens=50), now_s=1000.0) == []
    assert queue.line.ready_at_s == 1005.0  # 50 tokens in five seconds
    assert queue.line.turns(seen(requests=60, tokens=600), now_s=1005.0)
    assert queue.line.ready_at_s == inf


def test_keys_take_turns_in_rate(queue: Queue) -> None:
    flood = [rated(queue, f"k{n}", 1) for n in range(5)]
    other = rated(queue, "l0", 1, key="l")
    assert queue.line.turns(seen(requests=2, tokens=600)) == [flood[0], other]


def test_newcomer_behind_more_than_its_time_refills_is_too_late(queue: Queue) -> None:
    queue.line.turns(seen(requests=0, tokens=600), now_s=1000.0)
    for n in range(9):
        rated(queue, f"{n}", 1)
        queue.line.turns(seen(requests=0, tokens=600), now_s=1000.0)
    need = replace(need_of_rate(1), wait_s=10.0)
    newcomer = rated(queue, "tenth", 1)
    assert queue.line.too_late(newcomer, need, now_s=1000.0) is None
    newcomer = rated(queue, "eleventh", 1)
    over = queue.line.too_late(newcomer, need, now_s=1000.0)
    assert over is not None
    assert (over.wait_s, over.kind, over.state.used(over.kind)) == (11.0, RateKind.REQUESTS, 70)
    assert queue.line.too_late(newcomer, need, now_s=1001.0) is None
    of_another_key = rated(queue, "other", 1, key="l")
    assert queue.line.too_late(of_another_key, need, now_s=1000.0) is None
