"""The ledger's statements for SQLite: one writer at a time, so BEGIN IMMEDIATE is every lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from costs.ledger.stores.base import (
    LOCK_WAIT_S,
    BucketRow,
    HoldRow,
    Locked,
    LockedRow,
    OrganizationRow,
    PeriodRow,
    RowKeys,
    columns_of,
    rows_by_id,
    unavailable_on,
)
from costs.ledger.stores.tables import Row, Table, Values, changed_values
from orgs.database import as_moment

BUSY_TIMEOUT_S: Final = 5.0
OF_SCOPE: Final = "org_id = ANY(%s) AND scope = ANY(%s)"
IN_FORCE: Final = f"{OF_SCOPE} AND starts_at <= %s AND ends_at > %s"


# A database that is busy, unavailable or full: the same batch may be tried again.
_errors: Final = partial(unavailable_on, sqlite3.OperationalError)


class SqliteStore:
    """One connection to a SQLite file; see `Store`."""

    def __init__(self, path: str, *, clock: Callable[[], datetime] | None = None) -> None:
        self._clock = clock or _utc_now
        with _errors():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            # FULL: with NORMAL, a power failure could lose a commit of the write-ahead log.
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")

    def begin(self, *, lock_wait_s: float = LOCK_WAIT_S) -> datetime:
        with _errors():
            self._connection.execute("BEGIN IMMEDIATE")
        return self._clock()

    def lock(self, keys: RowKeys, *, lock_wait_s: float = LOCK_WAIT_S) -> Locked:
        now = self.begin()
        # Each alone, as an empty list of ids beside the other condition would scan the table.
        periods: dict[UUID, PeriodRow] = {}
        if keys.org_ids:
            periods |= self._rows(PeriodRow, IN_FORCE, keys.org_ids, keys.scopes, now, now)
        if keys.period_ids:
            periods |= self._rows(PeriodRow, "id = ANY(%s)", keys.period_ids)
        buckets: dict[UUID, BucketRow] = {}
        if keys.rate_scopes:
            buckets |= self._rows(BucketRow, OF_SCOPE, keys.org_ids, keys.rate_scopes)
        if keys.bucket_ids:
            buckets |= self._rows(BucketRow, "id = ANY(%s)", keys.bucket_ids)
        found = self.query("SELECT version, providers_version FROM price_list")
        prices_version, providers_version = found[0] if found else (0, 0)
        return Locked(
            now=now,
            prices_version=prices_version,
            providers_version=providers_version,
            organizations=self._rows(OrganizationRow, "id = ANY(%s)", keys.org_ids),
            periods=periods,
            buckets=buckets,
            holds=self._rows(HoldRow, "id = ANY(%s)", keys.hold_ids),
        )

    def _rows(self, kind: type[LockedRow], where: str, *values: Any) -> dict[UUID, LockedRow]:
        names = columns_of(kind)
        read = [_READ.get(kind.table.columns[name], _as_it_is) for name in names]
        selected = f"SELECT {', '.join(names)} FROM {kind.table.name} WHERE {where}"  # noqa: S608
        found = self.query(selected, *values)
        return rows_by_id(
            kind,
            [[read_one(value) for read_one, value in zip(read, row, strict=True)] for row in found],
        )

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        marks, names = ", ".join("?" * len(table.columns)), ", ".join(table.columns)
        values = f"VALUES ({marks}){table.on_conflict}"
        self._many(f"INSERT INTO {table.name} ({names}) {values}", table.new_values(rows))

    def update(self, table: Table, rows: Sequence[Row]) -> None:
        self._change(table, "{0} = ?", rows)

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        self._change(table, "{0} = {0} + ?", rows)

    def _change(self, table: Table, change: str, rows: Sequence[Row]) -> None:
        if rows:
            columns, values = changed_values(rows)
            changes = ", ".join(map(change.format, columns))
            statement = f"UPDATE {table.name} SET {changes} WHERE id = ?"  # noqa: S608  our own names
            self._many(statement, [(*others, id_) for id_, *others in values])

    def _many(self, statement: str, rows: Sequence[Values]) -> None:
        with _errors():
            self._connection.executemany(statement, [tuple(map(_adapted, row)) for row in rows])

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with _errors():
            return self._connection.execute(*_translated(statement, values)).fetchall()

    def execute(self, statement: str, *values: Any) -> None:
        with _errors():
            self._connection.execute(*_translated(statement, values))

    def commit(self) -> None:
        with _errors():
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


def _translated(statement: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return a statement of the common form with SQLite's placeholders, and its flat values."""
    bound: list[Any] = []
    for value in values:
        if isinstance(value, (list, tuple, set, frozenset)):
            marks = ", ".join("?" * len(value))
            statement = statement.replace("= ANY(%s)", f"IN ({marks})", 1)
            bound.extend(map(_adapted, value))
        else:
            bound.append(_adapted(value))
    return statement.replace("%s", "?"), bound


def _adapted(value: Any) -> Any:
    """Return `value` as Django stores it on SQLite."""
    adapt = _ADAPTED.get(type(value))
    return value if adapt is None else adapt(value)


def _utc_text(moment: datetime) -> str:
    return str(moment.astimezone(UTC).replace(tzinfo=None))


# By exact type: 70 values a request are looked up, and most are none of these.
_ADAPTED: Final[Mapping[type, Callable[[Any], str]]] = {
    UUID: str,
    datetime: _utc_text,
    date: date.isoformat,
}


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _as_it_is(value: Any) -> Any:
    return value


# Of columns that are never NULL.
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "boolean": bool,
    "date": date.fromisoformat,
    "timestamptz": as_moment,
    "uuid": UUID,
}
