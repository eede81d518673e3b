"""Writes of rows to PostgreSQL, combined into as few statements as possible.

Measured: a statement costs the server 50 us by itself, however few its rows; and a row sent as
values, not as an array for each column, costs two thirds of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from costs.ledger.stores.binary import BINARY_FORMAT, TYPES, Type, array, singles
from costs.ledger.stores.pipeline import Statement
from costs.ledger.stores.tables import Table, Values

# The expression of an update from a column {0} and the value {1} that is sent.
SET: Final = "{1}"
ADD: Final = "t.{0} + {1}"


@dataclass(frozen=True, slots=True, eq=False)
class SqlWrite:
    """A write of rows: an insert or, with a `change`, an update of `columns`."""

    table: Table
    columns: tuple[str, ...]
    change: str
    types: tuple[Type, ...]

    def text(self, first: int, *, is_single: bool) -> str:
        """Return the statement, whose parameters are numbered from `first` on.

        A single row is sent as its values, several as an array for each column.
        """
        name, names, many = self.table.name, self.columns, "" if is_single else "[]"
        numbered = enumerate(names, first)
        marks = [f"${at}::{self.table.columns[column]}{many}" for at, column in numbered]
        listed, all_marks = ", ".join(names), ", ".join(marks)
        if not self.change:
            rows = f"VALUES ({all_marks})" if is_single else f"SELECT * FROM unnest({all_marks})"  # noqa: S608
            return f"INSERT INTO {name} ({listed}) {rows}{self.table.on_conflict}"
        sent = marks if is_single else [f"v.{column}" for column in names]
        changes = ", ".join(
            f"{column} = {self.change.format(column, value)}"
            for column, value in zip(names[1:], sent[1:], strict=True)
        )
        source = "" if is_single else f" FROM unnest({all_marks}) AS v ({listed})"
        return f"UPDATE {name} AS t SET {changes}{source} WHERE t.id = {sent[0]}"  # noqa: S608


@cache
def sql_write(table: Table, columns: tuple[str, ...] = (), change: str = "") -> SqlWrite:
    """Return the insert into a table or, with a `change`, the update of columns."""
    names = ("id", *columns) if change else tuple(table.columns)
    return SqlWrite(table, names, change, tuple([TYPES[table.columns[name]] for name in names]))


class Write(NamedTuple):
    """A write with its rows."""

    sql_write: SqlWrite
    rows: Sequence[Values]


def gathered(unsent: Sequence[Write | Statement]) -> list[Statement]:
    """Return deferred writes in few statements: writes to different tables are combined."""
    statements: list[Statement] = []
    together: list[Write] = []
    for each in unsent:
        if isinstance(each, Statement):
            statements += _statements(together)
            statements.append(each)
            together = []
            continue
        if each.sql_write.table in {write.sql_write.table for write in together}:
            statements += _statements(together)  # a statement does not see its own writes
            together = []
        together.append(each)
    return statements + _statements(together)


def _statements(writes: Sequence[Write]) -> list[Statement]:
    """Return the statement of all these writes, if there are any."""
    if not writes:
        return []
    is_single = all(len(write.rows) == 1 for write in writes)
    text, oids, formats = _together(
        tuple([write.sql_write for write in writes]), is_single=is_single
    )
    values: list[bytes | None] = []
    for write in writes:
        if is_single:
            values += singles(write.rows[0], write.sql_write.types)
        else:
            values += map(array, zip(*write.rows, strict=True), write.sql_write.types)
    return [Statement(text, oids, values, formats)]


@cache
def _together(
    forms: tuple[SqlWrite, ...], *, is_single: bool
) -> tuple[bytes, tuple[int, ...], list[int]]:
    """Return the text of a statement of all these writes, its types and its formats."""
    oids: list[int] = []
    texts: list[str] = []
    for each in forms:
        texts.append(each.text(len(oids) + 1, is_single=is_single))
        oids += [type_.oid if is_single else type_.array_oid for type_ in each.types]
    *parts, last = texts
    named = ", ".join(f"part_{number} AS ({text})" for number, text in enumerate(parts))
    text = f"WITH {named} {last}" if parts else last
    return text.encode(), tuple(oids), [BINARY_FORMAT] * len(oids)
