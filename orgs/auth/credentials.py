"""Queries of the API's authentication: the row of a key, the user of a session.

Synchronous; the caller chooses the thread and closes the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any, Final, cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Exists, OuterRef
from django.http import HttpRequest

from orgs.auth.access import active_membership
from orgs.core.permissions import permissions_in
from orgs.models import ApiKey, Membership, User

_DIMENSIONS: Final = ("team_id", "project_id", "app_id", "client_id")
_COLUMNS: Final = (
    "id",
    "org_id",
    "name",
    "public",
    "digest",
    "owner_id",
    "owner__email",
    "owner_active_member",
    *_DIMENSIONS,
    "permissions",
    "client_from",
    "lineage_id",
    "expires_at",
    "revoked_at",
    "last_used_at",
    "org__config_version",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key as it stood when its organization was at `config_version`.

    `owner_active_member` is False, and has no meaning, without an owner. `lineage_id` is that of
    the first key of its rotations, its own if there was none.
    """

    id: UUID
    org_id: UUID
    name: str
    public: str
    digest: bytes = field(repr=False)
    owner_id: UUID | None
    owner_email: str | None
    owner_active_member: bool
    team_id: str | None
    project_id: str | None
    app_id: str | None
    client_id: str | None
    permissions: frozenset[str]
    client_from: str
    lineage_id: UUID
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    config_version: int

    def is_usable_at(self, moment: datetime) -> bool:
        """Whether the key is valid at `moment`; never when its owner has left."""
        if self.revoked_at is not None or (self.owner_id and not self.owner_active_member):
            return False
        return self.expires_at is None or moment < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCaller:
    """A signed-in browser: the person, their active organization and their role there."""

    user_id: str
    email: str
    org_id: UUID
    role: str
    config_version: int


def key_record(public: str) -> KeyRecord | None:
    """Return the key with this public part, whatever its state. One query."""
    owner_membership = Membership.objects.filter(
        org_id=OuterRef("org_id"), user_id=OuterRef("owner_id"), user__is_active=True
    )
    rows = ApiKey.objects.filter(public=public).annotate(
        owner_active_member=Exists(owner_membership)
    )
    row = rows.values(*_COLUMNS).first()
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    config_version = values.pop("org__config_version")
    values["owner_email"] = values.pop("owner__email")
    values["digest"] = bytes(values["digest"])  # PostgreSQL returns a memoryview
    values["permissions"] = permissions_in(values["permissions"])
    values["lineage_id"] = values["lineage_id"] or values["id"]
    return KeyRecord(config_version=config_version, **values)


def unsealed_keys() -> frozenset[str]:
    """Return the public parts of the keys that have no seal: earlier versions made them."""
    return frozenset(ApiKey.objects.filter(is_sealed=False).values_list("public", flat=True))


def session_caller(request: HttpRequest) -> SessionCaller | None:
    """Return who is signed in by the request's cookie, with or without middleware.

    The session's hash is verified (a changed password ends it) and the person must be active
    and a member of some organization.
    """
    if not hasattr(request, "session"):
        request.session = _session_of(request)
    user = get_user(request)
    if not isinstance(user, User):
        return None
    membership = active_membership(user, request.session)
    if membership is None:
        return None
    return SessionCaller(
        user_id=str(user.pk),
        email=user.email,
        org_id=membership.org_id,
        role=membership.role,
        config_version=membership.org.config_version,
    )


def _session_of(request: HttpRequest) -> SessionBase:
    engine = import_module(settings.SESSION_ENGINE)
    store = cast("Callable[[str | None], SessionBase]", engine.SessionStore)
    return store(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
