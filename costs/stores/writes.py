"""Writes of rows to PostgreSQL, gathered in as few statements as can be.

Measured: a statement costs the server 50 us by itself, however few its rows; and a row that
travels as values, not as an array for each column, costs two thirds of what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from costs.stores.base import Row, Table
from costs.stores.binary import BINARY_FORMAT, TYPES, Type, array, singles
from costs.stores.pipeline import Statement

# What an update makes of a column {0} and the value {1} that is sent.
SET: Final = "{1}"
ADD: Final = "t.{0} + {1}"


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What a write of rows does: it inserts them or, with a `change`, makes it in those there are.

    `columns` are names with their types.
    """

    table: str
    columns: tuple[tuple[str, str], ...]
    types: tuple[Type, ...]
    change: str
    on_conflict: str

    def text(self, first: int, *, is_single: bool) -> str:
        """Return the statement, whose parameters are numbered from `first` on.

        A single row travels as its values, others as an array for each column.
        """
        names = [name for name, _ in self.columns]
        many = "" if is_single else "[]"
        marks = [f"${at}::{type_}{many}" for at, (_, type_) in enumerate(self.columns, first)]
        listed, all_marks = ", ".join(names), ", ".join(marks)
        if not self.change:
            rows = f"VALUES ({all_marks})" if is_single else f"SELECT * FROM unnest({all_marks})"  # noqa: S608
            return f"INSERT INTO {self.table} ({listed}) {rows}{self.on_conflict}"
        sent = marks if is_single else [f"v.{name}" for name in names]
        changes = ", ".join(
            f"{name} = {self.change.format(name, value)}"
            for name, value in zip(names[1:], sent[1:], strict=True)
        )
        source = "" if is_single else f" FROM unnest({all_marks}) AS v ({listed})"
        return f"UPDATE {self.table} AS t SET {changes}{source} WHERE t.id = {sent[0]}"  # noqa: S608


_forms: Final[dict[tuple[str, tuple[str, ...], str], Form]] = {}


def form(table: Table, columns: Sequence[str] = (), change: str = "") -> Form:
    """Return the one Form of such a write: made anew, it would be hashed anew, 30 columns long."""
    key = (table.name, tuple(columns), change)
    known = _forms.get(key)
    if known is None:
        names = ("id", *columns) if change else tuple(table.columns)
        typed = tuple([(name, table.columns[name]) for name in names])
        types = tuple([TYPES[type_] for _, type_ in typed])
        known = Form(table.name, typed, types, change, "" if change else table.on_conflict)
        _forms[key] = known
    return known


class Write(NamedTuple):
    """Rows on their way."""

    form: Form
    rows: Sequence[Row]


def gathered(unsent: Sequence[Write | Statement]) -> list[Statement]:
    """Return what waits in few statements: writes to different tables travel in one."""
    statements: list[Statement] = []
    together: list[Write] = []
    for each in unsent:
        if isinstance(each, Statement):
            statements += _statements(together)
            statements.append(each)
            together = []
            continue
        if each.form.table in {write.form.table for write in together}:
            statements += _statements(together)  # one would not see what it has written itself
            together = []
        together.append(each)
    return statements + _statements(together)


def _statements(writes: Sequence[Write]) -> list[Statement]:
    """Return the statement that makes all of these writes, if there are any."""
    if not writes:
        return []
    is_single = all(len(write.rows) == 1 for write in writes)
    text, oids, formats = _together(tuple([write.form for write in writes]), is_single=is_single)
    values: list[bytes | None] = []
    for write in writes:
        if is_single:
            values += singles(write.rows[0], write.form.types)
        else:
            values += map(array, zip(*write.rows, strict=True), write.form.types)
    return [Statement(text, oids, values, formats)]


@cache
def _together(
    forms: tuple[Form, ...], *, is_single: bool
) -> tuple[bytes, tuple[int, ...], list[int]]:
    """Return the text of a statement that does all of these, its types and its formats."""
    oids: list[int] = []
    texts: list[str] = []
    for each in forms:
        texts.append(each.text(len(oids) + 1, is_single=is_single))
        oids += [type_.oid if is_single else type_.array_oid for type_ in each.types]
    *parts, last = texts
    named = ", ".join(f"part_{number} AS ({text})" for number, text in enumerate(parts))
    text = f"WITH {named} {last}" if parts else last
    return text.encode(), tuple(oids), [BINARY_FORMAT] * len(oids)
