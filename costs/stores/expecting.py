"""Locks that fail, and their transaction with them, where a row is not what was expected.

They travel together with the writes that were decided on these rows, so that a batch takes one
round trip to PostgreSQL: the database looks, and nobody waits for what it sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from costs.core.holds import State
from costs.stores.base import Expected, Row
from costs.stores.binary import TYPES, Parameter, Type, array, scalar, single
from costs.stores.pipeline import Statement

# How far this process's notion of the database's clock may be off, and how close to the end of a
# period the batch is rather decided by the clock itself.
CLOCK_OFF_MAX: Final = timedelta(seconds=1)


class _Check:
    """The lock of rows of a table that must have these values; the first is their id.

    `more` must be true besides, of parameters that come after those.
    """

    def __init__(self, table: str, columns: Mapping[str, str], more: str = "true") -> None:
        self.types: list[Type] = [TYPES[type_] for type_ in columns.values()]
        names = list(columns)
        marks = [f"${at}::{type_}" for at, type_ in enumerate(columns.values(), start=1)]
        lists = ", ".join(f"{mark}[]" for mark in marks)
        among = _all_same(names, [f"e.{name}" for name in names])
        self.many = _check(
            f"{table} AS t JOIN unnest({lists}) AS e ({', '.join(names)}) ON {among} "
            f"WHERE {more} ORDER BY t.id",
            count="(count(*) = cardinality($1))::integer",
        )
        self.one = _check(f"{table} AS t WHERE {_all_same(names, marks)} AND {more}")

    def of(self, rows: Sequence[Row], *more: Parameter) -> Statement:
        """Return the statement for these rows."""
        if len(rows) == 1:
            values = [
                Parameter(type_.oid, single(value, type_))
                for value, type_ in zip(rows[0], self.types, strict=True)
            ]
            return Statement.of(self.one, *values, *more)
        lists = [
            Parameter(type_.array_oid, array(column, type_))
            for column, type_ in zip(zip(*rows, strict=True), self.types, strict=True)
        ]
        return Statement.of(self.many, *lists, *more)


def _check(rows: str, *, count: str = "count(*)") -> bytes:
    """Return the lock of rows, which divides by zero if their count is.

    Plain SQL has no other way to raise an error, and the server writes the statement into its log.
    """
    said = "/* fails if another process changed it; the batch is then decided anew */"
    rows = f"SELECT FROM {rows} FOR NO KEY UPDATE OF t"
    return f"SELECT {said} 1 / {count} FROM ({rows}) AS as_expected".encode()  # noqa: S608


def _all_same(names: Sequence[str], values: Sequence[str]) -> str:
    """Return the condition that every column has its value; NULL is one, but never of an id."""
    of_id, *others = zip(names, values, strict=True)
    same = [f"t.{name} IS NOT DISTINCT FROM {value}" for name, value in others]
    return " AND ".join([f"t.{of_id[0]} = {of_id[1]}", *same])


# `config_version` rises, by trigger, with every change of an organization's row.
_ORGANIZATIONS: Final = _Check(
    "organization",
    {"id": "uuid", "config_version": "bigint"},
    "coalesce((SELECT version FROM price_list), 0) = $3 "
    "AND coalesce($4::timestamptz, now()) BETWEEN $5 AND $6",
)
_PERIODS: Final = _Check(
    "period",
    {
        "id": "uuid",
        "limit_nanoeur": "bigint",
        "held_nanoeur": "bigint",
        "settled_nanoeur": "bigint",
        "overrun_nanoeur": "bigint",
        "carried_nanoeur": "bigint",
    },
)
_HOLDS: Final = _Check("hold", {"id": "uuid", "state": "text"})


def is_safely_in_force(expected: Expected, now: datetime) -> bool:
    """Whether the expected periods are those of `now`, though that may be a little off."""
    return all(
        period.starts_at + CLOCK_OFF_MAX <= now < period.ends_at - CLOCK_OFF_MAX
        for period in expected.periods.values()
    )


def checks(expected: Expected, *, clock: Parameter, now: datetime) -> list[Statement]:
    """Return the locks of what a batch was decided on, in the ledger's order."""
    statements: list[Statement] = []
    if expected.organizations:
        rows = [(row.id, row.config_version) for row in expected.organizations.values()]
        version = scalar(expected.prices_version)
        around = scalar(now - CLOCK_OFF_MAX), scalar(now + CLOCK_OFF_MAX)
        statements.append(_ORGANIZATIONS.of(rows, version, clock, *around))
        statements.append(
            _PERIODS.of(
                [
                    (
                        row.id,
                        row.limit_nanoeur,
                        row.held_nanoeur,
                        row.settled_nanoeur,
                        row.overrun_nanoeur,
                        row.carried_nanoeur,
                    )
                    for row in expected.periods.values()
                ]
            )
        )
    if expected.holds:
        held = State.HELD.value
        statements.append(_HOLDS.of([(id_, held) for id_ in expected.holds]))
    return statements
