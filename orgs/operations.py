"""What can be done to organizations and their members; each function is one transaction.

Every operation locks its organization's row first, as RESERVE does: two of them cannot deadlock,
cannot remove the last two admins at once, and nothing is admitted on what they have withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypedDict, Unpack
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.timezone import now

from orgs.core import values
from orgs.errors import Conflict, Invalid, Missing
from orgs.models import ApiKey, Membership, Organization, User, validate_timezone
from orgs.welcome import welcome_path

EMAIL_MAX_CHARS: Final = 254


class OrganizationChanges(TypedDict, total=False):
    """What can be changed of an organization; what is left out stays."""

    name: str
    timezone: str
    on_disconnect: str
    ai_gateway_enabled: bool


@dataclass(frozen=True, slots=True)
class AddedMember:
    """A new membership. `welcome_path` leads a person without a password to setting one, once."""

    membership: Membership
    welcome_path: str | None


def locked(org_id: UUID) -> Organization:
    """Lock the organization's row for the rest of the transaction (SQLite locks the database)."""
    organization = Organization.objects.select_for_update(no_key=True).filter(pk=org_id).first()
    if organization is None:
        raise Missing("There is no such organization")
    return organization


# --- organizations ------------------------------------------------------------------------------


@contextmanager
def one_name(constraint: str, sentence: str) -> Iterator[None]:
    """Raise Conflict with the sentence where the constraint on names finds a second one."""
    try:
        yield
    except IntegrityError as exc:
        if constraint not in str(exc):
            raise
        raise Conflict(sentence, field="name") from exc


def create_organization(
    *, name: str, slug: str | None = None, timezone: str = "UTC"
) -> Organization:
    """Make an organization, its AI Gateway still off. Without a slug, the name makes one."""
    name = _organization_name(name)
    slug = slugify(name)[: values.SLUG_MAX_CHARS].strip("-_") if slug is None else slug
    if not slug:
        raise Invalid("The name has no letter for a slug; give a slug too", field="slug")
    if fault := values.fault_of_slug(slug):
        raise Invalid(fault, field="slug")
    _check_timezone(timezone)
    try:
        with transaction.atomic():
            return Organization.objects.create(name=name, slug=slug, timezone=timezone)
    except IntegrityError as exc:
        message = f'An organization with the slug "{slug}" exists already'
        raise Conflict(message, field="slug") from exc


def set_gateway(*, org: Organization, enabled: bool) -> Organization:
    """Turn the organization's AI Gateway on or off, from the next request on."""
    return change_organization(org=org, ai_gateway_enabled=enabled)


def change_organization(
    *, org: Organization, **changes: Unpack[OrganizationChanges]
) -> Organization:
    """Change what is given and return the organization as it is now."""
    if "name" in changes:
        changes["name"] = _organization_name(changes["name"])
    if "timezone" in changes:
        _check_timezone(changes["timezone"])
    if changes.get("on_disconnect", "close") not in Organization.OnDisconnect.values:
        raise Invalid("On a disconnect, the answer is closed or drained", field="on_disconnect")
    with transaction.atomic():
        organization = locked(org.pk)
        if any(getattr(organization, field) != value for field, value in changes.items()):
            Organization.objects.filter(pk=org.pk).update(**changes)
            organization.refresh_from_db()
        return organization


# --- members ------------------------------------------------------------------------------------


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


# --- values -------------------------------------------------------------------------------------


def _organization_name(name: str) -> str:
    name = name.strip()
    if fault := values.fault_of_text(name, what="The name", max_chars=200):
        raise Invalid(fault, field="name")
    return name


def _check_timezone(timezone: str) -> None:
    try:
        validate_timezone(timezone)
    except ValidationError as exc:
        raise Invalid(exc.messages[0], field="timezone") from exc


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
