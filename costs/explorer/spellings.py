"""The spellings of the names in an organization's costs: to filter by all of one, and to merge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.db.models import F, Max, Min, Q, Sum

from costs.core.date_ranges import DateRange
from costs.models import MonthlyCost
from orgs.core.spelling import folded
from orgs.database import FoldedIfAscii, IsNotAscii, may_be

# Of one name: callers can make many, and each is a parameter of a statement.
SPELLINGS_MAX: Final = 1_000
# Names that are compared in Python, those with most requests first.
COMPARED_MAX: Final = 20_000


def spellings_of(name: str, *, column: str, organization_id: UUID) -> tuple[str, ...]:
    """Return how charges have ever spelled a name."""
    lines = MonthlyCost.objects.filter(may_be(column, [name]), org=organization_id)
    return those_of(name, lines.values_list(column, flat=True).distinct())


def those_of(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return the values that are spellings of a name."""
    wanted = folded(name)
    return tuple([value for value in values if folded(value) == wanted][:SPELLINGS_MAX])


def merged(column: str, *, organization_id: UUID, date_range: DateRange) -> dict[str, str]:
    """Return the names with several spellings in the months of a date range: by each spelling the
    one with most requests, if that is another."""
    lines = MonthlyCost.objects.filter(
        org=organization_id,
        month__gte=date_range.first.replace(day=1),
        month__lte=date_range.last,
    ).exclude(**{column: None})
    keyed = lines.annotate(key=FoldedIfAscii(F(column)))
    several = keyed.values("key").annotate(first=Min(column), last=Max(column))
    keys = several.filter(~Q(first=F("last")) | Q(IsNotAscii(F("key")))).values("key")
    compared = keyed.filter(key__in=keys).values_list(column).annotate(used=Sum("requests"))
    shown: dict[str, str] = {}
    found: dict[str, str] = {}
    for value, _ in compared.order_by("-used", column)[:COMPARED_MAX]:
        most_used = shown.setdefault(folded(value), value)
        if most_used != value and len(found) < SPELLINGS_MAX:
            found[value] = most_used
    return found
