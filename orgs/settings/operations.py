"""Operations on organizations: create, change, switch the AI Gateway; each is one transaction."""

from __future__ import annotations

from typing import Final, TypedDict, Unpack

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.module_loading import import_string
from django.utils.text import slugify

from orgs.audit import history
from orgs.core import values
from orgs.core.errors import Conflict, Invalid
from orgs.locking import locked
from orgs.models import Organization, validate_timezone

# What the history says of an organization.
RECORDED: Final = (
    *("name", "slug", "timezone", "on_disconnect", "ai_gateway_enabled"),
    "stores_answers",
)


class OrganizationChanges(TypedDict, total=False):
    """The fields of an organization that can change; omitted ones stay."""

    name: str
    timezone: str
    on_disconnect: str
    ai_gateway_enabled: bool
    stores_answers: bool


def create_organization(
    *, name: str, slug: str | None = None, timezone: str = "UTC"
) -> Organization:
    """Create an organization with its AI Gateway off. The slug defaults to the name's.

    Raises Invalid, and Conflict for a slug that is taken.
    """
    name = _organization_name(name)
    slug = slugify(name)[: values.SLUG_MAX_CHARS].strip("-_") if slug is None else slug
    if not slug:
        raise Invalid("No slug can be derived from this name; give one", field="slug")
    if fault := values.fault_of_slug(slug):
        raise Invalid(fault, field="slug")
    _check_timezone(timezone)
    try:
        with transaction.atomic():
            org = Organization.objects.create(name=name, slug=slug, timezone=timezone)
            history.record("organization_created", org, after=history.values_of(org, RECORDED))
            return org
    except IntegrityError as exc:
        message = f'An organization with the slug "{slug}" already exists'
        raise Conflict(message, field="slug") from exc


def set_gateway(*, org: Organization, enabled: bool) -> Organization:
    """Turn the organization's AI Gateway on or off, from the next request."""
    return change_organization(org=org, ai_gateway_enabled=enabled)


def set_storage(*, org: Organization, enabled: bool) -> Organization:
    """Let OpenAI store answers for the organization, or not, from the next request."""
    return change_organization(org=org, stores_answers=enabled)


def change_organization(
    *, org: Organization, **changes: Unpack[OrganizationChanges]
) -> Organization:
    """Change the given fields; return the updated organization. Raises Invalid and Missing."""
    if "name" in changes:
        changes["name"] = _organization_name(changes["name"])
    if "timezone" in changes:
        _check_timezone(changes["timezone"])
    if changes.get("on_disconnect", "close") not in Organization.OnDisconnect.values:
        raise Invalid("on_disconnect must be 'close' or 'drain'", field="on_disconnect")
    with transaction.atomic():
        organization = locked(org.pk)
        before = history.values_of(organization, changes)
        if before != changes:
            Organization.objects.filter(pk=org.pk).update(**changes)
            history.record("organization_changed", organization, before=before, after=changes)
            organization.refresh_from_db()
            if organization.timezone != before.get("timezone", organization.timezone):
                time_zone_changed(organization)
        return organization


def time_zone_changed(organization: Organization) -> None:
    """Let the ledger follow a new time zone, in the transaction that has changed it."""
    import_string(settings.TIME_ZONE_CHANGED)(organization)


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
