"""Names of the ids in costs: users and keys; and the models that a filter matches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final
from uuid import UUID

from django.db import connection

from costs.core.model_names import means
from orgs.database import kept_id
from orgs.models import ApiKey, User

# The models that an organization has used, without reading every line: the index is queried for
# the first, then for the next one, and so on.
MODELS_USED: Final = """
    WITH RECURSIVE used (model) AS (
        SELECT MIN(model) FROM monthly_cost WHERE org_id = %(org)s
        UNION ALL
        SELECT (SELECT MIN(model) FROM monthly_cost WHERE org_id = %(org)s AND model > used.model)
        FROM used WHERE used.model IS NOT NULL
    )
    SELECT model,
        (SELECT MIN(provider) FROM monthly_cost WHERE org_id = %(org)s AND model = used.model),
        (SELECT MAX(provider) FROM monthly_cost WHERE org_id = %(org)s AND model = used.model)
    FROM used WHERE model IS NOT NULL LIMIT 500
"""
NAMES_KEPT_MAX: Final = 10_000
DIMENSIONS: Final = ("user_id", "team_id", "project_id", "app_id", "client_id", "task_type")
VALUES_USED: Final = " UNION ALL ".join(
    f"SELECT '{column}' AS name, {column} FROM (SELECT DISTINCT {column} FROM daily_cost "  # noqa: S608
    f"WHERE org_id = %s AND day >= %s AND {column} IS NOT NULL ORDER BY {column} LIMIT 200) v"
    for column in DIMENSIONS
)


def models_used(*, organization_id: UUID) -> list[tuple[str, str]]:
    """Return (provider, model) of all charges ever, sorted by model."""
    with connection.cursor() as cursor:
        cursor.execute(MODELS_USED, {"org": kept_id(organization_id)})
        rows = cursor.fetchall()
    return [
        (provider, model) for model, *providers in rows for provider in dict.fromkeys(providers)
    ]


def values_used(*, organization_id: UUID, since: date) -> dict[str, list[str]]:
    """Return the values of each dimension in calls since that day, sorted, some of many.

    One query.
    """
    used: dict[str, list[str]] = {column: [] for column in DIMENSIONS}
    with connection.cursor() as cursor:
        cursor.execute(VALUES_USED, [kept_id(organization_id), f"{since}"] * len(DIMENSIONS))
        for column, value in cursor.fetchall():
            used[column].append(value)
    return used


def models_matching(wanted: str, used: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the models among `used` that `wanted` matches: itself and its dated snapshots."""
    found = (m for provider, m in used if means(wanted, model=m, provider=provider))
    return tuple(dict.fromkeys(found))


def emails(*, organization_id: UUID, user_ids: Iterable[str | None]) -> dict[str, str]:
    """Return the email addresses of those ids that are members of the organization.

    Callers can send any value in a dimension: an id of another user stays an id.
    """
    ids = {user_id for text in user_ids if (user_id := _uuid(text))}
    if not ids:
        return {}
    members = User.objects.filter(memberships__org=organization_id, id__in=ids)
    return {str(user_id): email for user_id, email in members.values_list("id", "email")}


def user_id_of(email: str, *, organization_id: UUID) -> str | None:
    """Return the id of the member with this email address."""
    found = User.objects.filter(memberships__org=organization_id, email=email.lower()).first()
    return str(found.pk) if found else None


def key_names(*, organization_id: UUID, key_ids: Iterable[str | None]) -> dict[str, str]:
    """Return the names of those ids that are the organization's keys."""
    ids = {key_id for text in key_ids if (key_id := _uuid(text))}
    if not ids:
        return {}
    keys = ApiKey.objects.filter(org=organization_id, id__in=ids)
    return {str(key_id): name for key_id, name in keys.values_list("id", "name")}


@dataclass(slots=True)
class DimensionNames:
    """Names of the values of a dimension, for one page or file: each is looked up once.

    A file may have any number of users, so the cache is cleared when it is full.
    """

    organization_id: UUID
    _known: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, dimension: str, values: Iterable[str | None]) -> Mapping[str, str]:
        """Return the names of users and keys by value, by at most one query.

        Other values are their own names.
        """
        known = self._known.setdefault(dimension, {})
        wanted = {value for value in values if value}
        new = wanted - known.keys()
        if dimension not in ("user", "key") or not new:
            return known
        if len(known) + len(new) > NAMES_KEPT_MAX:
            known.clear()
            new = wanted
        known |= {value: value for value in new}
        if dimension == "user":
            known |= emails(organization_id=self.organization_id, user_ids=new)
        else:
            known |= key_names(organization_id=self.organization_id, key_ids=new)
        return known


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
