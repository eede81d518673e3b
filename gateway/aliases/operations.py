"""Operations on aliases; each function is one transaction.

Each locks the organization's row first, as RESERVE does: a request that is judged afterwards is
judged by the alias as it is now.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils.timezone import now

from gateway.models import ModelAlias
from orgs.audit import history
from orgs.core.errors import Conflict, Missing
from orgs.locking import locked, one_name

ALIASES_MAX: Final = 200  # of one organization: all that are enabled are kept in every process
_ONE_NAME: Final = ("model_alias_name_once", "An alias with this name already exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasTerms:
    """What an alias says, checked by `gateway.aliases.faults`."""

    name: str
    models: list[str]
    retries: int


# What the history says of an alias.
RECORDED: Final = (*(field.name for field in fields(AliasTerms)), "enabled")


def create_alias(*, organization_id: UUID, terms: AliasTerms) -> ModelAlias:
    """Make an alias, enabled. Raises Conflict when its name is taken or there are too many."""
    with one_name(*_ONE_NAME), transaction.atomic():
        organization = locked(organization_id)
        if organization.aliases.count() >= ALIASES_MAX:
            raise Conflict(f"An organization can have at most {ALIASES_MAX} aliases")
        alias = ModelAlias.objects.create(org=organization, **asdict(terms))
        history.record("alias_created", alias, after=asdict(terms))
        return alias


def update_alias(
    *,
    organization_id: UUID,
    alias_id: UUID,
    terms: AliasTerms | None = None,
    enabled: bool | None = None,
) -> None:
    """Replace what an alias says, and turn it on or off, where given.

    Raises Missing when it is gone, Conflict when its name is taken.
    """
    changes: dict[str, Any] = asdict(terms) if terms else {}
    if enabled is not None:
        changes["enabled"] = enabled
    with one_name(*_ONE_NAME), transaction.atomic():
        locked(organization_id)
        alias = ModelAlias.objects.filter(org=organization_id, id=alias_id).first()
        if alias is None:
            raise Missing("Alias not found")
        before = history.values_of(alias, changes)
        ModelAlias.objects.filter(id=alias_id).update(updated_at=now(), **changes)
        history.record("alias_changed", alias, before=before, after=changes)


def delete_alias(*, organization_id: UUID, alias_id: UUID) -> None:
    """Remove an alias; past requests keep its name. Removing one that is gone does nothing."""
    with transaction.atomic():
        locked(organization_id)
        alias = ModelAlias.objects.filter(org=organization_id, id=alias_id).first()
        if alias is not None:
            history.record("alias_deleted", alias, before=history.values_of(alias, RECORDED))
            alias.delete()
