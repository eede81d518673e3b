"""The statements that add up the lines of days and months, the same on both databases.

A span is read as few lines as there are: whole months from `monthly_cost`, and from `daily_cost`
the days that they lack, or have too many: a month so far is the month without the days to come. A
question by day reads days alone. A filter or a grouping never looks at anything else.

Every table is added up by group before anything else is done with its lines: SQLite copies a line
at each step that it passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from math import ceil
from typing import Any, Final
from uuid import UUID

from django.db import connection

from costs.core.spans import Span, months_of
from orgs.database import kept_id

DAY: Final = "day"
# The dimensions that costs can be grouped by, and their columns.
GROUP_COLUMNS: Final = {
    "model": "model",
    "provider": "provider",
    "team": "team_id",
    "project": "project_id",
    "app": "app_id",
    "client": "client_id",
    "user": "user_id",
    "task": "task_type",
    "key": "key_id",
    DAY: "day",
}
SUMS: Final = ("amount_nanoeur", "events", "requests", "input_tokens", "output_tokens")
# The same of the span compared with, and what they are the sums of.
BEFORE: Final = {"before_nanoeur": "amount_nanoeur", "before_events": "events"}
FETCHED_AT_ONCE: Final = 1000
# So many days are looked at first for the lines of a table by day and something else.
LOOKED_AT_FIRST_DAYS: Final = 14
DAYS: Final = """
    SELECT starts_on, SUM(settled_nanoeur + overrun_nanoeur) FROM period
    WHERE org_id = %s AND scope = 'org' AND starts_on >= %s AND starts_on <= %s
    GROUP BY starts_on HAVING SUM(settled_nanoeur + overrun_nanoeur) > 0
"""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostQuery:
    """Which costs to add up, by one or two dimensions, by day first, and what to compare them with.

    `wanted` maps columns to a value, or to None for "the requests did not say"; `models` are the
    names that a wanted model means. `today` only says which days have no lines yet.
    """

    span: Span
    group_by: tuple[str, ...]
    before: Span | None = None
    wanted: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] | None = None
    today: date = date.max

    def __post_init__(self) -> None:
        if DAY in self.group_by[1:]:
            raise ValueError("a table by day has its days first")

    @property
    def is_filtered(self) -> bool:
        return bool(self.wanted) or self.models is not None

    @property
    def is_by_day(self) -> bool:
        return DAY in self.group_by


def grouped(organization_id: UUID, query: CostQuery, *, most: int | None = None) -> Iterator[Row]:
    """Give a row for each group: its values, its SUMS, what it was before (NULL in a table by day).

    Dearest first; days newest first. With `most`, only so many of them, each followed by the
    number of all groups, the SUMS of all, and what all were before: one statement, one moment.
    A table by day does not count its groups: `newest` gives the first of them in less time.
    """
    columns = [GROUP_COLUMNS[dimension] for dimension in query.group_by]
    parts = [_Part.of_days(query.span)] if query.is_by_day else _compared(query)
    lines, values = _union(organization_id, query, parts, columns, (*SUMS, *BEFORE))
    keys = [f"k{n}" for n in range(len(columns))]
    compares = query.before is not None and not query.is_by_day
    before = "SUM(before_nanoeur)" if compares else "CAST(NULL AS bigint)"
    all_of_it = ", ".join(f"SUM({name}) OVER ()" for name in (*SUMS, "before_nanoeur"))
    order = ["k0 DESC"] if query.is_by_day else []
    others = [f"{key} NULLS LAST" for key in keys[len(order) :]]
    statement = (
        f"SELECT g.*{f', COUNT(*) OVER (), {all_of_it}' if most else ''} FROM ("  # noqa: S608
        f"SELECT {', '.join(keys)}, {_added(SUMS)}, {before} AS before_nanoeur FROM ({lines}) l"
        f" GROUP BY {', '.join(keys)} HAVING SUM(events) > 0 OR SUM(before_events) > 0"
        f") g ORDER BY {', '.join([*order, 'amount_nanoeur DESC', *others])}"
    )
    if most:
        statement, values = f"{statement} LIMIT %s", [*values, most]
    return _rows(statement, values)


def newest(organization_id: UUID, query: CostQuery, *, most: int) -> list[Row]:
    """Return the first rows of a table by day as `grouped` does, but NULL for the number of groups.

    Only so many days are added up by group as are shown, and all of them by month: a year of a
    million requests by day and user has 44,000 groups. Where there is no group, one row of NULLs
    has the sums of all.
    """
    span = query.span
    # Lines come by day, so days alone need no guess: the database stops when it has enough.
    days = span.days if query.group_by == (DAY,) else LOOKED_AT_FIRST_DAYS
    while True:
        first = max(span.first, span.last - timedelta(days=min(days, span.days) - 1))
        rows = list(_newest(organization_id, query, Span(first, span.last), most=most))
        if len(rows) == most or first == span.first:
            return rows
        days = ceil(1.2 * days * most / len(rows))  # as many as it takes, and some more


def _newest(organization_id: UUID, query: CostQuery, shown: Span, *, most: int) -> Iterator[Row]:
    columns = [GROUP_COLUMNS[dimension] for dimension in query.group_by]
    lines, values = _union(organization_id, query, [_Part.of_days(shown)], columns, SUMS)
    all_sums = (*SUMS, "before_nanoeur")
    all_lines, all_values = _union(organization_id, query, _compared(query), [], all_sums)
    order = "{0}k0 DESC"
    if len(columns) > 1:
        order += ", {0}amount_nanoeur DESC, {0}k1 NULLS LAST"
    statement = (
        "SELECT g.*, CAST(NULL AS bigint), CAST(NULL AS bigint), a.* FROM ("  # noqa: S608
        f"SELECT {_added(all_sums)} FROM ({all_lines}) l) a LEFT JOIN ("
        f"{lines} ORDER BY {order.format('')} LIMIT %s) g ON 1 = 1 ORDER BY {order.format('g.')}"
    )
    return _rows(statement, [*all_values, *values, most])


def totals(organization_id: UUID, query: CostQuery) -> Row:
    """Return the SUMS of the span and what it was before, None for what has no line."""
    sums = (*SUMS, "before_nanoeur")
    lines, values = _union(organization_id, query, _compared(query), [], sums)
    return next(_rows(f"SELECT {_added(sums)} FROM ({lines}) l", values))  # noqa: S608  our names


def dated(
    organization_id: UUID, query: CostQuery, span: Span, *, by_month: bool = False
) -> Iterator[Row]:
    """Give (day, nano-euro), by month where that is enough.

    A month that is mostly in the span then has the date of its first day, also where that is
    before the span. All that an organization spends in a day is in the day's period too, so that
    two months of 40,000 lines need not be added up, 16 ms of a page.
    """
    if not query.is_filtered and not by_month:
        return _rows(DAYS, [kept_id(organization_id), f"{span.first}", f"{span.last}"])
    lines, values = _dated(organization_id, query, span, [], by_month=by_month)
    return _rows(
        f"SELECT k0, SUM(amount_nanoeur) FROM ({lines}) l"  # noqa: S608  our own names
        " GROUP BY k0 HAVING SUM(events) > 0",
        values,
    )


def stacked(
    organization_id: UUID, query: CostQuery, dimension: str, *, most: int, by_month: bool = False
) -> Iterator[Row]:
    """Give (day, place, value, nano-euro) of the query's span by the dimension; days as in `dated`.

    Places are those of the `most` dearest values, from 0; all others have NULL for both.
    """
    columns = [GROUP_COLUMNS[dimension]]
    lines, values = _dated(organization_id, query, query.span, columns, by_month=by_month)
    return _rows(
        f"WITH l AS ({lines}), t AS ("  # noqa: S608  our own names
        "SELECT k1, ROW_NUMBER() OVER (ORDER BY SUM(amount_nanoeur) DESC, k1 NULLS LAST) - 1 AS n"
        " FROM l GROUP BY k1 HAVING SUM(amount_nanoeur) > 0 ORDER BY n LIMIT %s"
        ") SELECT l.k0, t.n, t.k1, SUM(amount_nanoeur) FROM l"
        " LEFT JOIN t ON l.k1 = t.k1 OR (l.k1 IS NULL AND t.k1 IS NULL)"
        " GROUP BY l.k0, t.n, t.k1 HAVING SUM(events) > 0",
        [*values, most],
    )


def _dated(
    organization_id: UUID, query: CostQuery, span: Span, columns: Sequence[str], *, by_month: bool
) -> tuple[str, list[Any]]:
    parts = _parts(span, query.today) if by_month else [_Part.of_days(span)]
    sums = ("amount_nanoeur", "events")
    return _union(organization_id, query, parts, [DAY, *columns], sums)


# --- parts of a span ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Lines of a table, and how they count for the span and for the one that is compared with it:
    1, 0, or -1 where months have them and the span has not.

    With a `month`, their days count as that month's first.
    """

    table: str
    column: str
    span: Span
    month: date | None = None
    now: int = 1
    before: int = 0

    @classmethod
    def of_days(cls, span: Span) -> _Part:
        return cls(table="daily_cost", column="day", span=span)

    @classmethod
    def of_months(cls, span: Span) -> _Part:
        return cls(table="monthly_cost", column="month", span=span)

    @classmethod
    def outside(cls, span: Span) -> _Part:
        """Days of one month that is not to have them."""
        return replace(cls.of_days(span), month=span.first.replace(day=1), now=-1)

    def key(self, column: str) -> tuple[str, bool]:
        """Return the expression of a group's value, and whether lines differ in it."""
        if column != DAY:
            return column, True
        return (f"'{self.month}'", False) if self.month else (self.column, True)

    def sum(self, name: str) -> str:
        """Return the expression of what the part adds to a sum."""
        counts = self.before if name in BEFORE else self.now
        if not counts:
            return f"0 AS {name}"
        return f"{'-' if counts < 0 else ''}SUM({BEFORE.get(name, name)}) AS {name}"


def _parts(span: Span, today: date) -> list[_Part]:
    """Return what to read for a span: months, and the days that they lack or have too many."""
    months = months_of(span, today=today)
    if months is None:
        return [_Part.of_days(span)]
    return [
        _Part.of_months(months),
        *(_Part.of_days(days) for days in span.without(months)),
        *(_Part.outside(days) for days in months.without(span)),
    ]


def _compared(query: CostQuery) -> list[_Part]:
    """Return what to read for the query's span and for the one that it is compared with.

    The days that one has of a month are often those that the other has not: they are read once.
    """
    parts = {(part.table, part.span): part for part in _parts(query.span, query.today)}
    for part in _parts(query.before, query.today) if query.before else ():
        both = parts.get((part.table, part.span), replace(part, now=0))
        parts[part.table, part.span] = replace(both, before=part.now)
    return [*parts.values()]


def _union(
    organization_id: UUID,
    query: CostQuery,
    parts: Sequence[_Part],
    columns: Sequence[str],
    sums: Sequence[str],
) -> tuple[str, list[Any]]:
    """Return the statement that gives the groups of every part, and the statement's own values.

    Their values are k0, k1. A group is there where its `events` or `before_events` add up to more
    than nothing: parts may take away all that another one has.
    """
    condition, filters = _condition(query)
    selects, values = [], []
    for part in parts:
        keys = [part.key(column) for column in columns]
        chosen = [f"{key} AS k{n}" for n, (key, _) in enumerate(keys)] + [*map(part.sum, sums)]
        by = ", ".join(key for key, differs in keys if differs)
        selects.append(
            f"SELECT {', '.join(chosen)} FROM {part.table} "  # noqa: S608  our own names
            f"WHERE org_id = %s AND {part.column} >= %s AND {part.column} <= %s{condition}"
            f"{f' GROUP BY {by}' if by else ''}"
        )
        first, last = f"{part.span.first}", f"{part.span.last}"
        values += [kept_id(organization_id), first, last, *filters]
    return " UNION ALL ".join(selects), values


def _added(sums: Sequence[str]) -> str:
    return ", ".join(f"SUM({name}) AS {name}" for name in sums)


def _condition(query: CostQuery) -> tuple[str, list[Any]]:
    condition, values = "", []
    for column, value in query.wanted.items():
        if value is None:
            condition += f" AND {column} IS NULL"
        else:
            condition += f" AND {column} = %s"
            values.append(_kept(column, value))
    if query.models is not None:
        names = ", ".join(["%s"] * len(query.models))
        condition += f" AND model IN ({names})" if names else " AND 1 = 0"
        values += query.models
    return condition, values


def _kept(column: str, value: Any) -> Any:
    """Return a value as the column keeps it."""
    if column != "key_id":
        return value
    return kept_id(UUID(str(value)))


def _rows(statement: str, values: Sequence[Any]) -> Iterator[Row]:
    """Give the rows, FETCHED_AT_ONCE of them in memory."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, values)
        while some := cursor.fetchmany(FETCHED_AT_ONCE):
            yield from some
