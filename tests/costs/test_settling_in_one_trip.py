"""A settlement takes its hold for open, and is right where another was there first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connection

from costs.core.holds import State
from costs.models import CostEvent, Hold
from costs.stores.pipeline import Pipeline, Statement
from orgs.models import Organization
from tests.costs.books import Books, Desk, books, check_the_books, events, settlement, states

pytestmark = pytest.mark.django_db(transaction=True)

NewDesk = Callable[[], Desk]


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


@pytest.mark.postgres_only
def test_a_reserve_takes_two_round_trips_and_a_settle_one(
    desk: Desk, acme: Organization, trips: list[int]
) -> None:
    desk.settle(settlement(*desk.hold(acme, 100), State.SETTLED, 40))  # makes the day
    trips.clear()
    asked, admitted = desk.hold(acme, 100)
    assert len(trips) == 2
    assert desk.settle(settlement(asked, admitted, State.SETTLED, 40)).changed
    assert len(trips) == 3
    check_the_books()


@pytest.mark.postgres_only
def test_a_settle_after_another_process_looks_again(
    desk: Desk, new_desk: NewDesk, acme: Organization, trips: list[int]
) -> None:
    asked, admitted = desk.hold(acme, 100)
    new_desk().settle(settlement(asked, admitted, State.UNKNOWN))
    trips.clear()
    desk.settle(settlement(asked, admitted, State.RELEASED))
    assert len(trips) == 4  # in vain, taken back, and once more by two


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
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    held = [desk.hold(acme, 100) for _ in range(5)]
    new_desk().settle(settlement(*held[2], State.RELEASED))
    _, settled = desk.commit((), [settlement(*each, State.SETTLED, 7) for each in held])
    assert [each.changed for each in settled] == [True, True, False, True, True]
    assert states(acme) == ["settled", "settled", "released", "settled", "settled"]
    assert books(acme) == Books(held=0, settled=28)
    check_the_books()


def test_a_settle_that_waits_for_another_process_sees_what_that_one_did(
    desk: Desk, new_desk: NewDesk, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100)
    ended = settlement(asked, admitted, State.SETTLED, 40)
    other, may_commit, found = new_desk(), Event(), []
    commit = other.store.commit

    def commit_later() -> None:
        assert may_commit.wait(timeout=10)
        commit()

    other.store.commit = commit_later  # type: ignore[method-assign]
    first = Thread(target=lambda: found.append(other.settle(ended)))
    first.start()
    second = Thread(target=lambda: found.append(desk.settle(ended)))
    second.start()
    second.join(timeout=0.2)
    may_commit.set()
    first.join(timeout=10)
    second.join(timeout=10)
    assert sorted(each.changed for each in found) == [False, True]
    assert (books(acme), events(acme)) == (Books(held=0, settled=40), [("usage", 40)])
    check_the_books()


def test_a_hold_is_settled_at_the_databases_time(today: Desk, acme: Organization) -> None:
    asked, admitted = today.hold(acme, 100)
    today.settle(settlement(asked, admitted, State.SETTLED, 40))
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        [[now]] = cursor.fetchall()
    hold, event = Hold.objects.get(), CostEvent.objects.get()
    assert hold.resolved_at is not None
    assert admitted.now == hold.held_at <= hold.resolved_at == event.recorded_at
    if connection.vendor == "postgresql":  # SQLite's own has no fractions
        assert hold.resolved_at - now < timedelta(seconds=0.05)
