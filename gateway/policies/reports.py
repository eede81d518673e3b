"""The organization's policies, its spend today against them, and what they refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from costs.core.admission import ORG_SCOPE
from costs.ledger.balances import added_by_hours
from costs.models import Period
from gateway.guards.policies import NOT_CHECKED, OK, PolicyMode
from gateway.models import AiRequestLog, Policy

# By scope in the ledger.
Spends = dict[str, "DaySpend"]
# Refusals of a day that are read to find the policy of each.
REFUSALS_READ_MAX: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendToday:
    """The organization's day: `charged` is what its events add up to, `left` is never negative.

    `overrun` is what providers billed above the holds.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpend:
    """What calls have cost in a day that counts in a limit, and what those hold that run."""

    charged_nanoeur: int = 0
    held_nanoeur: int = 0


def spend_today(*, organization_id: UUID, moment: datetime) -> SpendToday:
    """Return what the organization's day has cost so far, against its tightest limit."""
    policy = (
        Policy.objects.filter(
            org=organization_id,
            mode=PolicyMode.ON,
            applies_to={},
            max_cost_per_day_nanoeur__isnull=False,
        )
        .order_by("max_cost_per_day_nanoeur", "created_at")
        .first()
    )
    limit = policy.max_cost_per_day_nanoeur if policy else None
    period = _current(organization_id, [ORG_SCOPE], moment).last()
    overrun = 0
    if period is not None and period.overrun_nanoeur:
        overrun = period.overrun_nanoeur - added_by_hours(period)
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


def _current(organization_id: UUID, scopes: Iterable[str], moment: datetime) -> QuerySet[Period]:
    """Return the periods of these scopes that a moment is in, the newest last."""
    return Period.objects.filter(
        org=organization_id, scope__in=scopes, starts_at__lte=moment, ends_at__gt=moment
    ).order_by("starts_at")


def spend_of(policies: Iterable[Policy], *, organization_id: UUID, moment: datetime) -> Spends:
    """Return what counts today in the limits per day of policies, by their scopes in the ledger."""
    scopes = {each.cost_scope for each in policies if each.max_cost_per_day_nanoeur is not None}
    return {
        period.scope: DaySpend(
            charged_nanoeur=period.charged_nanoeur, held_nanoeur=period.held_nanoeur
        )
        for period in _current(organization_id, scopes, moment)
    }


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
    columns = ("code", "decision__policies", "decision__session", "decision__refused_by")
    for code, verdicts, on_session, by in refused.values_list(*columns)[:REFUSALS_READ_MAX]:
        read += 1
        entries = (*(verdicts or ()), *([on_session] if on_session else ()))
        deciding = [
            str(entry.get("id"))
            for entry in entries
            if entry.get("verdict") == code and entry.get("mode") != PolicyMode.WATCH
        ]
        if deciding:
            counts[by if by in deciding else deciding[0]] += 1
    return RefusedToday(by_policy=dict(counts), is_cut=read == REFUSALS_READ_MAX)


def watched_rows(organization_id: UUID) -> QuerySet[AiRequestLog]:
    """Return the requests that a watched policy would have refused.

    They are few, and have an index. For SQLite to use it with any other filter, it alone has this
    expression of the organization.
    """
    rows = AiRequestLog.objects.alias(its_org=Coalesce("org_id", "org_id"))
    return rows.filter(its_org=organization_id, refused_by_watched=True)


def watched_since(*, organization_id: UUID, since: datetime) -> RefusedToday:
    """Return how many requests each watched policy would have refused, by the traces."""
    rows = watched_rows(organization_id).filter(occurred_at__gte=since)
    counts: Counter[str] = Counter()
    read = 0
    newest = rows.order_by("-occurred_at", "-id").values_list("decision__policies", flat=True)
    for entries in newest[:REFUSALS_READ_MAX]:
        read += 1
        counts.update(
            str(entry.get("id"))
            for entry in entries or ()
            if entry.get("mode") == PolicyMode.WATCH
            and entry.get("verdict") not in (OK, NOT_CHECKED)
        )
    return RefusedToday(by_policy=dict(counts), is_cut=read == REFUSALS_READ_MAX)
