"""The ledger's statements for SQLite: one writer at a time, so BEGIN IMMEDIATE is every lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

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

BUSY_TIMEOUT_S: Final = 5.0


@contextmanager
def _errors() -> Iterator[None]:
    """A database that is busy, away or full: the same batch may be tried again."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        raise StoreUnavailable(str(exc)) from exc


class SqliteStore:
    """One connection to a SQLite file; see `Store`."""

    def __init__(self, path: str, *, clock: Callable[[], datetime] | None = None) -> None:
        self._clock = clock or _utc_now
        with _errors():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            # FULL: with NORMAL, a commit of the write-ahead log could be lost with the power.
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")

    def begin(self) -> datetime:
        with _errors():
            self._connection.execute("BEGIN IMMEDIATE")
        return self._clock()

    def lock(
        self,
        *,
        org_ids: Sequence[UUID],
        scopes: Sequence[str],
        period_ids: Sequence[UUID],
        hold_ids: Sequence[UUID],
    ) -> Locked:
        now = self.begin()
        organizations = self.query(
            "SELECT id, name, ai_gateway_enabled, timezone, config_version "
            "FROM organization WHERE id = ANY(%s)",
            org_ids,
        )
        periods = self.query(
            "SELECT id, org_id, scope, starts_on, starts_at, ends_at, limit_nanoeur, held_nanoeur, "
            "settled_nanoeur, overrun_nanoeur, carried_nanoeur FROM period WHERE id = ANY(%s) "
            "OR (org_id = ANY(%s) AND scope = ANY(%s) AND starts_at <= %s AND ends_at > %s)",
            period_ids,
            org_ids,
            scopes,
            now,
            now,
        )
        holds = self.query(
            "SELECT id, state, amount_nanoeur, charged_nanoeur, held_at "
            "FROM hold WHERE id = ANY(%s)",
            hold_ids,
        )
        version = self.query("SELECT version FROM price_list")
        return Locked(
            now=now,
            prices_version=version[0][0] if version else 0,
            organizations={row.id: row for row in map(_organization, organizations)},
            periods={row.id: row for row in map(_period, periods)},
            holds={row.id: row for row in map(_hold, holds)},
        )

    def neighbours(
        self, *, org_id: UUID, scope: str, moment: datetime
    ) -> tuple[datetime | None, datetime | None]:
        row = self.query(
            "SELECT max(ends_at) FILTER (WHERE starts_at <= %s), "
            "min(starts_at) FILTER (WHERE starts_at > %s) "
            "FROM period WHERE org_id = %s AND scope = %s",
            moment,
            moment,
            org_id,
            scope,
        )[0]
        return _moment(row[0]), _moment(row[1])

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        marks = ", ".join("?" * len(table.columns))
        names = ", ".join(table.columns)
        values = f"VALUES ({marks}){table.on_conflict}"
        self._many(f"INSERT INTO {table.name} ({names}) {values}", rows)

    def update(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        changes = ", ".join(f"{name} = ?" for name in columns)
        self._write(table, changes, rows)

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        changes = ", ".join(f"{name} = {name} + ?" for name in columns)
        self._write(table, changes, rows)

    def _write(self, table: Table, changes: str, rows: Sequence[Row]) -> None:
        statement = f"UPDATE {table.name} SET {changes} WHERE id = ?"  # noqa: S608  our own names
        self._many(statement, [(*row[1:], row[0]) for row in rows])

    def _many(self, statement: str, rows: Sequence[Row]) -> None:
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
    """Return a statement of the common form with SQLite's own marks, and its flat values."""
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


# By the very type: 70 values a request are looked at, and most are none of these.
_ADAPTED: Final[Mapping[type, Callable[[Any], str]]] = {
    UUID: str,
    datetime: _utc_text,
    date: date.isoformat,
}


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def _known_moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _organization(row: Row) -> OrganizationRow:
    return OrganizationRow(
        id=UUID(row[0]),
        name=row[1],
        enabled=bool(row[2]),
        timezone=row[3],
        config_version=row[4],
    )


def _period(row: Row) -> PeriodRow:
    return PeriodRow(
        id=UUID(row[0]),
        org_id=UUID(row[1]),
        scope=row[2],
        starts_on=date.fromisoformat(row[3]),
        starts_at=_known_moment(row[4]),
        ends_at=_known_moment(row[5]),
        limit_nanoeur=row[6],
        held_nanoeur=row[7],
        settled_nanoeur=row[8],
        overrun_nanoeur=row[9],
        carried_nanoeur=row[10],
    )


def _hold(row: Row) -> HoldRow:
    return HoldRow(
        id=UUID(row[0]),
        state=State(row[1]),
        amount_nanoeur=row[2],
        charged_nanoeur=row[3],
        held_at=_known_moment(row[4]),
    )
