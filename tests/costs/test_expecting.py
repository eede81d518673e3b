"""A batch that expects what this process left: quick, and right where another was there first.

SQLite is read for every batch; the same must come of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from django.db import connection

from costs.core.admission import Admitted, Answer, Ask, Full, Stale, SwitchedOff
from costs.core.holds import State
from costs.memory import TRUSTED_AFTER, Memory
from costs.models import CostEvent, Hold, Period
from costs.stores.pipeline import Pipeline, Statement
from costs.writer import Writer
from orgs.models import Organization
from tests.costs.books import (
    Books,
    Clock,
    Desk,
    admitted_and_full,
    ask,
    books,
    check_the_books,
    events,
    limit,
    period_ids,
    settlement,
    states,
)
from tests.costs.clients import reserve_together
from tests.costs.test_ledger_race import without_the_wall
from tests.costs.test_several_limits import limit as budget
from tests.factories import RateFactory

pytestmark = pytest.mark.django_db(transaction=True)

NewDesk = Callable[[], Desk]


def learn(desk: Desk, org: Organization, *, times: int = 2 * TRUSTED_AFTER + 1) -> None:
    """Have a desk remember rightly, so many times, what an organization's day looks like."""
    for _ in range(times):
        desk.settle(settlement(*desk.hold(org, 1), State.RELEASED))


@pytest.fixture
def knowing(desk: Desk, acme: Organization) -> Desk:
    """A desk that has seen enough to expect."""
    learn(desk, acme)
    return desk


@pytest.fixture
def expects_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it was wrong."""
    monkeypatch.setattr(Memory, "was_wrong", lambda _: None)
    monkeypatch.setattr(Memory, "compare", lambda self, _: setattr(self, "_times_right", 10**6))


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements went to PostgreSQL in each round trip."""
    made: list[int] = []
    run = Pipeline.run

    def counted(self: Pipeline, statements: Sequence[Statement]) -> Any:
        made.append(len(statements))
        return run(self, statements)

    monkeypatch.setattr(Pipeline, "run", counted)
    return made


# --- how many round trips -------------------------------------------------------------------------


@pytest.mark.postgres_only
def test_what_is_as_expected_takes_one_round_trip(
    knowing: Desk, acme: Organization, trips: list[int]
) -> None:
    trips.clear()
    held = [knowing.hold(acme, 100, limit=300) for _ in range(3)]
    assert len(trips) == 3
    assert isinstance(knowing.reserve(ask(acme, 100, limit=300)), Full)
    assert len(trips) == 4
    assert knowing.settle(settlement(*held[0], State.SETTLED, 40)).changed
    assert len(trips) == 5
    assert trips[1:] == [1, 1, 1, 1]  # the first one sets the limit by itself
    knowing.commit(
        [ask(acme, 1), ask(acme, 1)], [settlement(*each, State.UNKNOWN) for each in held[1:]]
    )
    assert len(trips) == 6
    check_the_books()


@pytest.mark.postgres_only
def test_several_organizations_and_their_budgets_take_one_round_trip_too(
    desk: Desk, new_desk: NewDesk, acme: Organization, globex: Organization, trips: list[int]
) -> None:
    budgets = (budget("budget:a", 500), budget("budget:b", None))

    def batch(nanoeur: int) -> list[Ask]:
        within_budgets = ask(acme, nanoeur, limit=400, budgets=budgets)
        return [within_budgets, ask(globex, nanoeur), ask(acme, nanoeur, limit=400)]

    for _ in range(TRUSTED_AFTER + 1):
        asks = batch(1)
        answers, _ = desk.commit(asks)
        ended = [settlement(*each, State.SETTLED, 1) for each in zip(asks, answers, strict=True)]
        desk.commit((), ended)
    asks = batch(100)
    trips.clear()
    answers, _ = desk.commit(asks)
    assert all(isinstance(answer, Admitted) for answer in answers)
    assert len(trips) == 1
    new_desk().hold(globex, 5)  # one of all the rows is not as expected
    trips.clear()
    ended = [settlement(*each, State.SETTLED, 9) for each in zip(asks, answers, strict=True)]
    answers, settled = desk.commit(batch(100), ended)
    assert len(trips) == 4
    assert all(isinstance(answer, Admitted) for answer in answers)
    assert all(each.changed for each in settled)
    check_the_books()


@pytest.mark.postgres_only
def test_a_process_that_knows_nothing_yet_looks_first(
    desk: Desk, acme: Organization, trips: list[int]
) -> None:
    desk.hold(acme, 100)  # makes the day
    trips.clear()
    asked, admitted = desk.hold(acme, 100)
    assert len(trips) == 2
    assert desk.settle(settlement(asked, admitted, State.SETTLED, 40)).changed
    assert len(trips) == 3  # its own hold needs no experience


@pytest.mark.postgres_only
def test_a_process_that_was_wrong_looks_first_until_it_was_right_often_enough(
    knowing: Desk, new_desk: NewDesk, acme: Organization, trips: list[int]
) -> None:
    new_desk().hold(acme, 5)
    trips.clear()
    knowing.hold(acme, 1)
    assert len(trips) == 3  # in vain, and once more by two
    trips.clear()
    often_enough = 2 * TRUSTED_AFTER  # twice as often as before
    for _ in range(often_enough):
        knowing.hold(acme, 1)
    assert len(trips) == 2 * often_enough
    knowing.hold(acme, 1)
    assert len(trips) == 2 * often_enough + 1
    check_the_books()


# --- what another process did ---------------------------------------------------------------------


def test_a_limit_that_another_process_used_up_is_kept(
    knowing: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    with without_the_wall():
        new_desk().hold(acme, 60, limit=100)
        assert isinstance(knowing.reserve(ask(acme, 60, limit=100)), Full)
    assert books(acme) == Books(held=60, settled=0)
    check_the_books()


def test_room_that_another_process_gave_back_is_there(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    other = new_desk()
    held = other.hold(acme, 90, limit=100)
    learn(desk, acme)
    other.settle(settlement(*held, State.RELEASED))
    assert isinstance(desk.reserve(ask(acme, 60, limit=100)), Admitted)
    assert books(acme) == Books(held=60, settled=0)
    check_the_books()


@pytest.mark.usefixtures("expects_always")
def test_processes_that_expect_whatever_the_others_do_admit_exactly_what_fits(
    new_desk: NewDesk, acme: Organization
) -> None:
    barrier = Barrier(6)

    def client(desk: Desk) -> list[Answer]:
        asks = [ask(acme, 10, limit=205) for _ in range(12)]
        connection.close()
        barrier.wait(timeout=30)
        return [desk.reserve(asked) for asked in asks]

    desks = [new_desk() for _ in range(6)]
    for desk in desks:
        learn(desk, acme, times=1)
    with without_the_wall(), ThreadPoolExecutor(6) as threads:
        answers = [answer for some in threads.map(client, desks) for answer in some]
    assert admitted_and_full(answers) == (20, 52)
    assert books(acme).held == 200
    check_the_books()


@pytest.mark.usefixtures("expects_always")
def test_writers_that_expect_whatever_the_others_do_admit_exactly_what_fits(
    new_writer: Callable[..., Writer], acme: Organization
) -> None:
    writers = [new_writer() for _ in range(3)]
    with without_the_wall():
        for _ in range(3):
            reserve_together(writers, [ask(acme, 1, limit=1000) for _ in range(6)])
        answers = reserve_together(writers, [ask(acme, 10, limit=218) for _ in range(48)])
    assert admitted_and_full(answers) == (20, 28)
    assert books(acme).held == 218
    check_the_books()


def test_processes_that_settle_at_once_in_one_day_leave_nothing_out(
    new_desk: NewDesk, acme: Organization
) -> None:
    barrier = Barrier(4)

    def client(desk: Desk) -> None:
        held = [desk.hold(acme, 10) for _ in range(25)]
        connection.close()
        barrier.wait(timeout=30)
        for asked, admitted in held:
            assert desk.settle(settlement(asked, admitted, State.SETTLED, 7)).changed

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(client, [new_desk() for _ in range(4)]))
    assert books(acme) == Books(held=0, settled=700)
    assert len(events(acme)) == 100
    check_the_books()


@pytest.mark.usefixtures("expects_always")
def test_processes_that_hold_and_settle_at_once_leave_nothing_out(
    new_desk: NewDesk, acme: Organization
) -> None:
    barrier = Barrier(4)

    def client(desk: Desk) -> None:
        asks = [ask(acme, 10) for _ in range(15)]
        connection.close()
        barrier.wait(timeout=30)
        for asked in asks:
            admitted = desk.reserve(asked)
            assert desk.settle(settlement(asked, admitted, State.SETTLED, 7)).changed

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(client, [new_desk() for _ in range(4)]))
    assert books(acme) == Books(held=0, settled=420)
    check_the_books()


def test_what_another_process_charged_is_not_charged_again(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100)
    ended = settlement(asked, admitted, State.SETTLED, 40)
    assert new_desk().settle(ended).changed
    found = desk.settle(ended)
    assert (found.changed, found.state, found.charged_nanoeur) == (False, State.SETTLED, 40)
    assert (books(acme), events(acme)) == (Books(held=0, settled=40), [("usage", 40)])
    check_the_books()


def test_what_another_process_took_for_lost_is_corrected(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100)
    new_desk().settle(settlement(asked, admitted, State.UNKNOWN))
    assert desk.settle(settlement(asked, admitted, State.SETTLED, 40)).changed
    assert (books(acme), sum(nanoeur for _, nanoeur in events(acme))) == (Books(0, 40), 40)
    check_the_books()


def test_one_that_another_process_settled_does_not_keep_the_rest_of_its_batch(
    knowing: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    held = [knowing.hold(acme, 100) for _ in range(5)]
    new_desk().settle(settlement(*held[2], State.RELEASED))
    answers, settled = knowing.commit(
        [ask(acme, 3)], [settlement(*each, State.SETTLED, 7) for each in held]
    )
    assert [each.changed for each in settled] == [True, True, False, True, True]
    assert isinstance(answers[0], Admitted)
    assert books(acme) == Books(held=3, settled=28)
    check_the_books()


def test_a_settle_that_waits_for_another_process_sees_what_that_one_did(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    ended = settlement(*desk.hold(acme, 100), State.SETTLED, 40)
    other, may_commit, found = new_desk(), Event(), []
    commit = other.store.commit

    def commit_later() -> None:
        assert may_commit.wait(timeout=10)
        commit()

    other.store.commit = commit_later  # type: ignore[method-assign]
    both = [
        Thread(target=lambda each=each: found.append(each.settle(ended))) for each in (other, desk)
    ]
    for thread in both:
        thread.start()
    both[1].join(timeout=0.2)
    may_commit.set()
    for thread in both:
        thread.join(timeout=10)
    assert sorted(each.changed for each in found) == [False, True]
    assert (books(acme), events(acme)) == (Books(held=0, settled=40), [("usage", 40)])
    check_the_books()


# --- what else changes ----------------------------------------------------------------------------


def test_a_change_takes_effect_at_the_next_call(knowing: Desk, acme: Organization) -> None:
    asked = ask(acme, 10)
    limit(acme, 1000)
    assert knowing.reserve(asked) == Stale()
    learn(knowing, acme)
    asked = ask(acme, 10)
    RateFactory.create(model="another")
    assert knowing.reserve(asked) == Stale()
    learn(knowing, acme)
    Organization.objects.filter(pk=acme.pk).update(ai_gateway_enabled=False)
    assert isinstance(knowing.reserve(ask(acme, 10)), SwitchedOff)
    check_the_books()


def test_a_day_that_ends_is_left(knowing: Desk, acme: Organization, clock: Clock) -> None:
    held = knowing.hold(acme, 10)
    ends_at = Period.objects.get().ends_at
    for moment, days in ((-0.2, 1), (0.2, 2)):
        clock.now = ends_at + timedelta(seconds=moment)
        learn(knowing, acme, times=2)
        assert len(period_ids(acme)) == days
    knowing.commit([ask(acme, 5)], [settlement(*held, State.SETTLED, 7)])
    assert books(acme) == Books(held=5, settled=7)
    assert list(Hold.objects.filter(state="held").values_list("amount_nanoeur", flat=True)) == [5]
    check_the_books()


def test_keys_that_repeat_are_found(knowing: Desk, acme: Organization) -> None:
    first, again = ask(acme, 10, repeat="k"), ask(acme, 10, repeat="k")
    assert isinstance(knowing.reserve(first), Admitted)
    found = knowing.reserve(again)
    assert getattr(found, "request_id", None) == first.request_id
    assert states(acme).count("held") == 1


@pytest.mark.postgres_only
def test_a_database_whose_clock_was_put_forward_is_asked_for_the_time(
    today: Desk, acme: Organization, trips: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(today, acme)
    moment, told_at_s = today.store._read  # type: ignore[attr-defined]
    earlier = moment - timedelta(hours=5)
    monkeypatch.setattr(today.store, "_read", (earlier, told_at_s))
    monkeypatch.setattr(today.store, "_latest", earlier)
    trips.clear()
    _, admitted = today.hold(acme, 100)
    assert len(trips) == 3
    assert abs(admitted.now - moment) < timedelta(minutes=1)


@pytest.mark.postgres_only
@pytest.mark.parametrize("late_s", [0.03, 0.2])
def test_no_call_seems_to_be_held_later_than_it_was(
    today: Desk, acme: Organization, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    learn(today, acme)
    run = Pipeline.run

    def late(self: Pipeline, statements: Sequence[Statement]) -> Any:
        time.sleep(late_s)
        return run(self, statements)

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "run", late)
        told = today.store.begin()
        today.store.commit()
    _, admitted = today.hold(acme, 100)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [[now]] = cursor.fetchall()
    assert told <= admitted.now <= now


def test_a_call_is_held_and_settled_at_the_databases_time(today: Desk, acme: Organization) -> None:
    learn(today, acme)
    asked, admitted = today.hold(acme, 100)
    today.settle(settlement(asked, admitted, State.SETTLED, 40))
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        [[now]] = cursor.fetchall()
    hold, event = Hold.objects.get(pk=asked.id), CostEvent.objects.get()
    assert hold.resolved_at is not None
    assert admitted.now == hold.held_at <= hold.resolved_at == event.recorded_at
    if connection.vendor == "postgresql":  # SQLite's own has no fractions
        assert abs(hold.resolved_at - now) < timedelta(seconds=0.5)
