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
    """A new membership. `welcome_path` leads a person without a password to setting one, once."""

    membership: Membership
    welcome_path: str | None


def add_member(
    *, org: Organization, email: str, role: str, password: str | None = None
) -> AddedMember:
    """Let a person into the organization, and make their account when there is none.

    Without `password`, a new person gets a link to set one. An account that exists keeps its
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
    """Return a fresh link for a member who has not set a password yet."""
    user = membership.user
    if user.has_usable_password():
        raise Conflict(f"{user.email} has set a password already")
    if user.memberships.exclude(org_id=membership.org_id).exists():
        raise Conflict(
            f"{user.email} was added by another organization too; use the link made there"
        )
    return welcome_path(user)


def change_role(*, membership: Membership, role: str) -> Membership:
    """Give a member another role. The last admin stays one."""
    _check_role(role)
    with transaction.atomic():
        current = _locked_membership(membership)
        if role != Membership.Role.ADMIN:
            _refuse_if_last_admin(current)
        Membership.objects.filter(pk=current.pk).exclude(role=role).update(role=role)
        current.role = role
        return current


def remove_member(*, membership: Membership) -> int:
    """Take a person out of the organization; return how many of their keys this revoked."""
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
        raise Missing("This person is not a member any more")
    return current


def _refuse_if_last_admin(membership: Membership) -> None:
    if membership.role != Membership.Role.ADMIN:
        return
    admins = Membership.objects.filter(
        org_id=membership.org_id, role=Membership.Role.ADMIN, user__is_active=True
    )
    if not admins.exclude(pk=membership.pk).exists():
        raise Conflict(
            f"{membership.user.email} is the last admin; make somebody else an admin first",
            field="role",
        )


def _check_account(user: User, *, org: Organization, password: str | None) -> None:
    """Raise unless this account, which exists already, can be let into the organization."""
    memberships = set(user.memberships.values_list("org_id", flat=True))
    if org.pk in memberships:
        raise Conflict(f"{user.email} is a member already", field="email")
    if not user.is_active:
        raise Conflict(f"The account of {user.email} is deactivated", field="email")
    if password is not None:
        raise Conflict(
            f"{user.email} has an account already; leave the password out", field="email"
        )
    # Whoever holds the other organization's link could still become this person.
    if memberships and not user.has_usable_password():
        raise Conflict(
            f"{user.email} has not set a password yet; add them when they have", field="email"
        )


def _check_role(role: str) -> None:
    if role not in Membership.Role.values:
        raise Invalid(f'"{role}" is not a role: admin, member or auditor', field="role")


def _email(email: str) -> str:
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as exc:
        raise Invalid(f'"{email}" is not an e-mail address', field="email") from exc
    if len(email) > EMAIL_MAX_CHARS:
        raise Invalid("The e-mail address is too long", field="email")
    return email


def _new_password(password: str | None, *, email: str) -> str | None:
    if password is None:
        return None
    try:
        validate_password(password, user=User(email=email))
    except ValidationError as exc:
        raise Invalid(" ".join(exc.messages), field="password") from exc
    return password
