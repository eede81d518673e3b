"""Locks that fail, and their transaction with them, where a row is not what was expected.

They travel together with the writes that were decided on these rows, so that a batch takes one
round trip to PostgreSQL: the database looks, and nobody waits for what it sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from costs.core.holds import State
from costs.stores.base import Expected, PeriodRow, Row
from costs.stores.binary import TYPES, Type, array, singles

# How far this process's notion of the database's clock may be off, and how close to the end of a
# period the batch is rather decided by the clock itself.
CLOCK_OFF_MAX: Final = timedelta(seconds=1)


class Condition:
    """That rows of a table are there with these values, the first their id; asking locks them.

    `more` must be true besides, of values that come after those.
    """

    def __init__(
        self, table: str, columns: Mapping[str, str], more: str = "true", *of_types: str
    ) -> None:
        self.table = table
        self.columns = columns
        self.more = more
        self.more_types = of_types
        self.types: list[Type] = [TYPES[type_] for type_ in (*columns.values(), *of_types)]

    def text(self, first: int, *, is_one: bool) -> str:
        """Return what is 1 if it is so and 0 if not, of values that are numbered from `first` on.

        A single row travels as its values, others as an array for each column.
        """
        types = (*self.columns.values(), *self.more_types)
        marks = [f"${at}::{type_}" for at, type_ in enumerate(types, first)]
        of_rows, more = marks[: len(self.columns)], self.more.format(*marks[len(self.columns) :])
        if is_one:
            count = "count(*)"
            rows = f"{self.table} AS t WHERE {_all_same(self.columns, of_rows)} AND {more}"
        else:
            count = f"(count(*) = cardinality({of_rows[0]}[]))::integer"
            arrays, names = ", ".join(f"{mark}[]" for mark in of_rows), ", ".join(self.columns)
            among = _all_same(self.columns, [f"e.{name}" for name in self.columns])
            rows = (
                f"{self.table} AS t JOIN unnest({arrays}) AS e ({names}) ON {among} "
                f"WHERE {more} ORDER BY t.id"
            )
        return f"(SELECT {count} FROM (SELECT FROM {rows} FOR NO KEY UPDATE OF t) AS found)"  # noqa: S608

    def oids(self, *, is_one: bool) -> list[int]:
        """Return the types of what is sent."""
        of_rows, more = self.types[: len(self.columns)], self.types[len(self.columns) :]
        return [
            *[type_.oid if is_one else type_.array_oid for type_ in of_rows],
            *[type_.oid for type_ in more],
        ]

    def values(self, rows: Sequence[Row], more: Sequence[Any]) -> list[bytes | None]:
        """Return what is sent."""
        if len(rows) == 1:
            return singles((*rows[0], *more), self.types)
        columns = zip(*rows, strict=True)
        of_rows: list[bytes | None] = [
            array(column, type_) for column, type_ in zip(columns, self.types, strict=False)
        ]
        return of_rows + singles(more, self.types[len(self.columns) :])


class Expectation(NamedTuple):
    """A condition of these rows."""

    condition: Condition
    rows: Sequence[Row]
    more: Sequence[Any] = ()


def unless_all(conditions: Sequence[str]) -> str:
    """Return the statement that asks these in their order, and fails at the first that is not so.

    Plain SQL has no other way to raise an error than a division by zero, and the server writes
    the statement into its log.
    """
    said = "/* fails if another process changed it; the batch is then decided anew */"
    return f"SELECT {said} WHERE {' / '.join(('1', *conditions))} = 0"


def _all_same(names: Iterable[str], values: Sequence[str]) -> str:
    """Return the condition that every column has its value; NULL is one, but never of an id."""
    of_id, *others = zip(names, values, strict=True)
    same = [f"t.{name} IS NOT DISTINCT FROM {value}" for name, value in others]
    return " AND ".join([f"t.{of_id[0]} = {of_id[1]}", *same])


# `config_version` rises, by trigger, with every change of an organization's row.
_ORGANIZATIONS: Final = Condition(
    "organization",
    {"id": "uuid", "config_version": "bigint"},
    "coalesce((SELECT version FROM price_list), 0) = {} AND coalesce({}, now()) BETWEEN {} AND {}",
    *("bigint", "timestamptz", "timestamptz", "timestamptz"),
)
_PERIODS: Final = Condition(
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
# What only settles may find any sums in its periods.
_PERIODS_AT_ALL: Final = Condition("period", {"id": "uuid"})
_HOLDS: Final = Condition("hold", {"id": "uuid", "state": "text"})


def is_safely_in_force(expected: Expected, now: datetime) -> bool:
    """Whether the expected periods are those of `now`, though that may be a little off."""
    return all(
        period.starts_at + CLOCK_OFF_MAX <= now < period.ends_at - CLOCK_OFF_MAX
        for period in expected.periods.values()
    )


def expectations(expected: Expected, *, clock: datetime | None, now: datetime) -> list[Expectation]:
    """Return what must be so of what a batch was decided on, in the ledger's order of locks.

    `clock` is the time by which the database goes, where that is not its own.
    """
    found: list[Expectation] = []
    if expected.organizations:
        rows = [(row.id, row.config_version) for row in expected.organizations.values()]
        around = now - CLOCK_OFF_MAX, now + CLOCK_OFF_MAX
        found.append(Expectation(_ORGANIZATIONS, rows, (expected.prices_version, clock, *around)))
        found.append(Expectation(_PERIODS, list(map(_sums, expected.periods.values()))))
    else:
        found.append(Expectation(_PERIODS_AT_ALL, [(id_,) for id_ in expected.periods]))
    if expected.holds:
        found.append(Expectation(_HOLDS, [(id_, State.HELD.value) for id_ in expected.holds]))
    return found


def _sums(period: PeriodRow) -> Row:
    return (
        period.id,
        period.limit_nanoeur,
        period.held_nanoeur,
        period.settled_nanoeur,
        period.overrun_nanoeur,
        period.carried_nanoeur,
    )
