"""What the ledger needs of a database: one transaction of locks first and set-based writes after.

A store owns one connection and belongs to one thread. It speaks SQL without the ORM, since a
batch of 64 requests must cost a handful of statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

from costs.core.holds import State

Row = Sequence[Any]


class StoreUnavailable(Exception):
    """The database could not be reached, or the transaction was rolled back and may be retried."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table the ledger or the journal writes: its columns with their PostgreSQL types.

    In one that `keeps_first`, inserting an id that is there already does nothing; in one that
    `adds_up`, it adds to these columns of the row that is there.
    """

    name: str
    columns: Mapping[str, str]
    keeps_first: bool = False
    adds_up: tuple[str, ...] = ()

    @property
    def on_conflict(self) -> str:
        """The clause that says so, the same on both databases."""
        if self.adds_up:
            sums = ", ".join(
                f"{name} = {self.name}.{name} + excluded.{name}" for name in self.adds_up
            )
            return f" ON CONFLICT (id) DO UPDATE SET {sums}"
        return " ON CONFLICT (id) DO NOTHING" if self.keeps_first else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationRow:
    """What RESERVE reads live of an organization."""

    id: UUID
    name: str
    enabled: bool
    timezone: str
    config_version: int


@dataclass(slots=True, kw_only=True)
class PeriodRow:
    """A locked period; the ledger changes it in memory and writes the changes once."""

    id: UUID
    org_id: UUID
    scope: str
    starts_on: date
    starts_at: datetime
    ends_at: datetime
    limit_nanoeur: int | None
    held_nanoeur: int
    settled_nanoeur: int
    overrun_nanoeur: int
    carried_nanoeur: int

    @property
    def charged_nanoeur(self) -> int:
        """All that was spent in it."""
        return self.carried_nanoeur + self.settled_nanoeur + self.overrun_nanoeur


@dataclass(slots=True, kw_only=True)
class HoldRow:
    """A locked hold."""

    id: UUID
    state: State
    amount_nanoeur: int
    charged_nanoeur: int
    held_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """Everything a batch may change, locked, and the database's clock at its start."""

    now: datetime
    prices_version: int
    organizations: dict[UUID, OrganizationRow]
    periods: dict[UUID, PeriodRow]
    holds: dict[UUID, HoldRow]


class Store(Protocol):
    """One connection to one database. Raises StoreUnavailable when the batch may be retried.

    A write may be kept until the next `query` or `commit`, and fail only there.
    """

    def lock(
        self,
        *,
        org_ids: Sequence[UUID],
        scopes: Sequence[str],
        period_ids: Sequence[UUID],
        hold_ids: Sequence[UUID],
    ) -> Locked:
        """Begin a transaction and lock, in this order: organizations, periods, holds.

        Locks the periods in force of `org_ids` and `scopes` besides `period_ids`.
        """
        ...

    def neighbours(
        self, *, org_id: UUID, scope: str, moment: datetime
    ) -> tuple[datetime | None, datetime | None]:
        """Return the end of the last period begun by `moment` and the start of the next one."""
        ...

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows in the order of the table's columns."""
        ...

    def update(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Set `columns` of the rows whose id is the first value of each row."""
        ...

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add to integer `columns` of the rows whose id is the first value of each row."""
        ...

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement that reads the same on both databases.

        `%s` stands for a value, `= ANY(%s)` for a sequence of them.
        """
        ...

    def execute(self, statement: str, *values: Any) -> None:
        """Run a statement that writes, in the manner of `query`."""
        ...

    def begin(self) -> datetime:
        """Begin a transaction that locks nothing yet, and return the database's clock."""
        ...

    def commit(self) -> None:
        """Make the batch durable."""
        ...

    def rollback(self) -> None:
        """Undo the batch; never raises."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
