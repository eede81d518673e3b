"""The values that budgets limit each for itself: what people call them, and what they mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import date
from typing import Final
from uuid import UUID

from django.db.models import Q

from costs.explorer.names import emails, key_names, values_named
from costs.models import DailyCost
from gateway.core.calls import DIMENSION_MAX_CHARS
from gateway.guards.budgets import part_of
from orgs.core.errors import Invalid
from orgs.core.spelling import normalized
from orgs.models import ApiKey

KEY: Final = "key_id"
SUGGESTED_MAX: Final = 200


def value_named(name: str, *, each: str, organization_id: UUID) -> str:
    """Return the value that a name stands for: an email address, a key's name, a team.

    A key is found by its name, the newest of that name, by its public part or by its id; its value
    is the first key of its rotations. Raises Invalid for an unknown one.
    """
    text = normalized(name)
    if each == KEY:
        return _key_named(text, organization_id)
    if not text or len(text) > DIMENSION_MAX_CHARS:
        raise Invalid(f"A name must have 1 to {DIMENSION_MAX_CHARS} characters", field="value")
    return values_named(text, column=each, organization_id=organization_id, date_range=None)[0]


def names_of(values: Collection[str], *, each: str, organization_id: UUID) -> Mapping[str, str]:
    """Return what people call these values, of those that are called something else."""
    if each == KEY:
        return key_names(organization_id=organization_id, key_ids=values)
    if each == "user_id":
        return emails(organization_id=organization_id, user_ids=values)
    return {}


def values_of_parts(
    parts: Collection[str], *, each: str, organization_id: UUID, first: date, last: date
) -> dict[str, str]:
    """Return the values of these parts, by part, of those that were charged on these days."""
    lines = DailyCost.objects.filter(org=organization_id, day__gte=first, day__lte=last)
    first_keys = lineages(organization_id) if each == KEY else {}
    found: dict[str, str] = {}
    for value in lines.exclude(**{each: None}).values_list(each, flat=True).distinct().iterator():
        resolved = first_keys.get(f"{value}", f"{value}")
        if (part := part_of(resolved)) in parts:
            found.setdefault(part, resolved)
    return found


def key_names_used(*, organization_id: UUID) -> list[str]:
    """Return the names of keys that are not revoked, some of many."""
    keys = ApiKey.objects.filter(org=organization_id, revoked_at=None).order_by("name")
    return list(keys.values_list("name", flat=True).distinct()[:SUGGESTED_MAX])


def first_keys_rotated(organization_id: UUID) -> frozenset[str]:
    """Return the keys that were rotated, each by the first of its rotations."""
    return frozenset(lineages(organization_id).values())


def lineages(organization_id: UUID) -> dict[str, str]:
    """Return the first key of their rotations by key, of the keys that replaced one."""
    rotated = ApiKey.objects.filter(org=organization_id).exclude(lineage_id=None)
    return {f"{key}": f"{first}" for key, first in rotated.values_list("pk", "lineage_id")}


def _key_named(name: str, organization_id: UUID) -> str:
    public = name.removeprefix("pulse_")
    named = Q(name__iexact=name) | Q(public=public)
    with suppress(ValueError):
        named |= Q(pk=UUID(name))
    keys = ApiKey.objects.filter(named, org=organization_id).order_by("-pk")
    key = keys.filter(revoked_at=None).first() or keys.first()
    if key is None:
        raise Invalid(f"The organization has no key {name}", field="value")
    return f"{key.lineage_id or key.pk}"
