"""The spellings of the names in an organization's costs: to filter by all of one, and to merge."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import F, QuerySet, Sum

from costs.core.calendar.date_ranges import DateRange
from costs.core.calendar.moments import EARLIEST, LATEST
from costs.models import MonthlyCost
from orgs.core.spelling import folded
from orgs.database import folded_if_ascii, is_not_ascii

# Callers can make many, and each is a parameter of a statement.
SPELLINGS_MAX: Final = 1_000
# Names that a statement returns: first those that it found to match, then those that are not
# ASCII, which only Python can compare.
COMPARED_MAX: Final = 20_000
# Each name is looked at once, not in each of its lines.
USED: Final = (
    "WITH used AS (SELECT DISTINCT name FROM ({rows}) named WHERE name IS NOT NULL)"
    " SELECT name FROM (SELECT name, {condition} AS matches FROM used) compared"
    " WHERE matches OR {is_not_ascii} ORDER BY matches DESC, name LIMIT {most}"
)
EVER: Final = DateRange(EARLIEST, LATEST)


def spellings_of(
    name: str, *, column: str, organization_id: UUID, date_range: DateRange
) -> tuple[str, ...]:
    """Return how charges in the months of a date range spell a name."""
    return spellings_in(_lines(organization_id, date_range), column, name)


def spellings_in(rows: QuerySet[Any], column: str, name: str) -> tuple[str, ...]:
    """Return how the column of the rows spells a name."""
    wanted = folded(name)
    found = _used(rows, column, f"{folded_if_ascii('name')} = %s", wanted)
    return tuple([value for value in found if folded(value) == wanted][:SPELLINGS_MAX])


def merged(column: str, *, organization_id: UUID, date_range: DateRange) -> dict[str, str]:
    """Return the names with several spellings in the months of a date range: by each spelling the
    one with most requests, if that is another."""
    lines = _lines(organization_id, date_range)
    key = folded_if_ascii("name")
    condition = f"{key} IN (SELECT {key} FROM used GROUP BY 1 HAVING COUNT(*) > 1)"  # noqa: S608
    found = _used(lines, column, condition)
    spellings = Counter(map(folded, found))
    several = [value for value in found if spellings[folded(value)] > 1][:SPELLINGS_MAX]
    if not several:
        return {}
    used = (
        lines.filter(**{f"{column}__in": several})
        .values_list(column)
        .annotate(requests=Sum("requests"))
    )
    shown: dict[str, str] = {}
    for value, _ in used.order_by("-requests", column):
        shown.setdefault(folded(value), value)
    return {value: shown[folded(value)] for value in several if shown[folded(value)] != value}


def _lines(organization_id: UUID, date_range: DateRange) -> QuerySet[MonthlyCost]:
    first, last = date_range.first.replace(day=1), date_range.last
    return MonthlyCost.objects.filter(org=organization_id, month__gte=first, month__lte=last)


def _used(rows: QuerySet[Any], column: str, condition: str, *values: str) -> list[str]:
    """Return the names that meet a condition or are not ASCII, which Python compares."""
    text, of_rows = rows.values(name=F(column)).query.sql_with_params()
    statement = USED.format(
        rows=text, condition=condition, is_not_ascii=is_not_ascii("name"), most=COMPARED_MAX
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*of_rows, *values])
        return [name for (name,) in cursor.fetchall()]
