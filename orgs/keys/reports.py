"""API keys as plain values: state, owner and attribution, never the digest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet

from orgs.core import permissions
from orgs.core.spelling import folded
from orgs.database import may_be
from orgs.models import ApiKey, Membership, Organization, User

KEYS_PER_PAGE: Final = 100

# The tone of a status, and the sign beside its name.
_LOOKS: Final = {
    "active": ("good", "✓"),
    "being replaced": ("wait", "↻"),
    "owner not active": ("bad", "!"),
    "revoked": ("", "✕"),
    "expired": ("", "○"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key as shown in a list: never its digest.

    `locked_to` are its dimensions, `callers_choose` those that it leaves open; `client_from`
    is where the client is taken from, empty for nowhere. `first_id` is that of the first of its
    rotations.
    """

    id: UUID
    first_id: UUID
    name: str
    public: str
    last_four: str
    owner: str | None
    owner_is_confirmed: bool
    locked_to: dict[str, str]
    callers_choose: list[str]
    client_from: str
    permissions: str
    is_restricted: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    status: str
    tone: str
    sign: str
    can_be_rotated: bool
    can_be_revoked: bool


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some keys, newest first; `older_than` continues the list."""

    rows: list[KeyRow]
    older_than: UUID | None


def keys(
    *,
    org: Organization,
    moment: datetime,
    owner: User | None = None,
    older_than: UUID | None = None,
    limit: int | None = KEYS_PER_PAGE,
) -> KeyPage:
    """Return the organization's keys, newest first, or only those of one owner.

    Ids grow with time, so the next page starts after the id of the last row.
    """
    rows = _with_state(ApiKey.objects.filter(org=org)).order_by("-id")
    if owner is not None:
        rows = rows.filter(owner=owner)
    if older_than is not None:
        rows = rows.filter(pk__lt=older_than)
    if limit is None:
        return KeyPage([_key_row(row, moment) for row in rows], older_than=None)
    found = [_key_row(row, moment) for row in rows[: limit + 1]]
    return KeyPage(found[:limit], older_than=found[limit - 1].id if len(found) > limit else None)


def keys_that_open(
    *,
    org: Organization,
    moment: datetime,
    values: Mapping[str, str],
    opening: Collection[str] | None = None,
) -> int:
    """Return how many usable keys let their callers name another value than one of these.

    `values` are by column, in any spelling. A key that is locked to a different value is none of
    them: its calls never have these values. With `opening`, those that let them name any value of
    one of these columns.
    """
    works = Q(owner=None) | Q(owner__is_active=True, owner__memberships__org=org)
    lasts = Q(expires_at=None) | Q(expires_at__gt=moment)
    rows, opens = ApiKey.objects.filter(works, lasts, org=org, revoked_at=None), Q()
    for column in values if opening is None else opening:
        if column == "task_type":  # no key is locked to one
            opens |= Q(pk__isnull=False)
        else:
            opens |= Q(**{"owner" if column == "user_id" else column: None})
    fixed: dict[str, str] = {}
    for column, value in values.items():
        if column not in ("task_type", "user_id"):
            rows = rows.filter(Q(**{column: None}) | may_be(column, [value]))
            fixed[column] = folded(value)
    found = rows.filter(opens).values_list("pk", *fixed) if opens else []
    return sum(
        all(
            value is None or folded(value) == name
            for value, name in zip(of, fixed.values(), strict=True)
        )
        for _, *of in found
    )


def _with_state(rows: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    successors = ApiKey.objects.filter(replaces=OuterRef("pk"), revoked_at__isnull=True)
    owner_membership = Membership.objects.filter(
        org_id=OuterRef("org_id"), user_id=OuterRef("owner_id"), user__is_active=True
    )
    return rows.select_related("owner").annotate(
        is_replaced=Exists(successors),
        owner_has_left=ExpressionWrapper(
            Q(owner__isnull=False) & ~Exists(owner_membership), output_field=BooleanField()
        ),
    )


def _key_row(key: ApiKey, moment: datetime) -> KeyRow:
    is_replaced, owner_has_left = key.is_replaced, key.owner_has_left  # type: ignore[attr-defined]  # annotated
    works = key.is_usable_at(moment) and not owner_has_left
    dimensions = {
        "team": key.team_id,
        "project": key.project_id,
        "app": key.app_id,
        "client": key.client_id,
    }
    status = _status(key, moment, is_replaced=is_replaced, owner_has_left=owner_has_left)
    return KeyRow(
        id=key.pk,
        first_id=key.lineage_id or key.pk,
        name=key.name,
        public=key.public,
        last_four=key.last_four,
        owner=key.owner.email if key.owner else None,
        owner_is_confirmed=key.owner is not None and key.owner.email_confirmed_at is not None,
        locked_to={name: value for name, value in dimensions.items() if value is not None},
        callers_choose=[
            *(["user"] if key.owner is None else []),
            *(name for name, value in dimensions.items() if value is None),
            "task type",
        ],
        client_from=key.client_from,
        permissions=key.permissions,
        is_restricted=key.permissions != permissions.ALL,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        status=status,
        tone=_LOOKS[status][0],
        sign=_LOOKS[status][1],
        can_be_rotated=works and not is_replaced,
        can_be_revoked=key.revoked_at is None,
    )


def _status(key: ApiKey, moment: datetime, *, is_replaced: bool, owner_has_left: bool) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if not key.is_usable_at(moment):
        return "expired"
    if owner_has_left:
        return "owner not active"
    return "being replaced" if is_replaced else "active"
