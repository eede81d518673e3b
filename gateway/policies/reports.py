"""The organization's policies, its spend today against them, and what they refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from costs.models import Period
from gateway.models import AiRequestLog, Policy

# Refusals of a day that are read to find the policy of each.
REFUSALS_READ_MAX: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendToday:
    """The organization's day: `charged` is what its events add up to, `left` is never negative.

    `limit_nanoeur` is the tightest daily limit of the enabled policies, None without one.
    """

    policy_name: str | None
    limit_nanoeur: int | None
    charged_nanoeur: int
    held_nanoeur: int
    left_nanoeur: int | None
    overrun_nanoeur: int
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedToday:
    """Refused requests by the policy's id; `is_cut` says that there are more than were read."""

    by_policy: dict[str, int]
    is_cut: bool


def spend_today(*, organization_id: UUID, moment: datetime) -> SpendToday:
    """Return what the organization's day has cost so far, against its tightest limit."""
    policy = (
        Policy.objects.filter(
            org=organization_id, enabled=True, max_cost_per_day_nanoeur__isnull=False
        )
        .order_by("max_cost_per_day_nanoeur", "created_at")
        .first()
    )
    limit = policy.max_cost_per_day_nanoeur if policy else None
    period = (
        Period.objects.filter(
            org=organization_id, scope="org", starts_at__lte=moment, ends_at__gt=moment
        )
        .order_by("-starts_at")
        .first()
    )
    overrun = period.overrun_nanoeur if period else 0
    charged = period.charged_nanoeur if period else 0
    held = period.held_nanoeur if period else 0
    return SpendToday(
        policy_name=policy.name if policy else None,
        limit_nanoeur=limit,
        charged_nanoeur=charged,
        held_nanoeur=held,
        left_nanoeur=None if limit is None else max(0, limit - charged - held),
        overrun_nanoeur=overrun,
        ends_at=period.ends_at if period else None,
    )


def policies(*, organization_id: UUID) -> list[Policy]:
    """Return the organization's policies in the order in which they are judged."""
    return list(Policy.objects.filter(org=organization_id))


def refused_since(*, organization_id: UUID, since: datetime) -> RefusedToday:
    """Return how many requests each policy has refused, by the trace's own verdicts.

    Each policy is checked by itself; the first with the request's own code was decisive.
    """
    refused = AiRequestLog.objects.filter(
        org=organization_id, occurred_at__gte=since, status=AiRequestLog.Status.BLOCKED
    ).order_by("-occurred_at", "-id")
    counts: Counter[str] = Counter()
    read = 0
    for code, verdicts in refused.values_list("code", "decision__policies")[:REFUSALS_READ_MAX]:
        read += 1
        deciding = (entry for entry in verdicts or () if entry.get("verdict") == code)
        if (policy := next(deciding, None)) is not None:
            counts[str(policy.get("id"))] += 1
    return RefusedToday(by_policy=dict(counts), is_cut=read == REFUSALS_READ_MAX)
