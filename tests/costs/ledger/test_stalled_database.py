"""A database that does not answer: its server process is suspended, or its file locked."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.db import connection

from costs.core.admission import Admitted
from costs.core.holds import State
from costs.ledger.connect import open_store
from costs.ledger.stores.base import LOCK_WAIT_S, Locked, RowKeys
from costs.ledger.stores.pipeline import ANSWER_TIMEOUT_S
from costs.ledger.stores.postgres import PostgresStore
from costs.ledger.writer import LedgerUnavailable, Writer
from orgs.models import Organization
from tests.costs.books import Books, ask, books, check_the_books, events, settlement, states
from tests.costs.clients import together, until
from tests.costs.faulty import Faults, FaultyStore

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

TIMEOUT_S = 1.0
NewWriter = Callable[..., Writer]


@dataclass
class Suspended(Faults):
    """Suspends the server's process before the next LOCK or COMMIT of a batch is sent to it."""

    before: str | None = None
    pids: list[int] = field(default_factory=list)

    def suspend(self, pid: int) -> None:
        if not Path(f"/proc/{pid}/comm").read_text().startswith("postgres"):
            pytest.skip("the server must run on this machine")
        os.kill(pid, signal.SIGSTOP)
        self.pids.append(pid)

    def resume(self) -> None:
        while self.pids:
            os.kill(self.pids.pop(), signal.SIGCONT)


@dataclass
class SuspendedStore(FaultyStore):
    """A store on PostgreSQL, whose server process can be suspended."""

    faults: Suspended
    is_batch: bool = False

    def lock(self, keys: RowKeys, *, lock_wait_s: float = LOCK_WAIT_S) -> Locked:
        self._suspend_before("lock")
        self.is_batch = True  # the heartbeat has no locks
        return super().lock(keys, lock_wait_s=lock_wait_s)

    def commit(self) -> None:
        if self.is_batch:
            self._suspend_before("commit")
        self.is_batch = False
        super().commit()

    def _suspend_before(self, step: str) -> None:
        if self.faults.before == step:
            self.faults.before = None
            [(pid,)] = self.store.query("SELECT pg_backend_pid()")
            self.faults.suspend(pid)


@pytest.fixture
def suspended() -> Iterator[Suspended]:
    """What is suspended; it goes on after the test."""
    made = Suspended()
    yield made
    made.resume()


@pytest.fixture
def writer(new_writer: NewWriter, suspended: Suspended, acme: Organization) -> Writer:
    """A writer that has written something, and does not wait long for the server."""
    made = new_writer(lambda: SuspendedStore(open_store(timeout_s=TIMEOUT_S), suspended))
    together(made, ask(acme, 1))
    return made


@pytest.mark.postgres_only
def test_store_waits_ten_seconds_by_default() -> None:
    store = open_store()
    assert isinstance(store, PostgresStore)
    assert store._pipeline._timeout_s == ANSWER_TIMEOUT_S == 10.0
    store.close()


@pytest.mark.postgres_only
def test_suspended_process_is_given_up_for_another_connection(
    writer: Writer, suspended: Suspended, acme: Organization
) -> None:
    suspended.before = "lock"
    started = time.monotonic()
    (admitted,) = together(writer, ask(acme, 100))
    assert isinstance(admitted, Admitted)
    assert time.monotonic() - started >= TIMEOUT_S
    suspended.resume()  # it locks what it was asked for, and finds its client gone
    assert isinstance(together(writer, ask(acme, 10))[0], Admitted)
    assert books(acme) == Books(held=111, settled=0)
    check_the_books()


@pytest.mark.postgres_only
def test_hold_that_is_committed_after_its_caller_got_503_is_released(
    writer: Writer, suspended: Suspended, acme: Organization
) -> None:
    suspended.before = "commit"
    (refused,) = together(writer, ask(acme, 100, limit=1000))
    assert isinstance(refused, LedgerUnavailable)
    assert states(acme) == ["held"]
    suspended.resume()  # the server finds the COMMIT in its socket
    until(lambda: states(acme) == ["held", "released"])
    assert books(acme) == Books(held=1, settled=0)
    check_the_books()


@pytest.mark.postgres_only
def test_settlement_that_is_committed_late_charges_once(
    writer: Writer, suspended: Suspended, acme: Organization
) -> None:
    asked = ask(acme, 100)
    (admitted,) = together(writer, asked)
    suspended.before = "commit"

    def resume() -> None:
        until(lambda: bool(suspended.pids))
        time.sleep(2 * TIMEOUT_S)  # the writer has given it up, and waits for its locks
        suspended.resume()

    with ThreadPoolExecutor(1) as other:
        resumed = other.submit(resume)
        (settled,) = together(writer, settlement(asked, admitted, State.SETTLED, 40))
        resumed.result()
    assert (settled.state, settled.charged_nanoeur) == (State.SETTLED, 40)
    assert events(acme) == [("usage", 40)]
    assert books(acme) == Books(held=1, settled=40)
    check_the_books()


@pytest.mark.long  # as long as SQLite waits for a lock
def test_call_fails_while_another_process_locks_file(
    new_writer: NewWriter, acme: Organization
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has no file that others can lock")
    writer = new_writer()
    together(writer, ask(acme, 1))
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        (refused,) = together(writer, ask(acme, 100))
        assert isinstance(refused, LedgerUnavailable)
    until(lambda: isinstance(together(writer, ask(acme, 10))[0], Admitted))
    assert books(acme) == Books(held=11, settled=0)
    check_the_books()
