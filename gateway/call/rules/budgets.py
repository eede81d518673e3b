"""Budgets and raised limits as calls are checked against them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from costs.core.admission import RaisedLimit
from costs.core.calendar.periods import BudgetWindow, first_instant
from gateway.core.calls import DIMENSIONS
from gateway.core.model_entries import model_entries
from gateway.core.model_names import Catalog
from gateway.guards.budgets import BudgetRule
from gateway.guards.policies import HoldMode
from gateway.models import Budget, BudgetRaise
from orgs.models import Organization

Raises = Mapping[UUID, Mapping[str, RaisedLimit]]
NO_RAISES: Final[Mapping[str, RaisedLimit]] = {}


def budget_rules(organization: Organization, catalog: Catalog) -> list[BudgetRule]:
    """Return the organization's enabled budgets, the oldest first: two queries."""
    budgets = list(Budget.objects.filter(org=organization, enabled=True))
    has_parts = any(budget.each for budget in budgets)
    raises = raised_limits(organization) if has_parts else {}
    return [budget_rule(each, catalog, raises.get(each.pk, NO_RAISES)) for each in budgets]


def budget_rule(
    budget: Budget, catalog: Catalog, raises: Mapping[str, RaisedLimit] = NO_RAISES
) -> BudgetRule:
    """Return a budget, with its raised limits by part."""
    dimensions = {name: getattr(budget, name) for name in DIMENSIONS}
    return BudgetRule(
        id=str(budget.id),
        name=budget.name,
        scope=budget.scope,
        span=BudgetWindow(budget.span),
        limit_nanoeur=budget.limit_nanoeur,
        is_hard=budget.is_hard,
        of={name: value for name, value in dimensions.items() if value is not None},
        models=model_entries(catalog, budget.models),
        holds_slices=budget.hold == HoldMode.SLICES,
        each=budget.each,
        raises=raises,
    )


def raised_limits(organization: Organization) -> Raises:
    """Return an organization's raised limits, by budget and part.

    Those that have ended may be among them: each use compares its end with the clock.
    """
    zone = ZoneInfo(organization.timezone)
    found: dict[UUID, dict[str, RaisedLimit]] = {}
    rows = BudgetRaise.objects.filter(org=organization).values_list(
        "budget_id", "part", "limit_nanoeur", "until"
    )
    for budget_id, part, limit_nanoeur, until in rows:
        ends_at = first_instant(until + timedelta(days=1), zone)
        raised = RaisedLimit(limit_nanoeur=limit_nanoeur, ends_at=ends_at)
        found.setdefault(budget_id, {})[part] = raised
    return found
