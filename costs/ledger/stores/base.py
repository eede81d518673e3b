"""What the ledger needs of a database: transactions of locks first, set-based writes after.

A store owns one connection and belongs to one thread. It uses SQL without the ORM, since a
batch of 64 requests must take only a few statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, ClassVar, Final, Protocol, TypeVar
from uuid import UUID

from costs.core.admission import Stale
from costs.core.holds import State
from costs.ledger.stores.tables import HOLD, ORGANIZATION, PERIOD, RATE_BUCKET, Row, Table

# How long a transaction waits for each lock. Batches of other processes end within milliseconds;
# what takes longer belongs to one organization, and must not keep the others of a batch waiting.
LOCK_WAIT_S: Final = 0.2
# For rows that were found locked, or are not urgent.
SHORT_LOCK_WAIT_S: Final = 0.02


class StoreUnavailable(Exception):
    """The database could not be reached, or the transaction was rolled back and may be retried."""


class StoreStalled(StoreUnavailable):
    """The database did not answer in time, and the connection is closed.

    What was sent may still be committed later, until when its locks are held.
    """


class StoreLocked(StoreUnavailable):
    """Another transaction kept a row locked for too long. Nothing was written; roll back."""


@contextmanager
def unavailable_on(
    *errors: type[Exception], locked: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Raise StoreUnavailable for these errors of the database's driver, StoreLocked for some."""
    try:
        yield
    except errors as exc:
        kind = StoreLocked if isinstance(exc, locked) else StoreUnavailable
        raise kind(str(exc)) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationRow:
    """What RESERVE reads live of an organization."""

    table: ClassVar[Table] = ORGANIZATION
    id: UUID
    name: str
    ai_gateway_enabled: bool
    timezone: str
    config_version: int


@dataclass(slots=True, kw_only=True)
class PeriodRow:
    """A locked period; the ledger changes it in memory and writes the changes once."""

    table: ClassVar[Table] = PERIOD
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
        """The total spent in it."""
        return self.carried_nanoeur + self.settled_nanoeur + self.overrun_nanoeur


@dataclass(slots=True, kw_only=True)
class BucketRow:
    """A locked rate bucket; the ledger changes it in memory and writes it once."""

    table: ClassVar[Table] = RATE_BUCKET
    id: UUID
    org_id: UUID
    scope: str
    refilled_at: datetime
    requests_taken: int = 0
    tokens_taken: int = 0
    in_flight: int = 0


@dataclass(slots=True, kw_only=True)
class HoldRow:
    """A locked hold."""

    table: ClassVar[Table] = HOLD
    id: UUID
    state: State
    amount_nanoeur: int
    charged_nanoeur: int
    held_at: datetime

    def __post_init__(self) -> None:
        self.state = State(self.state)  # databases store it as text


LockedRow = TypeVar("LockedRow", OrganizationRow, PeriodRow, BucketRow, HoldRow)
AnyRow = OrganizationRow | PeriodRow | BucketRow | HoldRow


def columns_of(kind: type[AnyRow]) -> tuple[str, ...]:
    """Return the columns that a kind of row has of its table, in the order of its fields."""
    return tuple([field.name for field in fields(kind)])


def rows_by_id(kind: type[LockedRow], found: Iterable[Sequence[Any]]) -> dict[UUID, LockedRow]:
    """Return rows of a kind by id, from values in the order of `columns_of`."""
    names = columns_of(kind)
    rows = [kind(**dict(zip(names, values, strict=True))) for values in found]
    return {row.id: row for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKeys:
    """The rows that a batch needs: by id, and of `org_ids` the periods in force of `scopes` and the
    buckets of `rate_scopes`.
    """

    org_ids: Sequence[UUID] = ()
    scopes: Sequence[str] = ()
    period_ids: Sequence[UUID] = ()
    rate_scopes: Sequence[str] = ()
    bucket_ids: Sequence[UUID] = ()
    hold_ids: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """Everything a batch may change, locked, and the database's clock at its start."""

    now: datetime
    prices_version: int
    providers_version: int
    organizations: dict[UUID, OrganizationRow]
    periods: dict[UUID, PeriodRow]
    buckets: dict[UUID, BucketRow]
    holds: dict[UUID, HoldRow]

    def versions(self, *, config_version: int) -> Stale:
        """Return the versions now, that of an organization's configuration among them."""
        return Stale(
            config_version=config_version,
            prices_version=self.prices_version,
            providers_version=self.providers_version,
        )


class Store(Protocol):
    """One connection to one database. Raises StoreUnavailable when the batch may be retried.

    No transaction waits for the database without a limit, and for each lock at most `lock_wait_s`.
    SQLite has a single lock, which is waited for longer: no transaction can go on without it.
    A write may be deferred until the next `query` or `commit`, and fail only then.
    """

    def lock(self, keys: RowKeys, *, lock_wait_s: float = LOCK_WAIT_S) -> Locked:
        """Begin a transaction and lock, in this order: organizations, periods, buckets, holds."""
        ...

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows; columns that a row omits are NULL."""
        ...

    def update(self, table: Table, rows: Sequence[Row]) -> None:
        """Set the other columns of the rows whose `id` is named; all rows name the same."""
        ...

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        """Add to the other, integer columns of the rows whose `id` is named."""
        ...

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement that reads, and is the same on both databases.

        `%s` stands for a value, `= ANY(%s)` for a sequence of them.
        """
        ...

    def execute(self, statement: str, *values: Any) -> None:
        """Run a statement that writes, with the same placeholders as `query`."""
        ...

    def begin(self, *, lock_wait_s: float = LOCK_WAIT_S) -> datetime:
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
