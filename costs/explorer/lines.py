"""SQL statements that sum the daily and monthly lines, the same on both databases.

Filters and groupings read nothing else. `costs.explorer.parts` tells which lines a date range
consists of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil
from typing import Any, Final
from uuid import UUID

from django.db import connection

from costs.core.calendar.date_ranges import DateRange
from costs.core.cost_query import DAY, GROUP_COLUMNS, CostQuery
from costs.explorer.parts import BEFORE, SUMS, Part, Sql, compared, days_of, parts_of, union
from orgs.database import kept_id

FETCHED_AT_ONCE: Final = 1000
# Days whose lines are counted to estimate how many days the first lines of a table cover.
WEEK: Final = 7
DAYS: Final = """
    SELECT starts_on, SUM(settled_nanoeur + overrun_nanoeur) FROM period
    WHERE org_id = %s AND scope = 'org' AND starts_on >= %s AND starts_on <= %s
    GROUP BY starts_on HAVING SUM(settled_nanoeur + overrun_nanoeur) > 0
"""
# The kinds of rows of `table`, in their order.
LINE, TOP, TOTAL = range(3)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """What a page shows of a query, all of one moment.

    The first `lines`, as `grouped` yields them; the `top` values of a dimension by cost; the
    number of lines, None in a table by day; and in `total` the SUMS of all and their previous
    amount, None for what has no line.
    """

    lines: list[Row]
    top: list[Any]
    groups: int | None
    total: Row


def grouped(organization_id: UUID, query: CostQuery) -> Iterator[Row]:
    """Yield a row for each group: values, SUMS, previous amount (NULL in a table by day).

    Highest cost first; days newest first.
    """
    parts = days_of(query, query.date_range) if query.is_by_day else compared(query)
    groups, values = _groups(organization_id, query, parts, _keys(query.group_by))
    return _rows(f"{groups} ORDER BY {_order(query)}", values)


def table(
    organization_id: UUID, query: CostQuery, *, most: int, dimension: str | None, top: int
) -> CostTable:
    """Return the first `most` lines of a query, and the `top` values by cost of `dimension`, which
    is one that the query groups by.

    In a table by day, only as many days are summed by group as are shown, and all of them by
    month: a year of a million requests by day and user has 44,000 groups.
    """
    date_range, days = query.date_range, query.date_range.days
    # Lines are in order of days, so days alone need no estimate: the database stops in time.
    if query.is_by_day and query.group_by != (DAY,) and days > WEEK:
        days = _days_likely(organization_id, query, most)
    while True:
        first = max(
            date_range.first, _newest_day(query) - timedelta(days=min(days, date_range.days) - 1)
        )
        statement, values = _table(
            organization_id, query, DateRange(first, date_range.last), most, dimension, top
        )
        found = _table_of(_rows(statement, values), query, dimension)
        if len(found.lines) == most or first == date_range.first:
            return found
        days = _days_for(most, len(found.lines), days)


def _days_likely(organization_id: UUID, query: CostQuery, most: int) -> int:
    """Estimate how many days the newest lines of a table cover, from those of a week."""
    newest = _newest_day(query)
    week = DateRange(max(query.date_range.first, newest - timedelta(days=WEEK - 1)), newest)
    keys = _keys(query.group_by)
    lines, values = union(organization_id, query, days_of(query, week), keys=keys, sums=())
    [(number,)] = _rows(f"SELECT COUNT(*) FROM ({lines}) l", values)  # noqa: S608  our own names
    return _days_for(most, number, week.days)


def _newest_day(query: CostQuery) -> date:
    """Return the last day of the date range that may have lines: its end may be in the future."""
    return max(query.date_range.first, min(query.date_range.last, query.today))


def _days_for(most: int, number: int, days: int) -> int:
    """Estimate how many days have `most` lines if `days` have `number`, with some margin."""
    return 1 + ceil(1.2 * days * most / max(1, number))


def totals(organization_id: UUID, query: CostQuery) -> Row:
    """Return the SUMS of the date range and its previous amount, None for what has no line."""
    return next(_rows(*_groups(organization_id, query, compared(query), {})))


def dated(  # noqa: PLR0913  all parts of one query
    organization_id: UUID,
    query: CostQuery,
    date_range: DateRange,
    *,
    by_month: bool = False,
    dimension: str | None = None,
    values: Sequence[Any] = (),
) -> Iterator[Row]:
    """Yield (day, nano-euro of each of the dimension's `values`…, of all), by month if that
    suffices.

    A month that is mostly in the range then has the date of its first day, even if that is before
    the range. There is a sum for each value, since an index has the days in order and also grouping
    by the values would sort the lines: 20,000 of them take 12 ms instead of 24. The total that an
    organization spends in a day is also in the day's period.
    """
    if dimension is None and not query.is_filtered:
        return _rows(DAYS, [kept_id(organization_id), f"{date_range.first}", f"{date_range.last}"])
    column = GROUP_COLUMNS[dimension or DAY]
    lines, wanted = union(
        organization_id,
        query,
        parts_of(date_range, query.today)
        if by_month and not query.is_of_sessions
        else days_of(query, date_range),
        keys={"k0": GROUP_COLUMNS[DAY]},
        sums=("amount_nanoeur", "events"),
        amounts_of=(column, values),
    )
    sums = (*(f"v{n}" for n in range(len(values))), "amount_nanoeur")
    return _rows(
        f"SELECT k0, {_added(sums)} FROM ({lines}) l"  # noqa: S608  our own names
        " GROUP BY k0 HAVING SUM(events) > 0",
        wanted,
    )


# --- statements ---------------------------------------------------------------------------------


def _table(  # noqa: PLR0913  all parts of one query
    organization_id: UUID,
    query: CostQuery,
    shown: DateRange,
    most: int,
    dimension: str | None,
    top: int,
) -> Sql:
    """Return the statement of `table`: rows of their kind, place, the group's values, the SUMS and
    the previous amount. The place of a total is the number of groups."""
    keys = _keys(query.group_by)
    # In a table by day, only the lines have days.
    columns = {key: column for key, column in keys.items() if column != DAY}
    groups, values = _groups(organization_id, query, compared(query), columns)
    lines, order = "SELECT * FROM g", _order(query)
    if query.is_by_day:
        lines, more = _groups(organization_id, query, days_of(query, shown), keys)
        values += more
    all_sums = (*SUMS, "before_nanoeur")
    no_sums = ", ".join(["NULL"] * len(all_sums))
    no_keys = ", ".join(["NULL"] * len(keys))
    selects = [
        f"SELECT {LINE} AS kind, ROW_NUMBER() OVER (ORDER BY {order}) AS place, l.*"  # noqa: S608
        f" FROM ({lines} ORDER BY {order} LIMIT %s) l"
    ]
    values.append(most)
    if dimension is not None:
        key = f"k{query.group_by.index(dimension)}"
        in_its_column = ", ".join(each if each == key else "NULL" for each in keys)
        selects.append(
            f"SELECT {TOP}, place, {in_its_column}, {no_sums} FROM (SELECT {key},"  # noqa: S608
            f" ROW_NUMBER() OVER (ORDER BY SUM(amount_nanoeur) DESC, {key} NULLS LAST) AS place"
            f" FROM g GROUP BY {key} HAVING SUM(amount_nanoeur) > 0 ORDER BY place LIMIT %s) d"
        )
        values.append(top)
    selects.append(f"SELECT {TOTAL}, COUNT(*), {no_keys}, {_added(all_sums)} FROM g")  # noqa: S608
    return f"WITH g AS ({groups}) {' UNION ALL '.join(selects)} ORDER BY kind, place", values


def _table_of(rows: Iterator[Row], query: CostQuery, dimension: str | None) -> CostTable:
    kinds: tuple[list[Row], ...] = ([], [], [])
    for kind, *row in rows:
        kinds[kind].append(tuple(row))
    [(groups, *total)] = kinds[TOTAL]
    value = 1 + (query.group_by.index(dimension) if dimension else 0)
    return CostTable(
        lines=[row[1:] for row in kinds[LINE]],
        top=[row[value] for row in kinds[TOP]],
        groups=None if query.is_by_day else groups,
        total=tuple(total[len(query.group_by) :]),
    )


def _groups(
    organization_id: UUID, query: CostQuery, parts: Sequence[Part], keys: Mapping[str, str]
) -> Sql:
    """Return the statement of the groups of all parts, their SUMS and previous amounts."""
    is_one = len(parts) == 1
    sums = (*SUMS, *(("before_nanoeur",) if is_one else BEFORE))
    lines, values = union(organization_id, query, parts, keys=keys, sums=sums)
    if is_one:
        return lines, values
    names = ", ".join(keys)
    by = f" GROUP BY {names} HAVING SUM(events) > 0 OR SUM(before_events) > 0" if keys else ""
    chosen = ", ".join([*keys, _added((*SUMS, "before_nanoeur"))])
    return f"SELECT {chosen} FROM ({lines}) l{by}", values  # noqa: S608  our own names


def _keys(group_by: Sequence[str]) -> dict[str, str]:
    return {f"k{n}": GROUP_COLUMNS[dimension] for n, dimension in enumerate(group_by)}


def _order(query: CostQuery) -> str:
    """Return the order of the lines. Ordering by day alone uses an index, so that few are read."""
    keys = [*_keys(query.group_by)]
    first = [f"{keys.pop(0)} DESC"] if query.is_by_day else []
    rest = ["amount_nanoeur DESC", *(f"{key} NULLS LAST" for key in keys)] if keys else []
    return ", ".join(first + rest)


def _added(sums: Sequence[str]) -> str:
    return ", ".join(f"SUM({name}) AS {name}" for name in sums)


def _rows(statement: str, values: Sequence[Any]) -> Iterator[Row]:
    """Yield the rows, with FETCHED_AT_ONCE of them in memory."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, values)
        while some := cursor.fetchmany(FETCHED_AT_ONCE):
            yield from some
