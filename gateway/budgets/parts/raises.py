"""Operations on raised limits; each function is one transaction that locks the organization.

A raise counts from the next request on, since it raises the organization's `config_version`; it
ends with its last day, by the clock at each use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils.timezone import now

from costs.core.calendar.periods import local_day
from costs.core.money import format_eur
from gateway.guards.budgets import EACH, part_of
from gateway.models import Budget, BudgetRaise
from orgs.audit import history
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.locking import locked
from orgs.models import Organization

RAISES_MAX: Final = 1_000  # of one organization: all are kept in every process
LASTS_MAX: Final = timedelta(days=2 * 366)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseTerms:
    """A limit for one value of a budget's dimension to the end of `until`, a local day."""

    value: str
    limit_nanoeur: int
    until: date


def set_raise(*, organization_id: UUID, budget_id: UUID, terms: RaiseTerms) -> None:
    """Raise the limit of one value, instead of an earlier raise.

    Raises Missing when the budget is gone; Invalid for a budget of all calls together, a limit that
    is not above the budget's, or a last day that has passed; Conflict when there are too many.
    """
    part = part_of(terms.value)
    with transaction.atomic():
        organization = locked(organization_id)
        budget = _of_parts(organization, budget_id)
        _check(organization, budget, terms)
        rows = BudgetRaise.objects.filter(org=organization)
        rows.filter(until__lt=_today(organization, now())).delete()  # so that they stay few
        before = rows.filter(budget=budget, part=part).first()
        if before is None and rows.count() >= RAISES_MAX:
            raise Conflict(f"An organization can have at most {RAISES_MAX} raised limits")
        columns = {"limit_nanoeur": terms.limit_nanoeur, "until": terms.until}
        BudgetRaise.objects.update_or_create(
            budget=budget,
            part=part,
            defaults={"org": organization, "value": terms.value, **columns},
        )
        history.record(
            "budget_raised",
            budget,
            before=None if before is None else _recorded(before),
            after={terms.value: columns},
        )


def remove_raise(*, organization_id: UUID, budget_id: UUID, value: str) -> None:
    """Give one value the budget's own limit again. Raises Missing where it is not raised."""
    with transaction.atomic():
        organization = locked(organization_id)
        budget = _of_parts(organization, budget_id)
        found = budget.raises.filter(part=part_of(value)).first()
        if found is None:
            raise Missing("This limit is not raised")
        history.record("budget_lowered", budget, before=_recorded(found))
        found.delete()


def raises_in_force(
    organization: Organization, budget: Budget, moment: datetime
) -> Sequence[BudgetRaise]:
    """Return the raises of a budget that have not ended, the first to end first."""
    return list(budget.raises.filter(until__gte=_today(organization, moment)))


def _of_parts(organization: Organization, budget_id: UUID) -> Budget:
    budget = Budget.objects.filter(org=organization, id=budget_id).first()
    if budget is None:
        raise Missing("Budget not found")
    if not budget.each:
        sentence = "Only a budget that limits each member, key or other value for itself has values"
        raise Invalid(sentence, field="value")
    return budget


def _check(organization: Organization, budget: Budget, terms: RaiseTerms) -> None:
    today = _today(organization, now())
    if not today <= terms.until <= today + LASTS_MAX:
        sentence = f"The last day must be between today ({today}) and {today + LASTS_MAX}"
        raise Invalid(sentence, field="until")
    if terms.limit_nanoeur <= budget.limit_nanoeur:
        allowed = format_eur(budget.limit_nanoeur)
        sentence = f"The limit must be above the {allowed} of each {EACH[budget.each]}"
        raise Invalid(sentence, field="limit_eur")


def _recorded(row: BudgetRaise) -> dict[str, Any]:
    return {row.value: history.values_of(row, ("limit_nanoeur", "until"))}


def _today(organization: Organization, moment: datetime) -> date:
    return local_day(moment, ZoneInfo(organization.timezone))
