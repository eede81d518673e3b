"""Shared by all operations on an organization: the lock of its row, unique names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import IntegrityError

from orgs.core.errors import Conflict, Missing
from orgs.models import Organization


def locked(org_id: UUID) -> Organization:
    """Lock the organization's row for the rest of the transaction (SQLite locks the database).

    Raises Missing.
    """
    organization = Organization.objects.select_for_update(no_key=True).filter(pk=org_id).first()
    if organization is None:
        raise Missing("This organization does not exist")
    return organization


@contextmanager
def one_name(constraint: str, sentence: str) -> Iterator[None]:
    """Raise Conflict with the sentence where the constraint on names is violated."""
    try:
        yield
    except IntegrityError as exc:
        if constraint not in str(exc):
            raise
        raise Conflict(sentence, field="name") from exc
