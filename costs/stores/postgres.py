"""The ledger's statements for PostgreSQL: rows travel as arrays, one statement for a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

import psycopg

from costs.core.holds import State
from costs.stores.base import (
    HoldRow,
    Locked,
    OrganizationRow,
    PeriodRow,
    Row,
    StoreUnavailable,
    Table,
)

# A lock nobody gives back must become a 503, not a queue that grows. And what is read after a
# lock must be what was committed before it: another default of the server's would not see that.
SESSION: Final = """
    SET default_transaction_isolation = 'read committed';
    SET lock_timeout = '5s'; SET statement_timeout = '15s'; SET synchronous_commit = on;
    SET idle_in_transaction_session_timeout = '15s'; SET TIME ZONE 'UTC'
"""
# A network that swallows packets must become a 503 too, before TCP gives up by itself (15 min).
NETWORK: Final = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
# now() is the transaction's start: one clock for every statement of a batch. Tests pass theirs.
CLOCK: Final = "coalesce(%(now)s::timestamptz, now())"
READ_CLOCK: Final = f"SELECT {CLOCK}, (SELECT version FROM price_list)"  # noqa: S608  a constant
LOCK_ORGANIZATIONS: Final = """
    SELECT id, name, ai_gateway_enabled, timezone, config_version
    FROM organization WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE
"""
LOCK_PERIODS: Final = f"""
    SELECT id, org_id, scope, starts_on, starts_at, ends_at, limit_nanoeur,
           held_nanoeur, settled_nanoeur, overrun_nanoeur
    FROM period
    WHERE id = ANY(%(ids)s)
       OR (org_id = ANY(%(orgs)s) AND starts_at <= {CLOCK} AND ends_at > {CLOCK})
    ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608  a constant is put in, and no value
LOCK_HOLDS: Final = """
    SELECT id, state, amount_nanoeur, charged_nanoeur, held_at
    FROM hold WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE
"""
NEIGHBOURS: Final = """
    SELECT max(ends_at) FILTER (WHERE starts_at <= %(moment)s),
           min(starts_at) FILTER (WHERE starts_at > %(moment)s)
    FROM period WHERE org_id = %(org)s AND scope = %(scope)s
"""


@contextmanager
def _errors() -> Iterator[None]:
    """Deadlocks, timeouts and lost connections: the same batch may be tried again."""
    try:
        yield
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.errors.ReadOnlySqlTransaction,
        psycopg.errors.IdleInTransactionSessionTimeout,
    ) as exc:
        raise StoreUnavailable(str(exc)) from exc


class PostgresStore:
    """One connection to PostgreSQL; see `Store`.

    Writes are kept until the commit, or the next question, and travel together: a settle and a
    reserve cost two round trips each.
    """

    def __init__(
        self, parameters: dict[str, Any], *, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._clock = clock
        self._unsent: list[tuple[bytes, Sequence[Any]]] = []
        with _errors():
            self._connection = psycopg.connect(
                **(NETWORK | parameters), autocommit=True, prepare_threshold=0
            )
            self._connection.execute(SESSION, prepare=False)

    def begin(self) -> datetime:
        with _errors(), self._connection.pipeline():
            self._connection.execute("BEGIN")
            row = self._connection.execute(f"SELECT {CLOCK}", {"now": self._now()}).fetchone()
        assert row is not None  # noqa: S101  a SELECT without FROM has one row
        now: datetime = row[0]
        return now

    def lock(
        self, *, org_ids: Sequence[UUID], period_ids: Sequence[UUID], hold_ids: Sequence[UUID]
    ) -> Locked:
        now = self._now()
        connection = self._connection
        with _errors(), connection.pipeline():
            connection.execute("BEGIN")
            organizations = connection.execute(LOCK_ORGANIZATIONS, {"ids": list(org_ids)})
            # After the locks, so that it sees what committed while they were waited for.
            clock = connection.execute(READ_CLOCK, {"now": now})
            periods = connection.execute(
                LOCK_PERIODS, {"ids": list(period_ids), "orgs": list(org_ids), "now": now}
            )
            holds = connection.execute(LOCK_HOLDS, {"ids": list(hold_ids)}) if hold_ids else None
            moment, prices_version = clock.fetchall()[0]
            return Locked(
                now=moment,
                prices_version=prices_version or 0,
                organizations={row[0]: _organization(row) for row in organizations},
                periods={row[0]: _period(row) for row in periods},
                holds={row[0]: _hold(row) for row in holds} if holds else {},
            )

    def neighbours(
        self, *, org_id: UUID, scope: str, moment: datetime
    ) -> tuple[datetime | None, datetime | None]:
        with _errors():
            values = {"org": org_id, "scope": scope, "moment": moment}
            previous_ends_at, next_starts_at = self._connection.execute(
                NEIGHBOURS, values
            ).fetchall()[0]
        return previous_ends_at, next_starts_at

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if rows:
            statement = _insert(table.name, tuple(table.columns.items()), table.on_conflict)
            self._unsent.append((statement, _transposed(rows)))

    def update(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self._write(table, columns, rows, "{0} = v.{0}")

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self._write(table, columns, rows, "{0} = t.{0} + v.{0}")

    def _write(
        self, table: Table, columns: Sequence[str], rows: Sequence[Row], change: str
    ) -> None:
        if rows:
            typed = tuple((name, table.columns[name]) for name in ("id", *columns))
            self._unsent.append((_update(table.name, typed, change), _transposed(rows)))

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        self._send()
        with _errors():
            return self._connection.execute(statement.encode(), values).fetchall()

    def execute(self, statement: str, *values: Any) -> None:
        self._unsent.append((statement.encode(), values))

    def commit(self) -> None:
        self._unsent.append((b"COMMIT", ()))
        self._send()

    def rollback(self) -> None:
        self._unsent.clear()
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self._connection.close()

    def close(self) -> None:
        self._connection.close()

    def _send(self) -> None:
        """Send the writes that wait, all in one round trip."""
        statements, self._unsent = self._unsent, []
        if not statements:
            return
        with _errors(), self._connection.pipeline():
            for statement, values in statements:
                self._connection.execute(statement, values)

    def _now(self) -> datetime | None:
        return None if self._clock is None else self._clock()


@cache
def _insert(table: str, columns: tuple[tuple[str, str], ...], on_conflict: str) -> bytes:
    names, arrays = _names_and_arrays(columns)
    return f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}){on_conflict}".encode()  # noqa: S608  our own names


@cache
def _update(table: str, columns: tuple[tuple[str, str], ...], change: str) -> bytes:
    names, arrays = _names_and_arrays(columns)
    changes = ", ".join(change.format(name) for name, _ in columns if name != "id")
    return (
        f"UPDATE {table} AS t SET {changes} FROM unnest({arrays}) AS v ({names}) "  # noqa: S608
        "WHERE t.id = v.id"
    ).encode()


def _names_and_arrays(columns: Sequence[tuple[str, str]]) -> tuple[str, str]:
    names = ", ".join(name for name, _ in columns)
    return names, ", ".join(f"%s::{type_}[]" for _, type_ in columns)


def _transposed(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _organization(row: Row) -> OrganizationRow:
    return OrganizationRow(
        id=row[0], name=row[1], enabled=row[2], timezone=row[3], config_version=row[4]
    )


def _period(row: Row) -> PeriodRow:
    return PeriodRow(
        id=row[0],
        org_id=row[1],
        scope=row[2],
        starts_on=row[3],
        starts_at=row[4],
        ends_at=row[5],
        limit_nanoeur=row[6],
        held_nanoeur=row[7],
        settled_nanoeur=row[8],
        overrun_nanoeur=row[9],
    )


def _hold(row: Row) -> HoldRow:
    return HoldRow(
        id=row[0],
        state=State(row[1]),
        amount_nanoeur=row[2],
        charged_nanoeur=row[3],
        held_at=row[4],
    )
