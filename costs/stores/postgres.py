"""The ledger's statements for PostgreSQL: rows travel as arrays, one statement for a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
        self._unsent: list[Write | Statement] = []
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
            self._unsent.append(Write.of(_form(table), rows))

    def update(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if rows:
            self._unsent.append(Write.of(_form(table, columns, "{0} = v.{0}"), rows))

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if rows:
            self._unsent.append(Write.of(_form(table, columns, "{0} = t.{0} + v.{0}"), rows))

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
        writes, self._unsent = _gathered(self._unsent), []
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


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What a write of rows does: it inserts them or, with a `change`, makes it in those there are.

    `columns` are names with their types.
    """

    table: str
    columns: tuple[tuple[str, str], ...]
    change: str
    on_conflict: str

    def text(self, first: int) -> str:
        """Return the statement, whose parameters are numbered from `first` on."""
        names = ", ".join(name for name, _ in self.columns)
        marks = (f"${number}::{type_}[]" for number, (_, type_) in enumerate(self.columns, first))
        rows = f"unnest({', '.join(marks)})"
        if not self.change:
            head = f"INSERT INTO {self.table} ({names})"
            return f"{head} SELECT * FROM {rows}{self.on_conflict}"  # noqa: S608  our own names
        changes = ", ".join(self.change.format(name) for name, _ in self.columns[1:])
        head = f"UPDATE {self.table} AS t SET {changes}"  # noqa: S608
        return f"{head} FROM {rows} AS v ({names}) WHERE t.id = v.id"


_forms: Final[dict[tuple[str, tuple[str, ...], str], Form]] = {}


def _form(table: Table, columns: Sequence[str] = (), change: str = "") -> Form:
    """Return the one Form of such a write: made anew, it would be hashed anew, 30 columns long."""
    key = (table.name, tuple(columns), change)
    form = _forms.get(key)
    if form is None:
        names = ("id", *columns) if change else tuple(table.columns)
        typed = tuple([(name, table.columns[name]) for name in names])
        form = Form(table.name, typed, change, "" if change else table.on_conflict)
        _forms[key] = form
    return form


@dataclass(frozen=True, slots=True)
class Write:
    """Rows on their way, a parameter for each column."""

    form: Form
    columns: Sequence[Parameter]

    @classmethod
    def of(cls, form: Form, rows: Sequence[Row]) -> Write:
        """Return the rows' columns, an array each."""
        cells = zip(*rows, strict=True)
        pairs = zip(form.columns, cells, strict=True)
        return cls(form, [array(values, TYPES[type_]) for (_, type_), values in pairs])


def _gathered(unsent: Sequence[Write | Statement]) -> list[Statement]:
    """Return what waits in as few statements as can be: writes to different tables travel in one.

    Each statement costs 50 us by itself, however few its rows.
    """
    statements: list[Statement] = []
    together: list[Write] = []

    def close() -> None:
        if together:
            text = _together(tuple([write.form for write in together]))
            statements.append((text, [each for write in together for each in write.columns]))
            together.clear()

    for each in unsent:
        if not isinstance(each, Write):
            close()
            statements.append(each)
            continue
        if any(write.form.table == each.form.table for write in together):
            close()  # one statement would not see what it has written itself
        together.append(each)
    close()
    return statements


@cache
def _together(forms: tuple[Form, ...]) -> bytes:
    texts, first = [], 1
    for form in forms:
        texts.append(form.text(first))
        first += len(form.columns)
    *parts, last = texts
    if not parts:
        return last.encode()
    named = ", ".join(f"part_{number} AS ({text})" for number, text in enumerate(parts))
    return f"WITH {named} {last}".encode()


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
