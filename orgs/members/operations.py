"""Operations on members: add, change the role, remove; each function is one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.timezone import now

from orgs.auth.welcome import welcome_path
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.core.values import EMAIL_MAX_CHARS
from orgs.locking import locked
from orgs.models import ApiKey, Membership, Organization, User


@dataclass(frozen=True, slots=True)
class AddedMember:
    """A new membership. `welcome_path` is a one-time link for a user without a password."""

    membership: Membership
    welcome_path: str | None


def add_member(
    *, org: Organization, email: str, role: str, password: str | None = None
) -> AddedMember:
    """Add a member to the organization, creating their account if needed.

    Without `password`, a new user gets a link to set one. An existing account keeps its
    password, whoever adds it.
    """
    email = _email(email)
    _check_role(role)
    account = {"password": make_password(_new_password(password, email=email))}
    with transaction.atomic():
        organization = locked(org.pk)
        user, is_new = User.objects.get_or_create(email=email, defaults=account)
        if not is_new:
            _check_account(user, org=organization, password=password)
        membership = Membership.objects.create(org=organization, user=user, role=role)
    waits = not user.has_usable_password()
    return AddedMember(membership, welcome_path=welcome_path(user) if waits else None)


def new_welcome_path(*, membership: Membership) -> str:
    """Return a new link for a member who has not set a password yet."""
    user = membership.user
    if user.has_usable_password():
        raise Conflict(f"{user.email} has already set a password")
    if user.memberships.exclude(org_id=membership.org_id).exists():
        raise Conflict(
            f"{user.email} was also added by another organization; use the link created there"
        )
    return welcome_path(user)


def change_role(*, membership: Membership, role: str) -> Membership:
    """Change a member's role. The last admin cannot be demoted."""
    _check_role(role)
    with transaction.atomic():
        current = _locked_membership(membership)
        if role != Membership.Role.ADMIN:
            _refuse_if_last_admin(current)
        Membership.objects.filter(pk=current.pk).exclude(role=role).update(role=role)
        current.role = role
        return current


def remove_member(*, membership: Membership) -> int:
    """Remove a member from the organization; return how many of their keys were revoked."""
    with transaction.atomic():
        current = _locked_membership(membership)
        _refuse_if_last_admin(current)
        theirs = ApiKey.objects.filter(org_id=current.org_id, owner_id=current.user_id)
        revoked = theirs.filter(revoked_at__isnull=True).update(revoked_at=now())
        current.delete()
        return revoked


def _locked_membership(membership: Membership) -> Membership:
    locked(membership.org_id)
    current = Membership.objects.select_related("user").filter(pk=membership.pk).first()
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


def _check_account(user: User, *, org: Organization, password: str | None) -> None:
    """Raise unless this existing account can be added to the organization."""
    memberships = set(user.memberships.values_list("org_id", flat=True))
    if org.pk in memberships:
        raise Conflict(f"{user.email} is already a member", field="email")
    if not user.is_active:
        raise Conflict(f"The account of {user.email} is deactivated", field="email")
    if password is not None:
        raise Conflict(f"{user.email} already has an account; omit the password", field="email")
    # Whoever holds the other organization's link could still become this person.
    if memberships and not user.has_usable_password():
        raise Conflict(
            f"{user.email} has not set a password yet; add them once they have", field="email"
        )


def _check_role(role: str) -> None:
    if role not in Membership.Role.values:
        raise Invalid(f'The role must be admin, member or auditor, not "{role}"', field="role")


def _email(email: str) -> str:
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


def _new_password(password: str | None, *, email: str) -> str | None:
    if password is None:
        return None
    try:
        validate_password(password, user=User(email=email))
    except ValidationError as exc:
        raise Invalid(" ".join(exc.messages), field="password") from exc
    return password
