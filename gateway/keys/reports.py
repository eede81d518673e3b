"""What each API key has cost."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db.models import Sum

from costs.models import CostEvent


def spend_by_key(
    *, organization_id: UUID, key_ids: Collection[UUID], since: datetime
) -> dict[UUID, int]:
    """Return what each key has cost since then; keys without costs are omitted."""
    if not key_ids:
        return {}
    events = CostEvent.objects.filter(org=organization_id, occurred_at__gte=since)
    sums = events.filter(key_id__in=key_ids).values("key_id").annotate(sum=Sum("amount_nanoeur"))
    return {row["key_id"]: int(row["sum"] or 0) for row in sums if row["key_id"] is not None}
