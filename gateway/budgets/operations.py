"""Operations on budgets; each function is one transaction.

Each locks the organization's row first, as RESERVE does: a request that is judged afterwards is
judged by the budget as it is now.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow
from costs.ledger import time_zones
from costs.ledger.new_periods import Counting, open_periods
from gateway.budgets.parts.values import lineages
from gateway.call.rules.budgets import budget_rule
from gateway.call.runtime import current
from gateway.core.calls import DIMENSIONS
from gateway.core.model_entries import compared, fault_in_total, wildcards_in
from gateway.guards.budgets import BudgetRule
from gateway.guards.policies import HoldMode
from gateway.models import Budget
from gateway.policies.counting import countings_of
from gateway.providers.known import KnownModels, known_models
from orgs.audit import history
from orgs.core.errors import Conflict, Missing
from orgs.core.spelling import folded, normalized
from orgs.database import database_clock
from orgs.locking import locked, one_name
from orgs.models import Organization

BUDGETS_MAX: Final = 500  # of one organization: all that are enabled are kept in every process
_ONE_NAME: Final = ("budget_name_once", "A budget with this name already exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetTerms:
    """What a budget says. A dimension that is None is any; no `models` are all.

    `each` names the dimension of whose values each has the limit for itself; empty is none.
    """

    name: str
    span: BudgetWindow
    limit_nanoeur: int
    each: str = ""
    is_hard: bool = True
    hold: HoldMode = HoldMode.WHOLE
    models: list[str] = field(default_factory=list)
    user_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    app_id: str | None = None
    client_id: str | None = None
    task_type: str | None = None

    def as_columns(self) -> dict[str, Any]:
        """Return it as the row keeps it."""
        named = {name: getattr(self, name) for name in DIMENSIONS}
        kept = {name: (value and normalized(value)) or None for name, value in named.items()}
        return {**asdict(self), **kept, "span": self.span.value, "hold": self.hold.value}


# What the history says of a budget.
RECORDED: Final = (*(field.name for field in fields(BudgetTerms)), "enabled")


def create_budget(*, organization_id: UUID, terms: BudgetTerms) -> Budget:
    """Make a budget, enabled, which counts what was already spent in its current period.

    Calls in flight at that moment do not count in it. Raises Conflict when its name is taken or
    there are too many.
    """
    with one_name(*_ONE_NAME), transaction.atomic():
        organization = locked(organization_id)
        if has_all(organization):
            raise Conflict(f"An organization can have at most {BUDGETS_MAX} budgets")
        check_wildcards(organization, terms.models)
        budget = Budget.objects.create(org=organization, **terms.as_columns())
        history.record("budget_created", budget, after=terms.as_columns())
        _begin(organization, budget)
        return budget


def update_budget(
    *,
    organization_id: UUID,
    budget_id: UUID,
    terms: BudgetTerms | None = None,
    enabled: bool | None = None,
) -> None:
    """Replace what a budget says, and turn it on or off, where given.

    Raises Missing when it is gone, Conflict when its name is taken or it has too many wildcards.
    """
    changes = terms.as_columns() if terms else {}
    if enabled is not None:
        changes["enabled"] = enabled
    with one_name(*_ONE_NAME), transaction.atomic():
        organization = locked(organization_id)
        if terms is not None:
            check_wildcards(organization, terms.models, instead_of=budget_id)
        _change(organization, budget_id, changes)


def delete_budget(*, organization_id: UUID, budget_id: UUID) -> None:
    """Remove a budget; what was counted stays. Removing one that is gone does nothing."""
    with transaction.atomic():
        locked(organization_id)
        budget = Budget.objects.filter(org=organization_id, id=budget_id).first()
        if budget is not None:
            history.record("budget_deleted", budget, before=history.values_of(budget, RECORDED))
            budget.delete()


def terms_of(budget: Budget) -> BudgetTerms:
    """Return what a row says."""
    dimensions = {name: getattr(budget, name) for name in DIMENSIONS}
    return BudgetTerms(
        name=budget.name,
        span=BudgetWindow(budget.span),
        limit_nanoeur=budget.limit_nanoeur,
        each=budget.each,
        is_hard=budget.is_hard,
        hold=HoldMode(budget.hold),
        models=budget.models,
        **dimensions,
    )


def has_all(organization: Organization) -> bool:
    """Whether the organization has as many budgets as there may be."""
    return organization.budgets.count() >= BUDGETS_MAX


def check_wildcards(
    organization: Organization, models: list[str], *, instead_of: UUID | None = None
) -> None:
    """Raise Conflict if the organization's budgets would have too many entries with a wildcard.

    `models` are those of a new budget, or of the budget `instead_of`.
    """
    rows = organization.budgets.values_list("id", "models")
    of_each = {budget_id: wildcards_in(has) for budget_id, has in rows}
    fault = fault_in_total(wildcards_in(models), of_each, instead_of=instead_of)
    if fault is not None:
        raise Conflict(fault)


def _change(organization: Organization, budget_id: UUID, changes: dict[str, Any]) -> None:
    budget = Budget.objects.filter(org=organization, id=budget_id).first()
    if budget is None:
        raise Missing("Budget not found")
    before = _counted(budget)
    was = history.values_of(budget, changes)
    history.record("budget_changed", budget, before=was, after=changes)
    has_other_parts = changes.get("each", budget.each) != budget.each
    for name, value in changes.items():
        setattr(budget, name, value)
    if has_other_parts:  # the limits of others were raised
        budget.raises.all().delete()
    # What it missed while it was off, or counted of others, is recovered by counting again.
    is_recounted = budget.enabled and _counted(budget) != before
    if is_recounted:
        budget.revision += 1
    budget.save()
    if is_recounted:
        _begin(organization, budget)


def _counted(budget: Budget) -> tuple[object, ...]:
    """Return what decides which calls a budget counts, and in which periods."""
    dimensions = (folded(getattr(budget, name) or "") for name in DIMENSIONS)
    return (budget.enabled, budget.span, budget.each, sorted(budget.models), *dimensions)


def _begin(organization: Organization, budget: Budget) -> None:
    """Make the budget's period of now, or those of its parts, with what was spent already."""
    open_periods(organization, _counting(budget), now=now())


def follow_time_zone(organization: Organization) -> None:
    """Keep today's costs and what limits count of them on today, in the changed time zone.

    Called in the transaction that changes it (`TIME_ZONE_CHANGED`).
    """
    budgets = map(_counting, Budget.objects.filter(org=organization, enabled=True))
    policies = countings_of(organization)
    time_zones.follow_time_zone(organization, [*budgets, *policies], now=database_clock())


def _counting(budget: Budget) -> Counting:
    rule = budget_rule(budget, current().catalog)
    first_keys = lineages(budget.org_id) if budget.each == "key_id" else {}
    return Counting(
        limit=rule.limit,
        of={name: [value] for name, value in rule.of.items()},
        counts_model=partial(is_of_model, rule, known_models(budget.org_id)),
        each=rule.each,
        part_scope=lambda value: rule.part(first_keys.get(value, value)).scope,
    )


def is_of_model(rule: BudgetRule, known: KnownModels, name: str, provider: str) -> bool:
    """Whether a budget is of the model that a charge names, known to this gateway or not."""
    model = known.served_then(name, provider)
    names = (known.catalog.entry(name),) if model is None else model.names
    return rule.is_of_model(compared(names))
