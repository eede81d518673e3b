"""Balances of an organization's limits now: charged, held and left, read without a lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Sum
from django.utils.timezone import now

from costs.core.admission import Balance, Limit
from costs.core.calendar.periods import local_day
from costs.core.rate_limits import RateLimit, RateState, state_at
from costs.models import CostEvent, Period, RateBucket, SessionCost
from orgs.core.frozen import frozen
from orgs.models import Organization


@frozen
class LiveBalances:
    """What RESERVE would find now of an organization, and of some limits and rates by scope."""

    config_version: int
    is_enabled: bool
    balances: Mapping[str, Balance]
    rates: Mapping[str, RateState] = field(default_factory=dict)


def live_balances(
    limits: Mapping[UUID, Sequence[Limit]], rates: Mapping[UUID, Sequence[RateLimit]]
) -> Mapping[UUID, LiveBalances]:
    """Return the balances of limits of several organizations, of those that exist, and the states
    of their rates: two queries, and one for each organization with rates.
    """
    moment = now()
    states = {org_id: rates_of(org_id, each, now=moment) for org_id, each in rates.items()}
    organizations = Organization.objects.in_bulk(limits.keys())
    periods = Period.objects.filter(
        org_id__in=organizations.keys(),
        scope__in={limit.scope for each in limits.values() for limit in each},
        starts_at__lte=moment,
        ends_at__gt=moment,
    )
    found = {(period.org_id, period.scope): period for period in periods}
    return {
        org_id: LiveBalances(
            config_version=organization.config_version,
            is_enabled=organization.ai_gateway_enabled,
            balances={
                limit.scope: _balance(
                    organization, limit, found.get((org_id, limit.scope)), now=moment
                )
                for limit in limits[org_id]
            },
            rates={state.limit.scope: state for state in states.get(org_id, ())},
        )
        for org_id, organization in organizations.items()
    }


def rates_of(org_id: UUID, limits: Sequence[RateLimit], *, now: datetime) -> tuple[RateState, ...]:
    """Return the state of each of an organization's rates: one query, and none without rates."""
    if not limits:
        return ()
    buckets = RateBucket.objects.filter(org=org_id, scope__in=[limit.scope for limit in limits])
    by_scope = {bucket.scope: bucket for bucket in buckets}
    return tuple([state_at(now, limit, by_scope.get(limit.scope)) for limit in limits])


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
    limit_nanoeur = limit.nanoeur_at(now)
    if period is None:
        spent_nanoeur = spent_in_session(organization, limit.session_id) if limit.session_id else 0
        zone = ZoneInfo(organization.timezone)
        _, ends_at = limit.span.around(local_day(now, zone), zone)
        return Balance(
            limit_nanoeur=limit_nanoeur,
            charged_nanoeur=spent_nanoeur,
            held_nanoeur=0,
            ends_at=ends_at,
        )
    return Balance(
        limit_nanoeur=limit_nanoeur,
        charged_nanoeur=period.charged_nanoeur,
        held_nanoeur=period.held_nanoeur,
        ends_at=period.ends_at,
    )


def added_by_hours(period: Period) -> int:
    """Return how much of a period's overrun are shares of hours above what calls were charged."""
    adjustments = CostEvent.objects.filter(
        org=period.org_id,
        kind=CostEvent.Kind.ADJUSTMENT,
        amount_nanoeur__gt=0,
        occurred_at__gte=period.starts_at,
        occurred_at__lt=period.ends_at,
    )
    return int(adjustments.aggregate(added=Sum("amount_nanoeur"))["added"] or 0)


def spent_in_session(organization: Organization, session_id: str) -> int:
    """Return what a session has cost."""
    lines = SessionCost.objects.filter(org=organization, session_id=session_id)
    return int(lines.aggregate(spent=Sum("amount_nanoeur"))["spent"] or 0)
