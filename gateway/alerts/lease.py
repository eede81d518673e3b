"""A job that one process does at a time: who holds it is a row, taken by a conditional update."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from gateway.models import Lease


def take(name: str, *, holder_id: UUID, now: datetime, lasts: timedelta) -> bool:
    """Take or keep the lease; False while somebody else has it."""
    free = Q(holder_id=holder_id) | Q(expires_at__lte=now)
    terms = {"holder_id": holder_id, "expires_at": now + lasts}
    if Lease.objects.filter(free, name=name).update(**terms):
        return True
    _, is_new = Lease.objects.get_or_create(name=name, defaults=terms)
    return is_new


def give_back(name: str, *, holder_id: UUID, now: datetime) -> None:
    """Let the next one have it at once; nothing where it is somebody else's."""
    Lease.objects.filter(name=name, holder_id=holder_id).update(expires_at=now)
