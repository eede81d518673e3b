"""A transaction that fails anywhere is rolled back completely."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from costs.core.admission import Admitted
from costs.core.holds import State
from costs.ledger.connect import open_store
from costs.ledger.stores.base import StoreUnavailable
from orgs.models import Organization
from tests.costs.books import (
    Books,
    Clock,
    Desk,
    ask,
    books,
    check_the_books,
    events,
    new_ledger,
    settlement,
    states,
)
from tests.costs.faulty import Faults, FaultyStore

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

WRITES_MAX = 30


@pytest.fixture
def faulty(transactional_db: None, clock: Clock, faults: Faults) -> Iterator[FaultyStore]:
    """A connection on which things go wrong."""
    store = FaultyStore(open_store(clock=clock), faults)
    yield store
    store.close()


def test_settlement_that_fails_at_any_write_is_rolled_back(
    desk: Desk, faulty: FaultyStore, faults: Faults, acme: Organization
) -> None:
    ledger = new_ledger()
    asked, admitted = desk.hold(acme, 100, limit=1000, repeat="k")
    ended = settlement(asked, admitted, State.SETTLED, 140)
    for n in range(WRITES_MAX):
        faults.writes, faults.fails_at_write = 0, n
        try:
            ledger.commit(faulty, requests=(), settlements=[ended])
        except StoreUnavailable:
            faulty.rollback()
            assert (states(acme), events(acme)) == (["held"], [])
            assert books(acme) == Books(held=100, settled=0)
            check_the_books()
        else:
            break
    assert n > 5, "the wrapper met no writes"
    assert books(acme) == Books(held=0, settled=100, overrun=40)
    check_the_books()


def test_correction_that_fails_at_any_write_is_rolled_back(
    desk: Desk, faulty: FaultyStore, faults: Faults, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    desk.settle(settlement(asked, admitted, State.UNKNOWN))
    late = settlement(asked, admitted, State.SETTLED, 30)
    for n in range(WRITES_MAX):
        faults.writes, faults.fails_at_write = 0, n
        try:
            desk.ledger.commit(faulty, requests=(), settlements=[late])
        except StoreUnavailable:
            faulty.rollback()
            assert (states(acme), events(acme)) == (["unknown"], [("bound", 100)])
            check_the_books()
        else:
            break
    assert events(acme) == [("bound", 100), ("correction", -70)]
    check_the_books()


def test_reservation_that_fails_at_any_write_is_rolled_back(
    faulty: FaultyStore, faults: Faults, acme: Organization
) -> None:
    ledger = new_ledger()
    asked = ask(acme, 100, limit=1000, repeat="k")
    for n in range(WRITES_MAX):
        faults.writes, faults.fails_at_write = 0, n
        try:
            (answer,), *_ = ledger.commit(faulty, requests=[asked], settlements=(), again=n > 0)
        except StoreUnavailable:
            faulty.rollback()
            assert (states(acme), books(acme)) == ([], Books(0, 0))
            check_the_books()
        else:
            assert isinstance(answer, Admitted)
            break
    assert (states(acme), books(acme)) == (["held"], Books(held=100, settled=0))
    check_the_books()


def test_commit_with_lost_reply_neither_doubles_nor_loses(
    desk: Desk, faulty: FaultyStore, faults: Faults, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100, limit=300)
    asks = [ask(acme, 100, limit=300, repeat="k"), ask(acme, 100, limit=300)]
    ended = [settlement(asked, admitted, State.SETTLED, 100)]
    faults.loses_commits = 1
    with pytest.raises(StoreUnavailable):
        desk.ledger.commit(faulty, requests=asks, settlements=ended)
    answers, settled, _ = desk.ledger.commit(faulty, requests=asks, settlements=ended, again=True)
    assert all(isinstance(answer, Admitted) for answer in answers)
    assert (settled[0].changed, settled[0].charged_nanoeur) == (False, 100)
    assert books(acme) == Books(held=200, settled=100)
    assert events(acme) == [("usage", 100)]
    check_the_books()
