"""Operations on members: create, change the role, remove; each function is one transaction."""

from __future__ import annotations

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.timezone import now

from orgs.audit import history
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.core.values import EMAIL_MAX_CHARS
from orgs.locking import locked
from orgs.models import ApiKey, Invitation, Membership, Organization, User


def create_member(*, org: Organization, email: str, role: str, password: str) -> Membership:
    """Create a member with a new account, whose password an operator sets.

    An existing account joins by an invitation only: raises Conflict. The address counts as
    confirmed. Raises Invalid for the address, the role and the password.
    """
    email = checked_email(email)
    check_role(role)
    account = {"password": _hashed(password, email=email), "email_confirmed_at": now()}
    with transaction.atomic():
        organization = locked(org.pk)
        user, is_new = User.objects.get_or_create(email=email, defaults=account)
        if not is_new:
            raise Conflict(
                f"{email} already has an account; omit the password to invite them", field="email"
            )
        _delete_invitation(org=organization, email=email)
        history.record("member_created", user, org_id=organization.pk, after={"role": role})
        return Membership.objects.create(org=organization, user=user, role=role)


def change_role(*, membership: Membership, role: str) -> Membership:
    """Change a member's role. The last admin cannot be demoted."""
    check_role(role)
    with transaction.atomic():
        current = _locked_membership(membership)
        if role != Membership.Role.ADMIN:
            _refuse_if_last_admin(current)
        Membership.objects.filter(pk=current.pk).exclude(role=role).update(role=role)
        _record("role_changed", current, before={"role": current.role}, after={"role": role})
        current.role = role
        return current


def remove_member(*, membership: Membership) -> int:
    """Remove a member from the organization; return how many of their keys were revoked."""
    with transaction.atomic():
        current = _locked_membership(membership)
        _refuse_if_last_admin(current)
        theirs = ApiKey.objects.filter(org_id=current.org_id, owner_id=current.user_id)
        revoked = theirs.filter(revoked_at__isnull=True).update(revoked_at=now())
        _delete_invitation(org=current.org, email=current.user.email)
        before = {"role": current.role, "keys_revoked": revoked}
        _record("member_removed", current, before=before)
        current.delete()
        return revoked


def checked_email(email: str) -> str:
    """Return the address as it is stored. Raises Invalid for a malformed one."""
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as exc:
        raise Invalid(f'"{email}" is not a valid email address', field="email") from exc
    if len(email) > EMAIL_MAX_CHARS:
        raise Invalid(
            f"The email address must be at most {EMAIL_MAX_CHARS} characters", field="email"
        )
    return email


def check_role(role: str) -> None:
    """Raise Invalid unless it is a role."""
    if role not in Membership.Role.values:
        raise Invalid(f'The role must be admin, member or auditor, not "{role}"', field="role")


def _record(event: str, membership: Membership, **values: history.Values) -> None:
    """Record what happened to a person in one organization."""
    history.record(event, membership.user, org_id=membership.org_id, **values)


def _locked_membership(membership: Membership) -> Membership:
    locked(membership.org_id)
    rows = Membership.objects.select_related("user", "org")
    current = rows.filter(pk=membership.pk).first()
    if current is None:
        raise Missing("This person is no longer a member")
    return current


def _refuse_if_last_admin(membership: Membership) -> None:
    if membership.role != Membership.Role.ADMIN:
        return
    admins = Membership.objects.filter(
        org_id=membership.org_id, role=Membership.Role.ADMIN, user__is_active=True
    )
    if not admins.exclude(pk=membership.pk).exists():
        raise Conflict(
            f"{membership.user.email} is the last admin; make another member an admin first",
            field="role",
        )


def _delete_invitation(*, org: Organization, email: str) -> None:
    """Delete the address's invitation: its link ends with the membership it is for."""
    Invitation.objects.filter(org=org, email=email).delete()


def _hashed(password: str, *, email: str) -> str:
    try:
        validate_password(password, user=User(email=email))
    except ValidationError as exc:
        raise Invalid(" ".join(exc.messages), field="password") from exc
    return make_password(password)
