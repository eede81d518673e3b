"""The statements that add up the lines of days and months, the same on both databases.

A span is read as few lines as there are: whole months from `monthly_cost`, the days before and
after from `daily_cost`; a question by day reads days alone. A filter or a grouping never looks at
anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection

from costs.core.spans import Span, month_end
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
FETCHED_AT_ONCE: Final = 1000
# So many days are looked at for the first lines of a table by day, by one dimension and by two.
# Where they have too few, the whole span is little more.
LOOKED_AT_FIRST: Final = (130, 31)
_DAY: Final = timedelta(days=1)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostQuery:
    """Which costs to add up, by one or two dimensions, by day first, and what to compare them with.

    `wanted` maps columns to a value, or to None for "the requests did not say"; `models` are the
    names that a wanted model means.
    """

    span: Span
    group_by: tuple[str, ...]
    before: Span | None = None
    wanted: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if DAY in self.group_by[1:]:
            raise ValueError("a table by day has its days first")

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
    parts = [(part, 1) for part in _parts(query.span, by_day=query.is_by_day)]
    if query.before is not None and not query.is_by_day:
        parts += [(part, 0) for part in _parts(query.before, by_day=False)]
    lines, values = _union(organization_id, query, columns, parts)
    keys = ", ".join(f"k{n}" for n in range(len(columns)))
    sums = ", ".join(f"SUM({name} * is_now) AS {name}" for name in SUMS)
    compares = query.before is not None and not query.is_by_day
    before = "SUM(amount_nanoeur * (1 - is_now))" if compares else "CAST(NULL AS bigint)"
    all_of_it = ", ".join(f"SUM({name}) OVER ()" for name in (*SUMS, "before_nanoeur"))
    order = ["k0 DESC"] if query.is_by_day else []
    others = [f"k{n} NULLS LAST" for n in range(len(order), len(columns))]
    statement = (
        f"SELECT g.*{f', COUNT(*) OVER (), {all_of_it}' if most else ''} FROM ("  # noqa: S608
        f"SELECT {keys}, {sums}, {before} AS before_nanoeur FROM ({lines}) l GROUP BY {keys}"
        f") g ORDER BY {', '.join([*order, 'amount_nanoeur DESC', *others])}"
    )
    if most:
        statement, values = f"{statement} LIMIT %s", [*values, most]
    return _rows(statement, values)


def newest(organization_id: UUID, query: CostQuery, *, most: int) -> Iterator[Row]:
    """Give the first rows of a table by day as `grouped` does, but NULL for the number of groups.

    Only the days that are shown are added up by group, and all of them by month: a year of a
    million requests by day and user has 44,000 groups. Where there is no group, one row of NULLs
    has the sums of all.
    """
    columns = [GROUP_COLUMNS[dimension] for dimension in query.group_by]
    shown = Span(_first_shown(organization_id, query, columns, most=most), query.span.last)
    lines, values = _union(
        organization_id, query, columns, [(part, 1) for part in _parts(shown, by_day=True)]
    )
    parts = [(part, 1) for part in _parts(query.span, by_day=False)]
    if query.before is not None:
        parts += [(part, 0) for part in _parts(query.before, by_day=False)]
    all_lines, all_values = _union(organization_id, query, [], parts)
    keys = [f"k{n}" for n in range(len(columns))]
    sums = ", ".join(f"SUM({name}) AS {name}" for name in SUMS)
    all_sums = ", ".join(f"SUM({name} * is_now)" for name in SUMS)
    others = "".join(f", {key} NULLS LAST" for key in keys[1:])
    statement = (
        f"SELECT g.*, CAST(NULL AS bigint), CAST(NULL AS bigint), a.* FROM ("  # noqa: S608
        f"SELECT {all_sums}, SUM(amount_nanoeur * (1 - is_now)) FROM ({all_lines}) l"
        f") a LEFT JOIN (SELECT {', '.join(keys)}, {sums} FROM ({lines}) l"
        f" GROUP BY {', '.join(keys)}) g ON 1 = 1"
        f" ORDER BY k0 DESC, g.amount_nanoeur DESC{others} LIMIT %s"
    )
    return _rows(statement, [*all_values, *values, most])


def _first_shown(
    organization_id: UUID, query: CostQuery, columns: Sequence[str], *, most: int
) -> date:
    """Return the first day of which a table of `most` lines, newest days first, shows something."""
    span = query.span
    first = span.last - timedelta(days=LOOKED_AT_FIRST[len(columns) - 1] - 1)
    if first <= span.first:
        return span.first
    looked_at = [(part, 1) for part in _parts(Span(first, span.last), by_day=True)]
    lines, values = _union(organization_id, query, columns, looked_at)
    keys = ", ".join(f"k{n}" for n in range(len(columns)))
    found = 0
    for day, groups in _rows(
        f"SELECT k0, COUNT(*) FROM (SELECT DISTINCT {keys} FROM ({lines}) l) g "  # noqa: S608
        "GROUP BY k0 ORDER BY k0 DESC",
        values,
    ):
        found += groups
        if found >= most:
            return date.fromisoformat(str(day))
    return span.first


def totals(organization_id: UUID, query: CostQuery, span: Span) -> Row:
    """Return the SUMS of a span, None for what has no line."""
    parts = [(part, 1) for part in _parts(span, by_day=False)]
    lines, values = _union(organization_id, query, [], parts)
    sums = ", ".join(f"SUM({name})" for name in SUMS)
    return next(_rows(f"SELECT {sums} FROM ({lines}) l", values))  # noqa: S608  our own names


def dated(  # noqa: PLR0913  keyword-only
    organization_id: UUID,
    query: CostQuery,
    span: Span,
    *,
    dimension: str | None = None,
    places: Sequence[str | None] = (),
    by_month: bool = False,
) -> Iterator[Row]:
    """Give (day, place of the dimension's value in `places` or None, nano-euro).

    By month where that is enough: whole months have the date of their first day.
    """
    columns = [GROUP_COLUMNS[DAY], *([GROUP_COLUMNS[dimension]] if dimension else [])]
    parts = [(part, 1) for part in _parts(span, by_day=not by_month)]
    lines, values = _union(organization_id, query, columns, parts)
    whens = [
        "WHEN k1 IS NULL THEN %s" if value is None else "WHEN k1 = %s THEN %s" for value in places
    ]
    place = f"CASE {' '.join(whens)} END" if dimension and places else "NULL"
    named: list[Any] = []
    for n, value in enumerate(places):
        named += [n] if value is None else [_kept(columns[-1], value), n]
    statement = (
        f"SELECT k0, place, SUM(amount_nanoeur) FROM (SELECT k0, {place} AS place, "  # noqa: S608
        f"amount_nanoeur FROM ({lines}) l) p GROUP BY k0, place"
    )
    return _rows(statement, [*named, *values])


# --- parts of a span ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    table: str
    column: str
    first: date
    last: date


def _parts(span: Span, *, by_day: bool) -> list[_Part]:
    """Return what to read for a span: days, or whole months and the days around them."""
    first = span.first
    if first.day != 1:
        first = month_end(first) + _DAY
    last = span.last
    if last != month_end(last):
        last = last.replace(day=1) - _DAY
    if by_day or first > last:
        return [_Part("daily_cost", "day", span.first, span.last)]
    parts = [_Part("monthly_cost", "month", first, last)]
    if span.first < first:
        parts.append(_Part("daily_cost", "day", span.first, first - _DAY))
    if last < span.last:
        parts.append(_Part("daily_cost", "day", last + _DAY, span.last))
    return parts


def _union(
    organization_id: UUID,
    query: CostQuery,
    columns: Sequence[str],
    parts: Sequence[tuple[_Part, int]],
) -> tuple[str, list[Any]]:
    """Return the statement that gives the lines of all parts (their values are k0, k1), and its
    own values."""
    condition, filters = _condition(query)
    selects, values = [], []
    for part, is_now in parts:
        keys = [f"{part.column if c == 'day' else c} AS k{n}" for n, c in enumerate(columns)]
        chosen = ", ".join([*keys, f"{is_now} AS is_now", *SUMS])
        selects.append(
            f"SELECT {chosen} FROM {part.table} "  # noqa: S608  our own names
            f"WHERE org_id = %s AND {part.column} >= %s AND {part.column} <= %s{condition}"
        )
        values += [_kept("key_id", organization_id), f"{part.first}", f"{part.last}", *filters]
    return " UNION ALL ".join(selects), values


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
