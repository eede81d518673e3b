"""The ledger's statements for PostgreSQL: rows are sent as arrays, one statement for a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any, Final

import psycopg
from psycopg import errors

from costs.ledger.stores.base import (
    LOCK_WAIT_S,
    AnyRow,
    BucketRow,
    HoldRow,
    Locked,
    OrganizationRow,
    PeriodRow,
    RowKeys,
    StoreStalled,
    columns_of,
    rows_by_id,
    unavailable_on,
)
from costs.ledger.stores.binary import NULL, TYPES, Parameter, Type, arrays, only, scalar
from costs.ledger.stores.pipeline import ANSWER_TIMEOUT_S, Pipeline, Statement
from costs.ledger.stores.tables import Row, Table, changed_values
from costs.ledger.stores.writes import ADD, SET, Write, gathered, sql_write

# Reads after a lock must see what was committed before it, which another default isolation level
# of the server would not. The server ends a statement before this side gives up the connection
# (ANSWER_TIMEOUT_S).
SESSION: Final = (
    b"SET default_transaction_isolation = 'read committed'",
    b"SET lock_timeout = %d" % (LOCK_WAIT_S * 1000),
    b"SET statement_timeout = '9s'",
    b"SET synchronous_commit = on",
    b"SET idle_in_transaction_session_timeout = '15s'",
    b"SET TIME ZONE 'UTC'",
    b"SET plan_cache_mode = force_generic_plan",
    b"SET jit = off",
    b"SET enable_seqscan = off",
    b"SET enable_hashjoin = off",
    b"SET enable_mergejoin = off",
)
# A network that drops packets must become a 503 too, before TCP gives up by itself (15 min).
NETWORK: Final = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
# now() is the transaction's start: one clock for every statement of a batch. Tests pass their own.
NOW: Final = "coalesce($1::timestamptz, now())"
READ_CLOCK: Final = (
    f"SELECT {NOW}, coalesce(max(version), 0), coalesce(max(providers_version), 0) FROM price_list"  # noqa: S608
).encode()


def _lock(kind: type[AnyRow], where: str) -> tuple[bytes, bytes]:
    """Return the lock statement of many rows, in the order of their ids, and that of a single one.

    Sorting one row was 7 % of the server's work for a batch of one call.
    """
    names = ", ".join(columns_of(kind))
    rows = f"SELECT {names} FROM {kind.table.name} WHERE {where}"  # noqa: S608  our own names
    many = f"{rows} ORDER BY id FOR NO KEY UPDATE"
    one = re.sub(r"ANY\((\$\d)\)", r"\1", many).replace(" ORDER BY id", "")
    return many.encode(), one.encode()


LOCK_ORGANIZATIONS: Final = _lock(OrganizationRow, "id = ANY($1)")
_OF_SCOPE: Final = "org_id = ANY($2) AND scope = ANY($3)"
_IN_FORCE: Final = f"{_OF_SCOPE} AND starts_at <= {NOW} AND ends_at > {NOW}"
# Three of each, since a batch that only reserves or only settles, as most do under low load,
# finds its rows faster: 0.09 against 0.13 ms of the server's time.
LOCK_IN_FORCE: Final = _lock(PeriodRow, _IN_FORCE)
LOCK_PERIODS: Final = _lock(PeriodRow, "id = ANY($1)")
LOCK_BOTH: Final = _lock(PeriodRow, f"id = ANY($4) OR ({_IN_FORCE})")
LOCK_BUCKETS_OF_SCOPES: Final = _lock(BucketRow, "org_id = ANY($1) AND scope = ANY($2)")
LOCK_BUCKETS: Final = _lock(BucketRow, "id = ANY($1)")
LOCK_ALL_BUCKETS: Final = _lock(BucketRow, f"id = ANY($1) OR ({_OF_SCOPE})")
LOCK_HOLDS: Final = _lock(HoldRow, "id = ANY($1)")
BEGIN: Final = Statement(b"BEGIN")
# For one transaction; it travels with BEGIN.
SET_LOCK_TIMEOUT: Final = b"SELECT set_config('lock_timeout', $1, true)"
COMMIT: Final = Statement(b"COMMIT")
_UUID: Final = TYPES["uuid"]
_TEXT: Final = TYPES["text"]


# Deadlocks, timeouts and lost connections: the same batch may be tried again.
_errors: Final = partial(
    unavailable_on,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
    locked=(errors.LockNotAvailable,),
)


class PostgresStore:
    """One connection to PostgreSQL; see `Store`.

    Writes are deferred until the commit, or the next query, and sent together: a batch takes two
    round trips, one to lock and one to write and commit.
    """

    def __init__(
        self,
        parameters: dict[str, Any],
        *,
        clock: Callable[[], datetime] | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._clock = clock
        self._unsent: list[Write | Statement] = []
        with _errors():
            self._connection = psycopg.connect(**(NETWORK | parameters), autocommit=True)
            self._pipeline = Pipeline(self._connection, timeout_s=timeout_s)
            self._pipeline.run([Statement(each) for each in SESSION])

    def begin(self, *, lock_wait_s: float = LOCK_WAIT_S) -> datetime:
        clock = Statement.of(READ_CLOCK, self._clock_read())
        [(now, *_)] = self._run(*_begin(lock_wait_s), clock)[-1]
        moment: datetime = now
        return moment

    def lock(self, keys: RowKeys, *, lock_wait_s: float = LOCK_WAIT_S) -> Locked:
        clock = self._clock_read()
        org_ids, period_ids = (keys.org_ids, _UUID), (keys.period_ids, _UUID)
        scopes, rate_scopes = (keys.scopes, _TEXT), (keys.rate_scopes, _TEXT)
        bucket_ids = (keys.bucket_ids, _UUID)
        # Each after the previous locks, so that it sees what was committed while waiting for them.
        locks: dict[str, Statement] = {}
        if keys.org_ids:
            locks["organizations"] = _locking(LOCK_ORGANIZATIONS, org_ids)
        if keys.org_ids and keys.period_ids:
            locks["periods"] = _locking(LOCK_BOTH, org_ids, scopes, period_ids, first=clock)
        elif keys.org_ids:
            locks["periods"] = _locking(LOCK_IN_FORCE, org_ids, scopes, first=clock)
        elif keys.period_ids:
            locks["periods"] = _locking(LOCK_PERIODS, period_ids)
        if keys.rate_scopes and keys.bucket_ids:
            locks["buckets"] = _locking(LOCK_ALL_BUCKETS, bucket_ids, org_ids, rate_scopes)
        elif keys.rate_scopes:
            locks["buckets"] = _locking(LOCK_BUCKETS_OF_SCOPES, org_ids, rate_scopes)
        elif keys.bucket_ids:
            locks["buckets"] = _locking(LOCK_BUCKETS, bucket_ids)
        if keys.hold_ids:
            locks["holds"] = _locking(LOCK_HOLDS, (keys.hold_ids, _UUID))
        locks["clock"] = Statement.of(READ_CLOCK, clock)
        begin = _begin(lock_wait_s)
        results = self._run(*begin, *locks.values())[len(begin) :]
        found = dict(zip(locks, results, strict=True))
        [(now, prices_version, providers_version)] = found["clock"]
        return Locked(
            now=now,
            prices_version=prices_version,
            providers_version=providers_version,
            organizations=rows_by_id(OrganizationRow, found.get("organizations", ())),
            periods=rows_by_id(PeriodRow, found.get("periods", ())),
            buckets=rows_by_id(BucketRow, found.get("buckets", ())),
            holds=rows_by_id(HoldRow, found.get("holds", ())),
        )

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if rows:
            self._unsent.append(Write(sql_write(table), table.new_values(rows)))

    def update(self, table: Table, rows: Sequence[Row]) -> None:
        self._change(table, SET, rows)

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        self._change(table, ADD, rows)

    def _change(self, table: Table, change: str, rows: Sequence[Row]) -> None:
        if rows:
            columns, values = changed_values(rows)
            self._unsent.append(Write(sql_write(table, columns, change), values))

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._run(Statement.of(_numbered(statement), *map(scalar, values)))[-1]

    def execute(self, statement: str, *values: Any) -> None:
        self._unsent.append(Statement.of(_numbered(statement), *map(scalar, values)))

    def commit(self) -> None:
        waiting, self._unsent = gathered(self._unsent), []
        with _errors():
            self._pipeline.run((*waiting, COMMIT))

    def rollback(self) -> None:
        self._unsent.clear()
        try:
            self._pipeline.roll_back()
        except (psycopg.Error, StoreStalled):
            self._connection.close()

    def close(self) -> None:
        self._connection.close()

    def _run(self, *statements: Statement) -> list[list[tuple[Any, ...]]]:
        """Send the deferred writes and these statements; return the rows of the latter."""
        before, self._unsent = gathered(self._unsent), []
        with _errors():
            return self._pipeline.run((*before, *statements))[len(before) :]

    def _clock_read(self) -> Parameter:
        return NULL if self._clock is None else scalar(self._clock())


def _begin(lock_wait_s: float) -> tuple[Statement, ...]:
    """Return the statements that begin a transaction."""
    if lock_wait_s == LOCK_WAIT_S:  # the session's
        return (BEGIN,)
    return BEGIN, Statement.of(SET_LOCK_TIMEOUT, scalar(f"{lock_wait_s * 1000:.0f}"))


def _locking(
    lock: tuple[bytes, bytes], *keys: tuple[Sequence[Any], Type], first: Parameter | None = None
) -> Statement:
    """Return the lock statement of the rows that match one key of each kind."""
    many, one = lock
    is_one = all(len(values) == 1 for values, _ in keys)
    parameters = [(only if is_one else arrays)(values, type_) for values, type_ in keys]
    return Statement.of(one if is_one else many, *([first] if first else ()), *parameters)


@cache
def _numbered(statement: str) -> bytes:
    """Return a statement of the common form with PostgreSQL's placeholders."""
    first, *others = statement.split("%s")
    marked = (f"${number}{text}" for number, text in enumerate(others, start=1))
    return "".join((first, *marked)).encode()
