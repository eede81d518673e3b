"""The organization's aliases as rows."""

from __future__ import annotations

from uuid import UUID

from gateway.models import ModelAlias


def aliases(*, organization_id: UUID) -> list[ModelAlias]:
    """Return the organization's aliases, oldest first."""
    return list(ModelAlias.objects.filter(org=organization_id))


def alias_names(*, organization_id: UUID, but: UUID | None = None) -> list[str]:
    """Return what the organization's aliases are called, without the alias `but`."""
    rows = ModelAlias.objects.filter(org=organization_id).values_list("id", "name")
    return [name for alias_id, name in rows if alias_id != but]
