"""The lines to read for a date range: whole months, plus missing and minus surplus days.

A month to date is the month without its future days. A query by day reads only days. Every table
is summed by group before anything else is done with its lines: SQLite copies a line at each step
of a query.

Lines of sessions are of days, and only of charges with a session: what had none is what the daily
lines have more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final
from uuid import UUID

from costs.core.calendar.date_ranges import DateRange, months_of
from costs.core.cost_query import DAY, SESSION_COLUMNS, CostQuery
from orgs.database import kept_id

SUMS: Final = (
    *("amount_nanoeur", "estimated_nanoeur", "events", "requests"),
    *("input_tokens", "output_tokens"),
)
# The sums of the previous date range, and their columns.
BEFORE: Final = {"before_nanoeur": "amount_nanoeur", "before_events": "events"}

# A statement's text and its values.
Sql = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Lines of a table, and their factor in the range (`now`) and in the previous one (`before`):
    1, 0, or -1 where months contain them and the range does not. None: no comparison.

    With a `month`, their days count as the first day of that month. Only where it `has_sessions`
    have the lines a session and an agent; elsewhere these are absent.
    """

    table: str
    column: str
    date_range: DateRange
    month: date | None = None
    now: int = 1
    before: int | None = None
    has_sessions: bool = False

    @classmethod
    def of_days(cls, date_range: DateRange) -> Part:
        return cls(table="daily_cost", column="day", date_range=date_range)

    @classmethod
    def of_months(cls, date_range: DateRange) -> Part:
        return cls(table="monthly_cost", column="month", date_range=date_range)

    @classmethod
    def outside(cls, date_range: DateRange) -> Part:
        """Days of one month to subtract from it."""
        return replace(cls.of_days(date_range), month=date_range.first.replace(day=1), now=-1)

    def by_session(self) -> tuple[Part, Part, Part]:
        """Return the days with their sessions, and without: all of them less those of sessions."""
        of_sessions = replace(self, table="session_cost")
        before = None if self.before is None else -self.before
        less = replace(of_sessions, now=-self.now, before=before)
        return replace(of_sessions, has_sessions=True), self, less

    def names(self, column: str) -> bool:
        """Whether its lines have the column."""
        return self.has_sessions or column not in SESSION_COLUMNS

    def key(self, column: str) -> tuple[str, bool]:
        """Return the expression of a group's value, and whether it differs between lines."""
        if not self.names(column):
            return "CAST(NULL AS text)", False
        if column != DAY:
            return column, True
        return (f"'{self.month}'", False) if self.month else (self.column, True)

    def sum(self, name: str, only: str = "") -> str:
        """Return the expression of what the part adds to a sum, `only` restricting its lines."""
        counts = self.before if name in BEFORE else self.now
        if not counts:
            return "CAST(NULL AS bigint)" if counts is None else "0"
        chosen = f" FILTER (WHERE {only})" if only else ""
        return f"{'-' if counts < 0 else ''}SUM({BEFORE.get(name, name)}){chosen}"


def parts_of(date_range: DateRange, today: date) -> list[Part]:
    """Return the parts to read for a date range."""
    months = months_of(date_range, today=today)
    if months is None:
        return [Part.of_days(date_range)]
    return [
        Part.of_months(months),
        *(Part.of_days(days) for days in date_range.without(months)),
        *(Part.outside(days) for days in months.without(date_range)),
    ]


def days_of(query: CostQuery, date_range: DateRange) -> list[Part]:
    """Return the parts to read for the days of a date range."""
    days = Part.of_days(date_range)
    return _by_session(query, [days]) if query.is_of_sessions else [days]


def _by_session(query: CostQuery, parts: Sequence[Part]) -> list[Part]:
    """Return the parts of days with and without sessions that can have what the query filters."""
    wanted = [column for column, value in query.wanted.items() if value is not None]
    every = [each for part in parts for each in part.by_session()]
    return [part for part in every if all(map(part.names, wanted))]


def compared(query: CostQuery) -> list[Part]:
    """Return the parts to read for the query's date range and for the previous one.

    The days of a month that one contains are often those that the other lacks: they are read once.
    """
    now = _parts_of(query, query.date_range)
    if query.before is not None:
        parts = {(part.table, part.date_range): replace(part, before=0) for part in now}
        for part in _parts_of(query, query.before):
            both = parts.get((part.table, part.date_range), replace(part, now=0))
            parts[part.table, part.date_range] = replace(both, before=part.now)
        now = [*parts.values()]
    return _by_session(query, now) if query.is_of_sessions else now


def _parts_of(query: CostQuery, date_range: DateRange) -> list[Part]:
    if query.is_of_sessions:
        return [Part.of_days(date_range)]
    return parts_of(date_range, query.today)


def union(  # noqa: PLR0913  all parts of one query
    organization_id: UUID,
    query: CostQuery,
    parts: Sequence[Part],
    *,
    keys: Mapping[str, str],
    sums: Sequence[str],
    amounts_of: tuple[str, Sequence[Any]] = (DAY, ()),
) -> Sql:
    """Return the statement of the groups of every part: `keys` by their columns, `sums`, and the
    amounts of only the lines whose column has each of some values, as `v0` and so on.

    A group exists if the sum of its `events` or `before_events` is above 0: a part may subtract
    all that another one adds.
    """
    of, of_values = amounts_of
    joins, spellings = _joins(query)
    selects, values = [], []
    for part in parts:
        found = {name: part.key(shown(query, column)) for name, column in keys.items()}
        chosen = [f"{key} AS {name}" for name, (key, _) in found.items()]
        chosen += [f"{part.sum(name)} AS {name}" for name in sums]
        for number, value in enumerate(of_values):
            only, wanted = _equals_in(part, shown(query, of), value)
            chosen.append(f"{part.sum('amount_nanoeur', only)} AS v{number}")
            values += wanted
        condition, filters = _condition(query, part)
        by = ", ".join(key for key, differs in found.values() if differs)
        selects.append(
            f"SELECT {', '.join(chosen)} FROM {part.table}{joins} "  # noqa: S608  our own names
            f"WHERE org_id = %s AND {part.column} >= %s AND {part.column} <= %s{condition}"
            f"{f' GROUP BY {by}' if by else ''}"
        )
        first, last = f"{part.date_range.first}", f"{part.date_range.last}"
        values += [*spellings, kept_id(organization_id), first, last, *filters]
    return " UNION ALL ".join(selects), values


def shown(query: CostQuery, column: str) -> str:
    """Return the expression of a column's value: of a name with several spellings, one of them."""
    return f"COALESCE({column}_as.column2, {column})" if query.merged.get(column) else column


def equals(column: str, value: Any) -> Sql:
    """Return the condition that a column equals `value`, or is NULL for None."""
    if value is None:
        return f"{column} IS NULL", []
    return f"{column} = %s", [kept_id(UUID(str(value))) if column == "key_id" else value]


def _joins(query: CostQuery) -> Sql:
    """Return the tables of merged spellings, whose columns both databases call column1 and 2."""
    joins, values = "", []
    for column, spellings in query.merged.items():
        if spellings:
            rows = ", ".join(["(%s, %s)"] * len(spellings))
            joins += f" LEFT JOIN (VALUES {rows}) {column}_as ON {column}_as.column1 = {column}"
            values += [text for pair in spellings.items() for text in pair]
    return joins, values


def _equals_in(part: Part, column: str, value: Any) -> Sql:
    """Return the condition that a column equals `value` in a part, which may lack the column."""
    if part.names(column):
        return equals(column, value)
    return ("1 = 1" if value is None else "1 = 0"), []


def _condition(query: CostQuery, part: Part) -> Sql:
    condition, values = "", []
    for column, value in query.wanted.items():
        if not part.names(column):  # absent there, as wanted
            continue
        equal, wanted = (_is_in if isinstance(value, tuple) else equals)(column, value)
        condition += f" AND {equal}"
        values += wanted
    if query.models is not None:
        among, wanted = _is_in("model", query.models)
        condition += f" AND {among}"
        values += wanted
    return condition, values


def _is_in(column: str, values: tuple[Any, ...]) -> Sql:
    names = ", ".join(["%s"] * len(values))
    return f"{column} IN ({names})" if names else "1 = 0", [*values]
