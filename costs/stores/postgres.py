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
from costs.stores.binary import TYPES, Parameter, array, scalar
from costs.stores.pipeline import Pipeline, Statement

# A lock nobody gives back must become a 503, not a queue that grows. And what is read after a
# lock must be what was committed before it: another default of the server's would not see that.
SESSION: Final = """
    SET default_transaction_isolation = 'read committed';
    SET lock_timeout = '5s'; SET statement_timeout = '15s'; SET synchronous_commit = on;
    SET idle_in_transaction_session_timeout = '15s'; SET TIME ZONE 'UTC';
    SET plan_cache_mode = force_generic_plan; SET jit = off;
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off
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
READ_CLOCK: Final = b"SELECT coalesce($1::timestamptz, now())"
LOCK_ORGANIZATIONS: Final = b"""
    SELECT id, name, ai_gateway_enabled, timezone, config_version
    FROM organization WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE
"""
# One row at least, for the clock and the version: a statement less is 0.1 ms less.
LOCK_PERIODS: Final = b"""
    WITH locked AS (
        SELECT id, org_id, scope, starts_on, starts_at, ends_at, limit_nanoeur,
               held_nanoeur, settled_nanoeur, overrun_nanoeur, carried_nanoeur
        FROM period
        WHERE id = ANY($1)
           OR (org_id = ANY($2) AND scope = ANY($4)
               AND starts_at <= coalesce($3::timestamptz, now())
               AND ends_at > coalesce($3::timestamptz, now()))
        ORDER BY id FOR NO KEY UPDATE
    )
    SELECT coalesce($3::timestamptz, now()), (SELECT version FROM price_list), locked.*
    FROM (SELECT) AS one LEFT JOIN locked ON true
"""
LOCK_HOLDS: Final = b"""
    SELECT id, state, amount_nanoeur, charged_nanoeur, held_at
    FROM hold WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE
"""
NEIGHBOURS: Final = b"""
    SELECT max(ends_at) FILTER (WHERE starts_at <= $1),
           min(starts_at) FILTER (WHERE starts_at > $1)
    FROM period WHERE org_id = $2 AND scope = $3
"""
_UUID: Final = TYPES["uuid"]
_TEXT: Final = TYPES["text"]


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
        self._unsent: list[Statement] = []
        with _errors():
            self._connection = psycopg.connect(**(NETWORK | parameters), autocommit=True)
            self._connection.execute(SESSION)
            self._pipeline = Pipeline(self._connection)

    def begin(self) -> datetime:
        _, [(now,)] = self._run((b"BEGIN", ()), (READ_CLOCK, (scalar(self._now()),)))
        moment: datetime = now
        return moment

    def lock(
        self,
        *,
        org_ids: Sequence[UUID],
        scopes: Sequence[str],
        period_ids: Sequence[UUID],
        hold_ids: Sequence[UUID],
    ) -> Locked:
        orgs = array(org_ids, _UUID)
        # Each after the locks before it, so that it sees what committed while they were waited for.
        found = self._run(
            (b"BEGIN", ()),
            *([(LOCK_ORGANIZATIONS, (orgs,))] if org_ids else ()),
            (
                LOCK_PERIODS,
                (array(period_ids, _UUID), orgs, scalar(self._now()), array(scopes, _TEXT)),
            ),
            *([(LOCK_HOLDS, (array(hold_ids, _UUID),))] if hold_ids else ()),
        )
        organizations = found[1] if org_ids else []
        holds = found[-1] if hold_ids else []
        periods = found[-2] if hold_ids else found[-1]
        moment, prices_version, *_ = periods[0]
        return Locked(
            now=moment,
            prices_version=prices_version or 0,
            organizations={row[0]: _organization(row) for row in organizations},
            periods={row[2]: _period(row[2:]) for row in periods if row[2] is not None},
            holds={row[0]: _hold(row) for row in holds},
        )

    def neighbours(
        self, *, org_id: UUID, scope: str, moment: datetime
    ) -> tuple[datetime | None, datetime | None]:
        values = (scalar(moment), scalar(org_id), scalar(scope))
        [[(previous_ends_at, next_starts_at)]] = self._run((NEIGHBOURS, values))
        return previous_ends_at, next_starts_at

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if rows:
            columns = tuple(table.columns.items())
            self._unsent.append(
                (_insert(table.name, columns, table.on_conflict), _arrays(columns, rows))
            )

    def update(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self._write(table, columns, rows, "{0} = v.{0}")

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self._write(table, columns, rows, "{0} = t.{0} + v.{0}")

    def _write(
        self, table: Table, columns: Sequence[str], rows: Sequence[Row], change: str
    ) -> None:
        if rows:
            typed = tuple((name, table.columns[name]) for name in ("id", *columns))
            self._unsent.append((_update(table.name, typed, change), _arrays(typed, rows)))

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._run((_numbered(statement), tuple(map(scalar, values))))[-1]

    def execute(self, statement: str, *values: Any) -> None:
        self._unsent.append((_numbered(statement), tuple(map(scalar, values))))

    def commit(self) -> None:
        self._run((b"COMMIT", ()))

    def rollback(self) -> None:
        self._unsent.clear()
        try:
            self._pipeline.run(((b"ROLLBACK", ()),))
        except psycopg.Error:
            self._connection.close()

    def close(self) -> None:
        self._connection.close()

    def _run(self, *statements: Statement) -> list[list[tuple[Any, ...]]]:
        """Send the writes that wait and these statements; return what these read."""
        writes, self._unsent = self._unsent, []
        with _errors():
            return self._pipeline.run((*writes, *statements))[len(writes) :]

    def _now(self) -> datetime | None:
        return None if self._clock is None else self._clock()


@cache
def _numbered(statement: str) -> bytes:
    """Return a statement of the common form with PostgreSQL's own marks."""
    first, *others = statement.split("%s")
    marked = (f"${number}{text}" for number, text in enumerate(others, start=1))
    return "".join((first, *marked)).encode()


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
    marks = (f"${number}::{type_}[]" for number, (_, type_) in enumerate(columns, start=1))
    return names, ", ".join(marks)


def _arrays(columns: Sequence[tuple[str, str]], rows: Sequence[Row]) -> list[Parameter]:
    """Return the rows' columns, an array each."""
    cells = zip(*rows, strict=True)
    return [array(values, TYPES[type_]) for (_, type_), values in zip(columns, cells, strict=True)]


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
        carried_nanoeur=row[10],
    )


def _hold(row: Row) -> HoldRow:
    return HoldRow(
        id=row[0],
        state=State(row[1]),
        amount_nanoeur=row[2],
        charged_nanoeur=row[3],
        held_at=row[4],
    )
