"""Invitations: one-time links by which people join an organization, or get a new password.

No email is sent, so an address proves nothing. What counts is who holds a link and who can sign
in. The rule, against accounts that somebody else registered first:

- A link belongs to one organization, address and role. It works once, for three days, and ends
  with a newer link, another role and the removal of the invitation.
- An invitation gives no rights and creates no account before it is accepted.
- A link sets the password only of an account that no one else uses (`link_sets_password`). The
  old password and its sessions end: the person who set it must not come in with the new member.
- Any other account joins only when its owner, signed in, accepts on the link's page. It takes both:
  the link alone does not open the account, and the password alone does not accept invitations
  that were given to somebody else.
- A member whose password is lost gets a link that sets another one. It belongs to the membership:
  it ends with it, and with any change of the password. Admins give it, and could open it
  themselves, so it works only for members of this organization alone: an admin of one must not
  become the person in another, nor an operator. It ends all sessions, and the address no longer
  counts as confirmed. For all others an operator sets the password.
- A person who has a link but not the password of the account with their address asks an operator:
  `manage.py changepassword` ends all sessions of the account and confirms its address.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.timezone import now

from orgs.audit import history
from orgs.core.errors import Conflict, Missing
from orgs.locking import locked
from orgs.members.operations import check_role, checked_email
from orgs.models import Invitation, Membership, Organization, User


@dataclass(frozen=True, slots=True)
class NewLink:
    """An invitation and the path of its new link, which is not stored.

    `resets_password` is whether it is of a member who has a password.
    """

    invitation: Invitation
    path: str
    resets_password: bool = False


def invite(*, org: Organization, email: str, role: str, invited_by: User | None = None) -> NewLink:
    """Invite an address to the organization; without `invited_by` an operator does."""
    email = checked_email(email)
    check_role(role)
    with transaction.atomic():
        organization = locked(org.pk)
        check_can_be_invited(org=organization, email=email)
        return _new_link(org=organization, email=email, role=role, invited_by=invited_by)


def check_can_be_invited(*, org: Organization, email: str) -> None:
    """Raise Conflict for a member, for an invited address and for a deactivated account."""
    if org.memberships.filter(user__email=email).exists():
        raise Conflict(f"{email} is already a member", field="email")
    if org.invitations.filter(email=email).exists():
        raise Conflict(
            f"{email} has already been invited; create a new link instead", field="email"
        )
    if User.objects.filter(email=email, is_active=False).exists():
        raise Conflict(f"The account of {email} is deactivated", field="email")


def renew_link(
    *, invitation: Invitation, role: str | None = None, invited_by: User | None = None
) -> NewLink:
    """Replace the link of an invitation, and its role if one is given. Raises Missing, Invalid."""
    role = role or invitation.role
    check_role(role)
    with transaction.atomic():
        org = locked(invitation.org_id)
        current = org.invitations.filter(pk=invitation.pk).first()
        if current is None:
            raise Missing("This invitation no longer exists")
        return _new_link(org=org, email=current.email, role=role, invited_by=invited_by)


def link_for_member(*, membership: Membership, invited_by: User | None = None) -> NewLink:
    """Return a link for a member of this organization alone: it sets another password.

    Raises Conflict for an account that a link may not open, and Missing.
    """
    with transaction.atomic():
        org = locked(membership.org_id)
        current = org.memberships.select_related("user").filter(pk=membership.pk).first()
        if current is None:
            raise Missing("This person is no longer a member")
        user = current.user
        if invited_by is not None and invited_by.pk == user.pk:  # that asks for the old one
            raise Conflict("Change your own password on your profile page")
        if not user.is_active:
            raise Conflict(f"The account of {user.email} is deactivated")
        if not link_sets_password(user, org_id=org.pk):
            raise Conflict(
                f"The account of {user.email} is not this organization's alone; "
                f"ask an operator to set its password: manage.py changepassword {user.email}"
            )
        return _new_link(
            org=org, email=user.email, role=current.role, invited_by=invited_by, member=user
        )


def withdraw(*, invitation: Invitation) -> None:
    """Delete an invitation: an admin withdraws it, or the person declines. Raises Missing."""
    with transaction.atomic():
        org = locked(invitation.org_id)
        current = org.invitations.filter(pk=invitation.pk).first()
        if current is None:
            raise Missing("This invitation no longer exists")
        history.record("invitation_withdrawn", current, before={"role": current.role})
        current.delete()


def opened(*, uid: str, token: str) -> Invitation | None:
    """Return the invitation of a link, or None when the link is used, replaced or forged."""
    try:
        wanted = UUID(uid)
    except ValueError:
        return None
    found = Invitation.objects.select_related("org", "invited_by").filter(pk=wanted).first()
    if found is None:
        return None
    account = account_of(found)
    member = account if account is not None and is_member(account, found.org_id) else None
    if not constant_time_compare(found.link_digest, _digest(token, member)):
        return None
    if not found.link_is_valid_at(now()) or (account is not None and not account.is_active):
        return None
    return found


def account_of(invitation: Invitation) -> User | None:
    """Return the account with the invited address, if there is one."""
    return User.objects.filter(email=invitation.email).first()


def is_member(account: User, org_id: UUID) -> bool:
    """Whether the account is a member of the organization: then a link of its resets a password."""
    return account.memberships.filter(org_id=org_id).exists()


def link_sets_password(account: User | None, *, org_id: UUID) -> bool:
    """Whether a link of the organization may set the password of the account with its address.

    Not when it is protected or a member of another organization: then somebody else relies on
    its password. Of one that is in no organization, not when an operator confirmed it.
    """
    if account is None:
        return True
    if account.is_protected:
        return False
    org_ids = set(account.memberships.values_list("org_id", flat=True))
    if not org_ids:
        return account.email_confirmed_at is None
    return org_ids == {org_id}


def accept_with_password(*, invitation: Invitation, password: str) -> Membership:
    """Set the password of the account, creating it if needed; make it a member if it is not.

    Raises Conflict for an account that must sign in instead, and Missing.
    """
    hashed = make_password(password)  # before the transaction, which locks the organization
    with transaction.atomic():
        current = _locked_invitation(invitation)
        user, is_new = User.objects.get_or_create(
            email=current.email, defaults={"password": hashed}
        )
        if not is_new:
            user = _locked_user(user)
            if not user.is_active or not link_sets_password(user, org_id=current.org_id):
                raise Conflict(f"{user.email} has an account now; sign in to accept")
            # The holder of the link need not be the person of the address.
            User.objects.filter(pk=user.pk).update(password=hashed, email_confirmed_at=None)
            history.record("password_reset", user, org_id=current.org_id)
            user.refresh_from_db()
        return _replaced_by_membership(current, user)


def accept_signed_in(*, invitation: Invitation, user: User) -> Membership:
    """Make the signed-in owner of the invited address a member.

    Raises Conflict for any other person, or an account that the link gives a password; and Missing.
    """
    with transaction.atomic():
        current = _locked_invitation(invitation)
        owner = _locked_user(user)
        if owner.email != current.email or not owner.is_active:
            raise Conflict(f"Only {current.email} can accept this invitation")
        if link_sets_password(owner, org_id=current.org_id):
            raise Conflict("Set a new password to accept")
        return _replaced_by_membership(current, owner)


def _new_link(
    *,
    org: Organization,
    email: str,
    role: str,
    invited_by: User | None,
    member: User | None = None,
) -> NewLink:
    secret = secrets.token_urlsafe(32)
    invitation, _ = Invitation.objects.update_or_create(
        org=org,
        email=email,
        defaults={
            "role": role,
            "invited_by": invited_by,
            "link_digest": _digest(secret, member),
            "link_created_at": now(),
        },
    )
    path = reverse("welcome", kwargs={"uid": invitation.pk, "token": secret})
    if member is None:
        history.record("invitation_link_created", invitation, after={"role": role})
        return NewLink(invitation, path)
    history.record("password_link_created", member, org_id=org.pk)
    return NewLink(invitation, path, resets_password=member.has_usable_password())


def _digest(secret: str, member: User | None) -> str:
    """Return the stored form of a secret; it has 256 random bits, so a plain hash is enough.

    A member's link ends with the password that the account has when it is made.
    """
    text = secret if member is None else f"{secret} {member.pk} {member.password}"
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _locked_invitation(invitation: Invitation) -> Invitation:
    """Return the invitation if its link is still the one that was opened."""
    org = locked(invitation.org_id)
    current = org.invitations.filter(pk=invitation.pk, link_digest=invitation.link_digest).first()
    if current is None:
        raise Conflict("This link has already been used or replaced")
    return current


def _locked_user(user: User) -> User:
    """Lock the account: links of two organizations may be opened at the same time."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _replaced_by_membership(invitation: Invitation, user: User) -> Membership:
    membership, is_new = Membership.objects.get_or_create(
        org_id=invitation.org_id, user=user, defaults={"role": invitation.role}
    )
    if is_new:
        after = {"role": invitation.role}
        history.record("member_joined", user, org_id=invitation.org_id, after=after)
    invitation.delete()
    return membership
