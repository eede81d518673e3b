"""Opens the period of a scope that starts to count in the middle of its window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import Sum

from costs.core.admission import ORG_SCOPE, Limit
from costs.core.periods import local_day
from costs.models import DailyCost, Period
from orgs.core.spelling import folded
from orgs.database import may_be
from orgs.models import Organization


def open_period(
    organization: Organization,
    limit: Limit,
    *,
    dimensions: Mapping[str, str],
    counts_model: Callable[[str], bool],
    now: datetime,
) -> None:
    """Create the period of a new limit's scope, with the cost of its calls in the window so far.

    Those are the charges with these `dimensions`, in any spelling, and a model that counts; calls
    in flight do not count in it. The caller's transaction has locked the organization, as RESERVE
    does, and the scope has no other period.
    """
    zone = ZoneInfo(organization.timezone)
    day = local_day(now, zone)
    starts_at, ends_at = limit.span.around(day, zone)
    first, after = limit.span.days_around(day)
    days = Period.objects.filter(
        org=organization, scope=ORG_SCOPE, starts_on__gte=first, starts_on__lt=after
    )
    # SETTLE adds to a day's lines under the lock of the day's period, so no charge is missed.
    list(days.order_by("id").select_for_update().values_list("id", flat=True))
    lines = DailyCost.objects.filter(org=organization, day__gte=first, day__lt=after)
    for name, value in dimensions.items():
        lines = lines.filter(may_be(name, [value]))
    wanted = [folded(value) for value in dimensions.values()]
    sums = lines.values_list("model", *dimensions).annotate(Sum("amount_nanoeur"))
    spent_nanoeur = sum(
        amount
        for model, *values, amount in sums.iterator()
        if [folded(value) for value in values] == wanted and counts_model(model)
    )
    Period.objects.create(
        org=organization,
        scope=limit.scope,
        starts_on=first,
        starts_at=starts_at,
        ends_at=ends_at,
        carried_nanoeur=max(0, spent_nanoeur),
    )
