"""What an organization has spent, holds and has left today, read without a lock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from costs.core.admission import ORG_SCOPE, Balance
from costs.core.periods import day_around
from costs.models import Period
from orgs.models import Organization


def balance_of(organization: Organization, *, limit_nanoeur: int | None, now: datetime) -> Balance:
    """Return the balance of the organization's day, against the limit that is given."""
    period = Period.objects.filter(
        org_id=organization.id, scope=ORG_SCOPE, starts_at__lte=now, ends_at__gt=now
    ).first()
    if period is None:
        _, ends_at = day_around(now, ZoneInfo(organization.timezone))
        return Balance(
            limit_nanoeur=limit_nanoeur, charged_nanoeur=0, held_nanoeur=0, ends_at=ends_at
        )
    return Balance(
        limit_nanoeur=limit_nanoeur,
        charged_nanoeur=period.settled_nanoeur + period.overrun_nanoeur,
        held_nanoeur=period.held_nanoeur,
        ends_at=period.ends_at,
    )
