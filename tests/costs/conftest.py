"""Ledgers and writers that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from costs.ledger.connect import open_store
from costs.ledger.stores.base import Store
from costs.ledger.writer import Writer
from tests.costs.books import Clock, Desk, new_ledger
from tests.costs.faulty import Faults


@pytest.fixture
def clock() -> Clock:
    """A test clock at noon of a Monday in June."""
    return Clock()


@pytest.fixture
def desk(transactional_db: None, clock: Clock) -> Iterator[Desk]:
    """A ledger with its own connection, on the test's clock."""
    desk = Desk(clock=clock)
    yield desk
    desk.close()


@pytest.fixture
def today(transactional_db: None) -> Iterator[Desk]:
    """A ledger on the database's clock, as in writers."""
    desk = Desk()
    yield desk
    desk.close()


@pytest.fixture
def new_desk(transactional_db: None, clock: Clock) -> Iterator[Callable[[], Desk]]:
    """Return ledgers of other processes, on the same clock."""
    opened: list[Desk] = []

    def new() -> Desk:
        opened.append(Desk(clock=clock))
        return opened[-1]

    yield new
    for desk in opened:
        desk.close()


@pytest.fixture
def faults() -> Faults:
    """The injected fault; set by the test."""
    return Faults()


@pytest.fixture
def new_writer(transactional_db: None) -> Iterator[Callable[..., Writer]]:
    """Return writers as in processes, whose threads end with the test."""
    started: list[Writer] = []

    def new(opener: Callable[[], Store] = open_store) -> Writer:
        started.append(Writer(open_store=opener, ledger=new_ledger()))
        return started[-1]

    yield new
    stopped = [writer.stop(timeout_s=60) for writer in started]
    assert all(stopped)
