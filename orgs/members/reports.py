"""The organization's members and invitations as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orgs.core.errors import Missing
from orgs.models import ApiKey, Invitation, Membership, Organization, User


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """A member, or an invited address that has not accepted, as shown in a list.

    `is_confirmed` is whether an operator vouched for the address. `link_has_expired` has a
    meaning only for an invitation; whether an account has its address is not shown.
    """

    id: UUID
    email: str
    name: str
    role: str
    has_accepted: bool
    is_active: bool
    has_password: bool
    is_confirmed: bool
    link_has_expired: bool


def members(org: Organization, *, moment: datetime) -> list[MemberRow]:
    """Return the organization's members and invitations, sorted by email address."""
    memberships = Membership.objects.filter(org=org).select_related("user")
    rows = [_member(row) for row in memberships]
    known = {row.email for row in rows}  # a member without a password may have a link too
    waiting = Invitation.objects.filter(org=org).exclude(email__in=known)
    rows += [_invited(row, moment) for row in waiting]
    return sorted(rows, key=lambda row: row.email)


def member_with_email(org: Organization, email: str) -> Membership | Invitation:
    """Return the member or the invitation with this address; raise Missing for any other."""
    email = email.strip().lower()
    found = Membership.objects.select_related("user").filter(org=org, user__email=email).first()
    invited = found or Invitation.objects.filter(org=org, email=email).first()
    if invited is None:
        raise Missing(f"{email} is not a member of {org.slug}")
    return invited


def count_unrevoked_keys(*, org: Organization, owner: User) -> int:
    """Return how many keys are revoked when the owner is removed."""
    return ApiKey.objects.filter(org=org, owner=owner, revoked_at__isnull=True).count()


def _member(membership: Membership) -> MemberRow:
    user = membership.user
    return MemberRow(
        id=membership.pk,
        email=user.email,
        name=user.name,
        role=membership.role,
        has_accepted=True,
        is_active=user.is_active,
        has_password=user.has_usable_password(),
        is_confirmed=user.email_confirmed_at is not None,
        link_has_expired=False,
    )


def _invited(invitation: Invitation, moment: datetime) -> MemberRow:
    return MemberRow(
        id=invitation.pk,
        email=invitation.email,
        name="",
        role=invitation.role,
        has_accepted=False,
        is_active=False,
        has_password=False,
        is_confirmed=False,
        link_has_expired=not invitation.link_is_valid_at(moment),
    )
