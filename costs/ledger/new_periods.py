"""Opens the period of a scope that starts to count in the middle of its window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.db.models import Max, Sum

from costs.core.admission import ORG_SCOPE, Limit
from costs.core.calendar.periods import clipped, local_day
from costs.models import DailyCost, Period
from orgs.core.spelling import folded
from orgs.database import may_be
from orgs.models import Organization


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """A limit and the charges that it counts: with these `dimensions`, in any
    spelling, and a model that counts.
    """

    limit: Limit
    dimensions: Mapping[str, str]
    counts_model: Callable[[str], bool]

    def spent_nanoeur(self, organization: Organization, first: date, after: date) -> int:
        """Return what the daily lines from `first` to before `after` add up to, at least 0."""
        lines = DailyCost.objects.filter(org=organization, day__gte=first, day__lt=after)
        for name, value in self.dimensions.items():
            lines = lines.filter(may_be(name, [value]))
        wanted = [folded(value) for value in self.dimensions.values()]
        sums = lines.values_list("model", *self.dimensions).annotate(Sum("amount_nanoeur"))
        spent_nanoeur = sum(
            int(amount)
            for model, *values, amount in sums.iterator()
            if [folded(value) for value in values] == wanted and self.counts_model(model)
        )
        return max(0, spent_nanoeur)


def open_period(organization: Organization, counting: Counting, *, now: datetime) -> None:
    """Create the current period of a limit, with the cost of its calls in the window so far.

    Calls in flight do not count in it. The caller's transaction has locked the organization, as
    RESERVE does, and the scope has no period in force.
    """
    zone, limit = ZoneInfo(organization.timezone), counting.limit
    day = local_day(now, zone)
    first, after = limit.span.days_around(day)
    days = Period.objects.filter(
        org=organization, scope=ORG_SCOPE, starts_on__gte=first, starts_on__lt=after
    )
    # SETTLE adds to a day's lines under the lock of the day's period, so no charge is missed.
    list(days.order_by("id").select_for_update().values_list("id", flat=True))
    of_scope = Period.objects.filter(org=organization, scope=limit.scope, starts_at__lte=now)
    starts_at, ends_at = clipped(
        limit.span.around(day, zone),
        previous_ends_at=of_scope.aggregate(last=Max("ends_at"))["last"],
        next_starts_at=None,
    )
    Period.objects.create(
        org=organization,
        scope=limit.scope,
        starts_on=first,
        starts_at=starts_at,
        ends_at=ends_at,
        carried_nanoeur=counting.spent_nanoeur(organization, first, after),
    )
