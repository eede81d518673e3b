"""Several processes on the same organizations, periods and holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread

import pytest
from django.db import connection

from costs.core.admission import Admitted, InsufficientRoom, Settlement
from costs.core.holds import State
from orgs.models import Organization
from tests.costs.books import (
    Books,
    Desk,
    ask,
    books,
    check_the_books,
    events,
    settlement,
)
from tests.costs.ledger.test_ledger_race import without_the_wall
from tests.costs.ledger.test_several_limits import limit as budget

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

NewDesk = Callable[[], Desk]
PROCESSES = 4


@pytest.fixture
def at_once(new_desk: NewDesk) -> Callable[[Callable[[Desk, Barrier], None]], None]:
    """Run a function in several processes' ledgers, which meet at a barrier."""

    def run(work: Callable[[Desk, Barrier], None]) -> None:
        barrier = Barrier(PROCESSES)

        def process(desk: Desk) -> None:
            try:
                work(desk, barrier)
            finally:
                connection.close()

        desks = [new_desk() for _ in range(PROCESSES)]
        with ThreadPoolExecutor(PROCESSES) as threads:
            list(threads.map(process, desks))

    return run


AtOnce = Callable[[Callable[[Desk, Barrier], None]], None]


# --- at once --------------------------------------------------------------------------------------


def test_concurrent_settlements_of_one_day_all_count(at_once: AtOnce, acme: Organization) -> None:
    def process(desk: Desk, barrier: Barrier) -> None:
        held = [desk.hold(acme, 10) for _ in range(25)]
        barrier.wait(timeout=120)
        for asked, admitted in held:
            assert desk.settle(settlement(asked, admitted, State.SETTLED, 7)).changed

    at_once(process)
    assert books(acme) == Books(held=0, settled=700)
    assert len(events(acme)) == 100
    check_the_books()


def test_concurrent_holds_and_settlements_all_count(at_once: AtOnce, acme: Organization) -> None:
    def process(desk: Desk, barrier: Barrier) -> None:
        asks = [ask(acme, 10) for _ in range(15)]
        barrier.wait(timeout=120)
        for asked in asks:
            admitted = desk.reserve(asked)
            assert desk.settle(settlement(asked, admitted, State.SETTLED, 7)).changed

    at_once(process)
    assert books(acme) == Books(held=0, settled=420)
    check_the_books()


def test_batches_over_several_organizations_and_budgets_never_deadlock(
    at_once: AtOnce, acme: Organization, globex: Organization
) -> None:
    budgets = (budget("budget:a", 10**6), budget("budget:b", None))

    def process(desk: Desk, barrier: Barrier) -> None:
        batches = [
            [ask(acme, 10, budgets=budgets), ask(globex, 10), ask(acme, 10, budgets=budgets[::-1])]
            for _ in range(10)
        ]
        barrier.wait(timeout=120)
        ended: Sequence[Settlement] = ()
        for number, asks in enumerate(batches):
            asks = asks[:: 1 if number % 2 else -1]
            answers, settled = desk.commit(asks, ended)
            assert all(each.changed for each in settled)
            pairs = list(zip(asks, answers, strict=True))
            ended = [settlement(*pair, State.SETTLED, 7) for pair in pairs]
        desk.commit((), ended)

    at_once(process)
    assert books(globex) == Books(held=0, settled=10 * PROCESSES * 7)
    assert books(acme) == Books(held=0, settled=3 * 20 * PROCESSES * 7)
    check_the_books()


# --- one after another ----------------------------------------------------------------------------


def test_limit_used_up_by_another_process_refuses_call(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    desk.hold(acme, 1, limit=100)
    with without_the_wall():
        new_desk().hold(acme, 60, limit=100)
        assert isinstance(desk.reserve(ask(acme, 60, limit=100)), InsufficientRoom)
    assert books(acme) == Books(held=61, settled=0)
    check_the_books()


def test_room_given_back_by_another_process_admits_call(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    other = new_desk()
    held = other.hold(acme, 90, limit=100)
    assert isinstance(desk.reserve(ask(acme, 60, limit=100)), InsufficientRoom)
    other.settle(settlement(*held, State.RELEASED))
    assert isinstance(desk.reserve(ask(acme, 60, limit=100)), Admitted)
    assert books(acme) == Books(held=60, settled=0)
    check_the_books()


def test_hold_settled_by_another_process_is_not_charged_again(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100)
    ended = settlement(asked, admitted, State.SETTLED, 40)
    assert new_desk().settle(ended).changed
    found = desk.settle(ended)
    assert (found.changed, found.state, found.charged_nanoeur) == (False, State.SETTLED, 40)
    assert (books(acme), events(acme)) == (Books(held=0, settled=40), [("usage", 40)])
    check_the_books()


def test_hold_settled_by_another_process_does_not_block_rest_of_batch(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    held = [desk.hold(acme, 100) for _ in range(5)]
    new_desk().settle(settlement(*held[2], State.RELEASED))
    answers, settled = desk.commit(
        [ask(acme, 3)], [settlement(*each, State.SETTLED, 7) for each in held]
    )
    assert [each.changed for each in settled] == [True, True, False, True, True]
    assert isinstance(answers[0], Admitted)
    assert books(acme) == Books(held=3, settled=28)
    check_the_books()


def test_waiting_settlement_reads_committed_state(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    ended = settlement(*desk.hold(acme, 100), State.SETTLED, 40)
    other, has_written, may_commit, found = new_desk(), Event(), Event(), []
    commit = other.store.commit

    def commit_later() -> None:
        has_written.set()
        assert may_commit.wait(timeout=120)
        commit()

    other.store.commit = commit_later  # type: ignore[method-assign]
    first, second = (
        Thread(target=lambda each=each: found.append(each.settle(ended))) for each in (other, desk)
    )
    first.start()
    assert has_written.wait(timeout=120)
    second.start()
    second.join(timeout=0.2)
    assert found == []
    may_commit.set()
    for thread in (first, second):
        thread.join(timeout=120)
    assert [each.changed for each in found].count(True) == 1
    assert (books(acme), events(acme)) == (Books(held=0, settled=40), [("usage", 40)])
    check_the_books()
