"""Records what happens, in the transaction of the operation that does it.

Values are named by the code that records them, so that no secret is kept by accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Model

from orgs.core.actors import current_actor
from orgs.models import HistoryEvent, Organization

Values = Mapping[str, Any]
NAME_MAX_CHARS: Final = 254


def record(
    event: str,
    subject: Model | None,
    *,
    org_id: UUID | None = None,
    before: Values | None = None,
    after: Values | None = None,
) -> None:
    """Record an event on a row, or on None if no row is known; `org_id` defaults to the row's.

    Of a change, with both `before` and `after`, only what differs is kept, and nothing if nothing
    does. Raises TransactionManagementError outside a transaction.
    """
    # Without a transaction the event could stay where the change does not.
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("An event is recorded within a transaction")
    if before is not None and after is not None:
        changed = [name for name in after if before.get(name) != after[name]]
        if not changed:
            return
        before, after = ({name: side.get(name) for name in changed} for side in (before, after))
    actor = current_actor()
    HistoryEvent.objects.create(
        org_id=org_id or _org_id(subject),
        event=event,
        actor_kind=actor.kind.value,
        actor_id=actor.id,
        actor_name=actor.name[:NAME_MAX_CHARS],
        address=actor.address,
        subject_type=(subject._meta.model_name or "") if subject else "",
        subject_id=subject.pk if subject else None,
        subject_name=_name(subject) if subject else "",
        before=before,
        after=after,
    )


def values_of(row: Model, names: Iterable[str]) -> dict[str, Any]:
    """Return the named values of a row."""
    return {name: getattr(row, name) for name in names}


def _org_id(subject: Model | None) -> UUID | None:
    return subject.pk if isinstance(subject, Organization) else getattr(subject, "org_id", None)


def _name(subject: Model) -> str:
    name = getattr(subject, "email", None) or getattr(subject, "name", None) or str(subject)
    return str(name)[:NAME_MAX_CHARS]
