"""Operations on API keys: create, rotate, revoke; each function is one transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, TypedDict, Unpack
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.timezone import now

from orgs.audit import history
from orgs.core import keys, permissions, values
from orgs.core.client_sources import SOURCE_FAULT, checked_source
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.core.spelling import normalized
from orgs.locking import locked
from orgs.models import ApiKey, Membership, Organization, User

FIXABLE: Final = ("team_id", "project_id", "app_id", "client_id")
NAME_MAX_CHARS: Final = 100
DEFAULT_OVERLAP: Final = timedelta(hours=24)
MAX_OVERLAP: Final = timedelta(days=30)


class KeyFields(TypedDict, total=False):
    """The fields of a key except its name. A dimension that is set is fixed for its calls.

    `permissions` are comma-separated names of `Permission`; without them the key has all.
    `client_from` is where calls that name no client take theirs from, empty for nowhere.
    """

    owner: User | None
    team_id: str | None
    project_id: str | None
    app_id: str | None
    client_id: str | None
    permissions: str
    client_from: str
    expires_at: datetime | None
    created_by_id: UUID | None


def create_key(*, org: Organization, name: str, **fields: Unpack[KeyFields]) -> tuple[ApiKey, str]:
    """Create a key; return its row and its text, which is not stored. Raises Invalid, Conflict."""
    name = name.strip()
    if fault := values.fault_of_text(name, what="The key's name", max_chars=NAME_MAX_CHARS):
        raise Invalid(fault, field="name")
    key = ApiKey(name=name, **fields)
    key.permissions = _checked_permissions(key.permissions)
    key.client_from = _checked_client_from(key.client_from)
    _check_dimensions(key)
    if key.expires_at is not None and key.expires_at <= now():
        raise Invalid("The expiry must be in the future", field="expires_at")
    with transaction.atomic():
        key.org = locked(org.pk)
        _check_owner(key)
        _check_name_is_free(key)
        text = _saved(key)
        history.record("key_created", key, after=_recorded(key))
        return key, text


def rotate_key(
    *, key: ApiKey, overlap: timedelta = DEFAULT_OVERLAP, created_by_id: UUID | None = None
) -> tuple[ApiKey, str]:
    """Create a key that replaces `key`, which stays valid for at most the overlap.

    The new key has the same name, settings and lifetime. Raises Invalid for the overlap, Conflict
    for a key that cannot be rotated, and Missing.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise Invalid(f"The overlap must be between 0 and {MAX_OVERLAP.days} days", field="overlap")
    moment = now()
    with transaction.atomic():
        org = locked(key.org_id)
        old = _current(key)
        _check_can_be_rotated(old, moment)
        lasts = None if old.expires_at is None else old.expires_at - old.created_at
        ends_at = moment + overlap
        if old.expires_at is None or ends_at < old.expires_at:
            ApiKey.objects.filter(pk=old.pk).update(expires_at=ends_at)
        successor = ApiKey(
            org=org,
            name=old.name,
            owner=old.owner,
            expires_at=None if lasts is None else moment + lasts,
            created_by_id=created_by_id,
            replaces=old,
            lineage_id=old.lineage_id or old.pk,
            permissions=old.permissions,
            client_from=old.client_from,
            **{field: getattr(old, field) for field in FIXABLE},
        )
        _check_owner(successor)
        text = _saved(successor)
        history.record(
            "key_rotated",
            successor,
            before={"public": old.public, "expires_at": old.expires_at},
            after={"public": successor.public, "expires_at": successor.expires_at},
        )
        return successor, text


def update_key(*, key: ApiKey, client_from: str) -> None:
    """Change where the key's calls take their client from; empty for nowhere."""
    source = _checked_client_from(client_from)
    with transaction.atomic():
        locked(key.org_id)
        current = _current(key)
        before = history.values_of(current, ("client_from",))
        ApiKey.objects.filter(pk=current.pk).update(client_from=source)
        history.record("key_changed", current, before=before, after={"client_from": source})


def revoke_key(*, key: ApiKey) -> bool:
    """Revoke the key permanently; return False when it was already revoked."""
    with transaction.atomic():
        locked(key.org_id)
        living = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True)
        is_revoked = bool(living.update(revoked_at=now()))
        if is_revoked:
            history.record("key_revoked", key, before=_recorded(key))
        return is_revoked


def _recorded(key: ApiKey) -> dict[str, object]:
    owner = key.owner.email if key.owner else None
    columns = ("name", "public", *FIXABLE, "permissions", "client_from", "expires_at")
    named = history.values_of(key, columns)
    return {**named, "owner": owner}


def _saved(key: ApiKey) -> str:
    """Save a key with a new secret, and return its text."""
    made = keys.new_key(settings.API_KEY_PEPPER)
    key.public, key.last_four, key.is_sealed = made.public, made.last_four, True
    key.digest = keys.digest(made.text, settings.API_KEY_PEPPER)
    key.save(force_insert=True)
    return made.text


def _current(key: ApiKey) -> ApiKey:
    current = ApiKey.objects.select_related("owner").filter(pk=key.pk).first()
    if current is None:
        raise Missing("This key does not exist")
    return current


def _check_can_be_rotated(key: ApiKey, moment: datetime) -> None:
    if key.revoked_at is not None:
        raise Conflict(f'The key "{key.name}" is revoked; create a new one')
    if not key.is_usable_at(moment):
        raise Conflict(f'The key "{key.name}" has expired; create a new one')
    if key.replacements.filter(revoked_at__isnull=True).exists():
        raise Conflict(f'The key "{key.name}" has already been rotated; rotate the new key')


def _checked_permissions(text: str) -> str:
    given = [name.strip() for name in text.split(",")]
    if not set(given) <= set(permissions.Permission):
        names = ", ".join(permissions.Permission)
        raise Invalid(f"The permissions must be among {names}", field="permissions")
    return permissions.as_text(given)


def _checked_client_from(text: str) -> str:
    source = checked_source(text)
    if source is None:
        raise Invalid(SOURCE_FAULT, field="client_from")
    return source


def _check_dimensions(key: ApiKey) -> None:
    for field in FIXABLE:
        value = getattr(key, field)
        if value is None:
            continue
        value = normalized(value)
        setattr(key, field, value)
        what = f"The {field.removesuffix('_id')}"
        if fault := values.fault_of_text(value, what=what, max_chars=values.DIMENSION_MAX_CHARS):
            raise Invalid(fault, field=field)


def _check_owner(key: ApiKey) -> None:
    if key.owner is None:
        return
    members = Membership.objects.filter(org_id=key.org_id, user__is_active=True)
    if not members.filter(user=key.owner).exists():
        raise Invalid(f"{key.owner.email} is not an active member", field="owner")


def _check_name_is_free(key: ApiKey) -> None:
    # The table's constraint allows a key and its successor to share a name, but no third key.
    living = ApiKey.objects.filter(org_id=key.org_id, revoked_at__isnull=True)
    if living.filter(name__iexact=key.name).exists():
        raise Conflict(
            f'A key named "{key.name}" already exists; revoke it or choose another name',
            field="name",
        )
