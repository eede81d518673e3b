"""Balances of an organization's limits now: charged, held and left, read without a lock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from costs.core.admission import Balance, Limit
from costs.core.calendar.periods import local_day
from costs.models import Period
from orgs.models import Organization


def balances_of(
    organization: Organization, limits: Sequence[Limit], *, now: datetime
) -> tuple[Balance, ...]:
    """Return the balance of each limit's period: one query."""
    periods = Period.objects.filter(
        org_id=organization.id,
        scope__in=[limit.scope for limit in limits],
        starts_at__lte=now,
        ends_at__gt=now,
    )
    by_scope = {period.scope: period for period in periods}
    return tuple(
        _balance(organization, limit, by_scope.get(limit.scope), now=now) for limit in limits
    )


def _balance(
    organization: Organization, limit: Limit, period: Period | None, *, now: datetime
) -> Balance:
    if period is None:
        zone = ZoneInfo(organization.timezone)
        _, ends_at = limit.span.around(local_day(now, zone), zone)
        return Balance(
            limit_nanoeur=limit.limit_nanoeur, charged_nanoeur=0, held_nanoeur=0, ends_at=ends_at
        )
    return Balance(
        limit_nanoeur=limit.limit_nanoeur,
        charged_nanoeur=period.charged_nanoeur,
        held_nanoeur=period.held_nanoeur,
        ends_at=period.ends_at,
    )
