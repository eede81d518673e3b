"""What counts in the cost per day of policies that name calls."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet

from costs.core.admission import ORG_SCOPE, Limit
from costs.core.calendar.periods import BudgetWindow
from costs.ledger.new_periods import Counting
from costs.models import CostEvent, Period
from gateway.guards.policies import PolicyMode
from gateway.models import AiRequestLog, Policy
from orgs.models import ApiKey, Organization


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingOfChannels(Counting):
    """Counts the charges of calls through some channels, which only their audit rows keep."""

    channels: frozenset[str]

    def charges(self, organization: Organization, first: date, after: date) -> QuerySet[Any]:
        """Return the cost events of the days."""
        days = Period.objects.filter(
            org=organization, scope=ORG_SCOPE, starts_on__gte=first, starts_on__lt=after
        ).aggregate(starts_at=Min("starts_at"), ends_at=Max("ends_at"))
        if days["starts_at"] is None:
            return CostEvent.objects.none()
        requests = AiRequestLog.objects.filter(pk=OuterRef("request_id"), channel__in=self.channels)
        return CostEvent.objects.filter(
            Exists(requests),
            org=organization,
            occurred_at__gte=days["starts_at"],
            occurred_at__lt=days["ends_at"],
        )


def counting_of(policy: Policy) -> Counting:
    """Return the cost per day of a policy that names calls, and the charges that it counts."""
    named = dict(policy.applies_to)
    channels = named.pop("channel", None)
    if "key_id" in named:
        named["key_id"] = [*first_keys_of(named["key_id"])]
    limit = Limit(
        scope=policy.cost_scope,
        span=BudgetWindow.DAY,
        limit_nanoeur=policy.max_cost_per_day_nanoeur,
    )
    if channels:
        return CountingOfChannels(limit=limit, of=named, channels=frozenset(channels))
    return Counting(limit=limit, of=named)


def first_keys_of(key_ids: Collection[str]) -> dict[str, str]:
    """Return the ids of all rotations of keys, with that of the first, by which each is named."""
    keys = ApiKey.objects.filter(Q(pk__in=key_ids) | Q(lineage_id__in=key_ids))
    return {
        str(key_id): str(lineage_id or key_id)
        for key_id, lineage_id in keys.values_list("pk", "lineage_id")
    }


def countings_of(organization: Organization) -> list[Counting]:
    """Return those of all policies that have a cost per day of their own."""
    policies = Policy.objects.filter(org=organization, max_cost_per_day_nanoeur__isnull=False)
    return [counting_of(each) for each in policies.exclude(mode=PolicyMode.OFF) if each.applies_to]
