"""Stores with injected faults: before the n-th write, or after COMMIT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Any

from costs.ledger.stores.base import LOCK_WAIT_S, Locked, RowKeys, Store, StoreUnavailable
from costs.ledger.stores.tables import Row, Table


@dataclass
class Faults:
    """The faults to inject; shared by all stores of a test."""

    fails_at_write: int | None = None  # counted from 0, once
    loses_commits: int = 0  # so many of the next commits happen, and then the connection is lost
    on_lost_commit: Callable[[], None] = lambda: None
    is_away: bool = False
    may_go_on: Event = field(default_factory=Event)  # cleared: all who ask the database wait
    writes: int = field(default=0, init=False)
    commits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.may_go_on.set()

    def check(self) -> None:
        assert self.may_go_on.wait(timeout=120), "the database was not allowed to continue"
        if self.is_away:
            raise StoreUnavailable("the database is away")

    def write(self) -> None:
        self.check()
        self.writes += 1
        if self.fails_at_write is not None and self.writes > self.fails_at_write:
            self.fails_at_write = None
            raise StoreUnavailable("the connection was lost before a write")


@dataclass
class FaultyStore:
    """A real store, with faults."""

    store: Store
    faults: Faults

    def begin(self, *, lock_wait_s: float = LOCK_WAIT_S) -> datetime:
        self.faults.check()
        return self.store.begin(lock_wait_s=lock_wait_s)

    def lock(self, keys: RowKeys, *, lock_wait_s: float = LOCK_WAIT_S) -> Locked:
        self.faults.check()
        return self.store.lock(keys, lock_wait_s=lock_wait_s)

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        self.faults.write()
        self.store.insert(table, rows)

    def update(self, table: Table, rows: Sequence[Row]) -> None:
        self.faults.write()
        self.store.update(table, rows)

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        self.faults.write()
        self.store.add(table, rows)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        self.faults.check()
        return self.store.query(statement, *values)

    def execute(self, statement: str, *values: Any) -> None:
        self.faults.write()
        self.store.execute(statement, *values)

    def commit(self) -> None:
        self.faults.write()
        self.store.commit()
        self.faults.commits += 1
        if self.faults.loses_commits:
            self.faults.loses_commits -= 1
            self.faults.on_lost_commit()
            raise StoreUnavailable("the connection was lost at COMMIT")

    def rollback(self) -> None:
        self.store.rollback()

    def close(self) -> None:
        self.store.close()
