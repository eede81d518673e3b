"""What each API key has cost, and the policies that name it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db.models import Q, Sum

from costs.models import CostEvent
from gateway.models import Policy
from orgs.models import ApiKey


def spend_by_key(
    *, organization_id: UUID, key_ids: Collection[UUID], since: datetime
) -> dict[UUID, int]:
    """Return what each key has cost since then; keys without costs are omitted."""
    if not key_ids:
        return {}
    events = CostEvent.objects.filter(org=organization_id, occurred_at__gte=since)
    sums = events.filter(key_id__in=key_ids).values("key_id").annotate(sum=Sum("amount_nanoeur"))
    return {row["key_id"]: int(row["sum"] or 0) for row in sums if row["key_id"] is not None}


def policies_by_key(*, organization_id: UUID) -> dict[str, list[Policy]]:
    """Return the policies that name keys, by the id of the first of each key's rotations."""
    by_key: dict[str, list[Policy]] = {}
    for policy in Policy.objects.filter(org=organization_id):
        for key_id in policy.applies_to.get("key_id", ()):
            by_key.setdefault(key_id, []).append(policy)
    return by_key


def policies_of_key_alone(key: ApiKey) -> list[Policy]:
    """Return the policies that apply to nothing once a key is revoked: they name this key and no
    other, and no other of its rotations is left.
    """
    first_id = key.lineage_id or key.pk
    rotations = ApiKey.objects.filter(Q(pk=first_id) | Q(lineage_id=first_id), org=key.org_id)
    if rotations.filter(revoked_at=None).exclude(pk=key.pk).exists():
        return []
    policies = Policy.objects.filter(org=key.org_id)
    return [each for each in policies if each.applies_to.get("key_id") == [str(first_id)]]
