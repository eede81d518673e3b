"""The history as plain values."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.db.models import Q

from orgs.models import HistoryEvent, Membership, Organization

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 10_000


def events(
    *, org: Organization | None, limit: int = LIMIT_DEFAULT, before: UUID | None = None
) -> list[dict[str, Any]]:
    """Return the newest events, older than the event `before` if it is given.

    Of an organization, also what happens to the accounts of its members, such as sign-ins.
    """
    rows = HistoryEvent.objects.select_related("org").order_by("-id")
    if org is not None:
        members = Membership.objects.filter(org=org).values("user_id")
        rows = rows.filter(Q(org=org) | Q(org=None, subject_id__in=members))
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [_shown(event) for event in rows[: min(limit, LIMIT_MAX)]]


def _shown(event: HistoryEvent) -> dict[str, Any]:
    return {
        "id": str(event.pk),
        "at": event.occurred_at.isoformat(timespec="seconds"),
        "organization": event.org.slug if event.org else None,
        "event": event.event,
        "by": event.actor_name or event.actor_kind,
        "address": event.address,
        "of": event.subject_name,
        "before": event.before,
        "after": event.after,
    }
