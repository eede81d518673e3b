"""The ledger's statements for PostgreSQL: rows travel as arrays, one statement for a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import errors

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
from costs.stores.binary import NULL, TYPES, Parameter, Type, arrays, only, scalar
from costs.stores.pipeline import Pipeline, Statement
from costs.stores.writes import ADD, SET, Write, form, gathered

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
# It comes with the rows, and the version with the organizations: a statement less is 0.1 ms less.
READ_CLOCK: Final = b"SELECT coalesce($1::timestamptz, now())"


def _forms(many: str) -> tuple[bytes, bytes]:
    """Return a lock of many rows, in the order of their ids, and the same for a single one.

    Sorting one row was 7 % of what the server does for a batch of one call.
    """
    one = re.sub(r"ANY\((\$\d)\)", r"\1", many).replace(" ORDER BY id", "")
    return many.encode(), one.encode()


LOCK_ORGANIZATIONS: Final = _forms("""
    SELECT coalesce($1::timestamptz, now()), (SELECT version FROM price_list),
           id, name, ai_gateway_enabled, timezone, config_version
    FROM organization WHERE id = ANY($2) ORDER BY id FOR NO KEY UPDATE
""")
_PERIODS: Final = """
    SELECT coalesce($1::timestamptz, now()),
           id, org_id, scope, starts_on, starts_at, ends_at, limit_nanoeur,
           held_nanoeur, settled_nanoeur, overrun_nanoeur, carried_nanoeur
    FROM period WHERE {} ORDER BY id FOR NO KEY UPDATE
"""
_IN_FORCE: Final = """
    (org_id = ANY($2) AND scope = ANY($3)
     AND starts_at <= coalesce($1::timestamptz, now())
     AND ends_at > coalesce($1::timestamptz, now()))
"""
# Three of them, since what only asks or only settles is most there is while little is to do, and
# finds its rows in half the time: 0.09 against 0.13 ms of the server's.
LOCK_IN_FORCE: Final = _forms(_PERIODS.format(_IN_FORCE))
LOCK_PERIODS: Final = _forms(_PERIODS.format("id = ANY($2)"))
LOCK_BOTH: Final = _PERIODS.format(f"id = ANY($4) OR {_IN_FORCE}").encode()
LOCK_HOLDS: Final = _forms("""
    SELECT id, state, amount_nanoeur, charged_nanoeur, held_at
    FROM hold WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE
""")
NEIGHBOURS: Final = b"""
    SELECT max(ends_at) FILTER (WHERE starts_at <= $1),
           min(starts_at) FILTER (WHERE starts_at > $1)
    FROM period WHERE org_id = $2 AND scope = $3
"""
BEGIN: Final = Statement(b"BEGIN")
COMMIT: Final = Statement(b"COMMIT")
_UUID: Final = TYPES["uuid"]
_TEXT: Final = TYPES["text"]


class _Errors:
    """Deadlocks, timeouts and lost connections: the same batch may be tried again."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        if isinstance(exc, _MAY_BE_TRIED_AGAIN):
            raise StoreUnavailable(str(exc)) from exc


_MAY_BE_TRIED_AGAIN: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
)
# One for all, and no generator: that was ten calls for each use.
_errors: Final = _Errors()


class PostgresStore:
    """One connection to PostgreSQL; see `Store`.

    Writes are kept until the commit, or the next question, and travel together: a batch takes two
    round trips, one to lock and one to write and commit.
    """

    def __init__(
        self, parameters: dict[str, Any], *, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._clock = clock
        self._unsent: list[Write | Statement] = []
        with _errors:
            self._connection = psycopg.connect(**(NETWORK | parameters), autocommit=True)
            self._connection.execute(SESSION)
            self._pipeline = Pipeline(self._connection)

    def begin(self) -> datetime:
        [_, [(now,)]] = self._run(BEGIN, Statement.of(READ_CLOCK, self._clock_read()))
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
        clock = self._clock_read()
        # Each after the locks before it, so that it sees what committed while they were waited for.
        asked: dict[str, Statement] = {}
        if org_ids:
            asked["organizations"] = _lock(LOCK_ORGANIZATIONS, (org_ids, _UUID), first=clock)
        if org_ids and period_ids:
            keys = arrays(org_ids, _UUID), arrays(scopes, _TEXT), arrays(period_ids, _UUID)
            asked["periods"] = Statement.of(LOCK_BOTH, clock, *keys)
        elif org_ids:
            asked["periods"] = _lock(LOCK_IN_FORCE, (org_ids, _UUID), (scopes, _TEXT), first=clock)
        elif period_ids:
            asked["periods"] = _lock(LOCK_PERIODS, (period_ids, _UUID), first=clock)
        if hold_ids:
            asked["holds"] = _lock(LOCK_HOLDS, (hold_ids, _UUID))
        _, *rows = self._run(BEGIN, *asked.values())
        found = dict(zip(asked, rows, strict=True))
        organizations, periods = found.get("organizations", ()), found.get("periods", ())
        stamped = organizations or periods
        if not stamped:  # nothing that the clock could come with
            [stamped] = self._run(Statement.of(READ_CLOCK, clock))
        return Locked(
            now=stamped[0][0],
            prices_version=organizations[0][1] or 0 if organizations else 0,
            organizations={row[2]: _organization(row[2:]) for row in organizations},
            periods={row[1]: _period(row[1:]) for row in periods},
            holds={row[0]: _hold(row) for row in found.get("holds", ())},
        )

    def neighbours(
        self, *, org_id: UUID, scope: str, moment: datetime
    ) -> tuple[datetime | None, datetime | None]:
        asked = Statement.of(NEIGHBOURS, scalar(moment), scalar(org_id), scalar(scope))
        [[(previous_ends_at, next_starts_at)]] = self._run(asked)
        return previous_ends_at, next_starts_at

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if rows:
            self._unsent.append(Write(form(table), rows))

    def update(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if rows:
            self._unsent.append(Write(form(table, columns, SET), rows))

    def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if rows:
            self._unsent.append(Write(form(table, columns, ADD), rows))

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._run(Statement.of(_numbered(statement), *map(scalar, values)))[-1]

    def execute(self, statement: str, *values: Any) -> None:
        self._unsent.append(Statement.of(_numbered(statement), *map(scalar, values)))

    def commit(self) -> None:
        waiting, self._unsent = gathered(self._unsent), []
        with _errors:
            self._pipeline.run((*waiting, COMMIT))

    def rollback(self) -> None:
        self._unsent.clear()
        try:
            self._pipeline.roll_back()
        except psycopg.Error:
            self._connection.close()

    def close(self) -> None:
        self._connection.close()

    def _run(self, *statements: Statement) -> list[list[tuple[Any, ...]]]:
        """Send the writes that wait and these statements; return what these read."""
        before, self._unsent = gathered(self._unsent), []
        with _errors:
            return self._pipeline.run((*before, *statements))[len(before) :]

    def _clock_read(self) -> Parameter:
        return NULL if self._clock is None else scalar(self._clock())


def _lock(
    forms: tuple[bytes, bytes], *keys: tuple[Sequence[Any], Type], first: Parameter | None = None
) -> Statement:
    """Return the lock of the rows that have one of each sort of key."""
    many, one = forms
    is_one = all(len(values) == 1 for values, _ in keys)
    parameters = [(only if is_one else arrays)(values, type_) for values, type_ in keys]
    return Statement.of(one if is_one else many, *([first] if first else ()), *parameters)


@cache
def _numbered(statement: str) -> bytes:
    """Return a statement of the common form with PostgreSQL's own marks."""
    first, *others = statement.split("%s")
    marked = (f"${number}{text}" for number, text in enumerate(others, start=1))
    return "".join((first, *marked)).encode()


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
