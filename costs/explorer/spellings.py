"""The spellings of the names in an organization's costs: to filter by all of one, and to merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import Sum

from costs.core.calendar.date_ranges import DateRange
from costs.models import MonthlyCost
from orgs.core.spelling import folded
from orgs.database import folded_if_ascii, is_not_ascii, kept_id

# Of one name: callers can make many, and each is a parameter of a statement.
SPELLINGS_MAX: Final = 1_000
# Names of an organization that are compared in Python.
COMPARED_MAX: Final = 20_000
# Each name is looked at once, not in each of its lines.
USED: Final = (
    "WITH used AS (SELECT DISTINCT {column} AS name FROM monthly_cost"
    " WHERE org_id = %s AND month >= %s AND month <= %s AND {column} IS NOT NULL)"
    " SELECT name FROM used WHERE {condition} OR {is_not_ascii} ORDER BY name LIMIT {most}"
)
EVER: Final = ("0001-01-01", "9999-12-31")


def spellings_of(name: str, *, column: str, organization_id: UUID) -> tuple[str, ...]:
    """Return how charges have ever spelled a name."""
    condition = f"{folded_if_ascii('name')} = %s"
    values = [kept_id(organization_id), *EVER, folded(name)]
    return those_of(name, _used(column, condition, values))


def those_of(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return the values that are spellings of a name."""
    wanted = folded(name)
    return tuple([value for value in values if folded(value) == wanted][:SPELLINGS_MAX])


def merged(column: str, *, organization_id: UUID, date_range: DateRange) -> dict[str, str]:
    """Return the names with several spellings in the months of a date range: by each spelling the
    one with most requests, if that is another."""
    first, last = date_range.first.replace(day=1), date_range.last
    key = folded_if_ascii("name")
    condition = f"{key} IN (SELECT {key} FROM used GROUP BY 1 HAVING COUNT(*) > 1)"  # noqa: S608
    found = _used(column, condition, [kept_id(organization_id), f"{first}", f"{last}"])
    spellings = Counter(map(folded, found))
    several = [value for value in found if spellings[folded(value)] > 1][:SPELLINGS_MAX]
    if not several:
        return {}
    lines = MonthlyCost.objects.filter(
        org=organization_id, month__gte=first, month__lte=last, **{f"{column}__in": several}
    )
    used = lines.values_list(column).annotate(requests=Sum("requests"))
    shown: dict[str, str] = {}
    for value, _ in used.order_by("-requests", column):
        shown.setdefault(folded(value), value)
    return {value: shown[folded(value)] for value in several if shown[folded(value)] != value}


def _used(column: str, condition: str, values: list[Any]) -> list[str]:
    """Return the names that meet a condition or are not ASCII, which Python compares."""
    statement = USED.format(
        column=column, condition=condition, is_not_ascii=is_not_ascii("name"), most=COMPARED_MAX
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [name for (name,) in cursor.fetchall()]
