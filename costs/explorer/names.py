"""Names of the ids in costs: users and keys; and the models that a filter matches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from costs.core.calendar.date_ranges import DateRange
from costs.core.model_names import means
from costs.explorer.spellings import EVER, spellings_of
from orgs.core.errors import Invalid
from orgs.core.spelling import folded
from orgs.database import kept_id
from orgs.models import ApiKey, HistoryEvent, User

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
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")
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
    """Return the values of each dimension in calls since that day, sorted, some of many, each in
    one spelling.

    One query.
    """
    used: dict[str, dict[str, str]] = {column: {} for column in DIMENSIONS}
    with connection.cursor() as cursor:
        cursor.execute(VALUES_USED, [kept_id(organization_id), f"{since}"] * len(DIMENSIONS))
        for column, value in cursor.fetchall():
            used[column].setdefault(folded(value), value)
    return {column: list(values.values()) for column, values in used.items()}


def models_matching(wanted: str, used: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the models among `used` that `wanted` matches: itself and its dated snapshots."""
    found = (m for provider, m in used if means(wanted, model=m, provider=provider))
    return tuple(dict.fromkeys(found))


def emails(*, organization_id: UUID, user_ids: Iterable[str | None]) -> dict[str, str]:
    """Return the email addresses of those ids that are or were members of the organization.

    Callers can send any value in a dimension: an id of another user stays an id.
    """
    texts = {text: user_id for text in user_ids if text and (user_id := _uuid(text))}
    ids = set(texts.values())
    members = User.objects.filter(memberships__org=organization_id, id__in=ids)
    found = dict(members.values_list("id", "email")) if ids else {}
    if left := ids - found.keys():
        # The address of that time: a later one is no longer the organization's.
        past = _past_members(organization_id).filter(subject_id__in=left).order_by("id")
        owners = User.objects.filter(api_keys__org=organization_id, id__in=left)
        found |= dict(owners.values_list("id", "email"))
        found |= {of: email for of, email in past.values_list("subject_id", "subject_name") if of}
    return {text: found[user_id] for text, user_id in texts.items() if user_id in found}


def is_address(name: str) -> bool:
    """Whether a user's name is an email address."""
    return _ADDRESS.fullmatch(name) is not None


def values_named(
    name: str,
    *,
    column: str,
    organization_id: UUID,
    date_range: DateRange | None,
    recent: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Return the values of a dimension's column that a filter for a name matches.

    Those are the name and its spellings: the `recent` ones, and those among the charges of a date
    range. Of an email address, they are the ids of the people who are or were members, the
    current one first, and its spellings; Invalid is raised if no user and no charge ever has it.
    """
    charges = partial(spellings_of, name, column=column, organization_id=organization_id)
    spellings = recent if date_range is None else (*recent, *charges(date_range=date_range))
    if column != "user_id" or not is_address(name):
        return tuple(dict.fromkeys((name, *spellings)))
    found = tuple(dict.fromkeys((*_ids_of(name.lower(), organization_id), *spellings)))
    found = found or charges(date_range=EVER)
    if not found:
        sentence = f"No user of this organization has the email address {name}"
        raise Invalid(sentence, field="userId")
    return found


def _ids_of(email: str, organization_id: UUID) -> tuple[str, ...]:
    """Return the ids of the members with this address, the current one first."""
    users = User.objects.filter(email=email)
    theirs = users.filter(Q(memberships__org=organization_id) | Q(api_keys__org=organization_id))
    past = _past_members(organization_id).filter(subject_name=email).order_by("-id")
    ids = [*theirs.values_list("id", flat=True), *past.values_list("subject_id", flat=True)]
    return tuple(dict.fromkeys(map(str, ids)))


def _past_members(organization_id: UUID) -> QuerySet[HistoryEvent]:
    """Return what the history has of people in the organization: only members are in it."""
    return HistoryEvent.objects.filter(org=organization_id, subject_type="user")


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
        """Return the names of users and keys by value: one query, of users who left two more.

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
        found = UUID(text or "")
    except ValueError:
        return None
    return found if f"{found}" == folded(text or "") else None
