"""The organization's budgets as rows."""

from __future__ import annotations

from uuid import UUID

from gateway.models import Budget


def budgets(
    *, organization_id: UUID, newer_than: UUID | None = None, limit: int | None = None
) -> list[Budget]:
    """Return the organization's budgets, oldest first: all, or `limit` after one of them."""
    rows = Budget.objects.filter(org=organization_id).order_by("id")
    if newer_than is not None:
        rows = rows.filter(id__gt=newer_than)
    return list(rows[:limit])
