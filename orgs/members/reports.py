"""The organization's members as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from orgs.models import ApiKey, Membership, Organization, User


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """A member as shown in a list."""

    id: UUID
    email: str
    name: str
    role: str
    is_active: bool
    has_password: bool


def members(org: Organization) -> list[MemberRow]:
    """Return the organization's members, sorted by email address."""
    rows = Membership.objects.filter(org=org).select_related("user").order_by("user__email")
    return [
        MemberRow(
            id=row.pk,
            email=row.user.email,
            name=row.user.name,
            role=row.role,
            is_active=row.user.is_active,
            has_password=row.user.has_usable_password(),
        )
        for row in rows
    ]


def count_unrevoked_keys(*, org: Organization, owner: User) -> int:
    """Return how many keys are revoked when the owner is removed."""
    return ApiKey.objects.filter(org=org, owner=owner, revoked_at__isnull=True).count()
