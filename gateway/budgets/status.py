"""The status of budgets: spent, held, left, and the forecast of their periods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Sum

from costs.core.admission import Balance
from costs.core.calendar.periods import local_day
from costs.core.forecast import Forecast, course, history_starts
from costs.ledger.balances import balances_of
from costs.models import DailyCost, Period
from gateway.budgets.operations import is_of_model
from gateway.budgets.parts.status import PartsStatus, parts_status
from gateway.call.rules.budgets import NO_RAISES, budget_rule, raised_limits
from gateway.call.runtime import current
from gateway.core.calls import DIMENSIONS
from gateway.core.model_entries import ModelEntries
from gateway.guards.budgets import BudgetIndex, BudgetRule
from gateway.models import Budget
from gateway.providers.known import known_models
from orgs.database import may_be
from orgs.models import Organization

PAST_SPANS_MAX: Final = 12
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """A budget in its current period, in nano-euro.

    `charged` is what the ledger counts; of a budget that is off, what its calls have cost. `by_day`
    has the charged days from `starts_on` on; `course` has the forecast of the end of today and of
    each day to `last_day`, and is empty where there is no week of charges to judge by. `full_on`
    is the day of the period on which the limit was reached or is forecast to be exceeded. Of a
    budget with `parts` the amounts are the sums of all, there is no forecast, and what is left is
    left in its parts.
    """

    rule: BudgetRule
    enabled: bool
    starts_on: date
    today: date
    last_day: date
    charged_nanoeur: int
    held_nanoeur: int
    by_day: Mapping[date, int]
    course: tuple[Forecast, ...]
    full_on: date | None
    parts: PartsStatus | None = None

    @property
    def left_nanoeur(self) -> int:
        """What a new hold may take; never negative."""
        return max(0, self.rule.limit_nanoeur - self.charged_nanoeur - self.held_nanoeur)

    @property
    def over_nanoeur(self) -> int:
        """What was spent beyond the limit."""
        return max(0, self.charged_nanoeur - self.rule.limit_nanoeur)

    @property
    def share(self) -> float:
        """How much of the limit is spent: 1 where all is, more where more is."""
        limit = self.rule.limit_nanoeur
        return self.charged_nanoeur / limit if limit else 1.0

    @property
    def is_full(self) -> bool:
        """Whether nothing is left; what is held may come back."""
        return self.left_nanoeur == 0

    @property
    def is_spent(self) -> bool:
        """Whether the whole limit is spent."""
        return self.charged_nanoeur >= self.rule.limit_nanoeur

    @property
    def forecast(self) -> Forecast | None:
        """Forecast of the period: `low_nanoeur`, `expected_nanoeur` and `high_nanoeur`."""
        return self.course[-1] if self.course else None


def statuses(
    organization: Organization, now: datetime, budgets: Sequence[Budget] | None = None
) -> list[BudgetStatus]:
    """Return where all the organization's budgets stand, or those of `budgets`, in their order.

    At most six queries, however many budgets there are.
    """
    if budgets is None:
        budgets = list(Budget.objects.filter(org=organization.pk))
    if not budgets:
        return []
    catalog = current().catalog
    raises = raised_limits(organization) if any(budget.each for budget in budgets) else {}
    rules = [budget_rule(each, catalog, raises.get(each.pk, NO_RAISES)) for each in budgets]
    today = local_day(now, ZoneInfo(organization.timezone))
    whole = [rule for rule in rules if not rule.each]
    starts = (rule.span.days_around(today)[0] for rule in whole)
    charged = charged_by_day(
        organization.pk, whole, first=min([*starts, history_starts(today)]), last=today
    )
    found = balances_of(organization, [rule.limit for rule in whole], now=now)
    balances = {rule.id: balance for rule, balance in zip(whole, found, strict=True)}
    parts = parts_status(organization, rules, now)
    return [
        _status_of_parts(budget, rule, parts[rule.id], today)
        if rule.each
        else _status(budget, rule, balances[rule.id], charged[rule.id], today)
        for budget, rule in zip(budgets, rules, strict=True)
    ]


def charged_by_day(
    organization_id: UUID, rules: Sequence[BudgetRule], *, first: date, last: date
) -> dict[str, dict[date, int]]:
    """Return, by the rule's id, what its calls cost on each of these days: one query for all."""
    charged: dict[str, dict[date, int]] = {rule.id: {} for rule in rules}
    if not rules:
        return charged
    index = BudgetIndex(rules)
    named = [name for name in DIMENSIONS if any(name in rule.of for rule in rules)]
    lines = DailyCost.objects.filter(org=organization_id, day__gte=first, day__lte=last)
    for name in named:
        if all(name in rule.of for rule in rules):
            lines = lines.filter(may_be(name, {rule.of[name] for rule in rules}))
    sums = (
        lines.order_by()
        .values_list("day", "model", "provider", *named)
        .annotate(Sum("amount_nanoeur"))
    )
    known: dict[tuple[ModelEntries, str, str], bool] = {}
    models = known_models(organization_id) if any(rule.models for rule in rules) else None
    for day, model, provider, *values, nanoeur in sums.iterator():
        for rule in index.of(dict(zip(named, values, strict=True))):
            key = (rule.models, model, provider)
            if (counts := known.get(key)) is None:
                counts = models is None or is_of_model(rule, models, model, provider)
                known[key] = counts
            if counts:
                days = charged[rule.id]
                days[day] = days.get(day, 0) + int(nanoeur)
    return charged


def _status(
    budget: Budget, rule: BudgetRule, balance: Balance, charged: Mapping[date, int], today: date
) -> BudgetStatus:
    first, after = rule.span.days_around(today)
    by_day = {day: nanoeur for day, nanoeur in charged.items() if day >= first}
    # What a budget that is off counts stands still: turned on, it counts these days again.
    spent = balance.charged_nanoeur if budget.enabled else max(0, sum(by_day.values()))
    ahead = course(charged, today=today, last=after - _DAY, spent_nanoeur=spent)
    return BudgetStatus(
        rule=rule,
        enabled=budget.enabled,
        starts_on=first,
        today=today,
        last_day=after - _DAY,
        charged_nanoeur=spent,
        held_nanoeur=balance.held_nanoeur if budget.enabled else 0,
        by_day=by_day,
        course=ahead,
        full_on=_full_on(rule.limit_nanoeur, spent, by_day=by_day, ahead=ahead, today=today),
    )


def _status_of_parts(
    budget: Budget, rule: BudgetRule, parts: PartsStatus, today: date
) -> BudgetStatus:
    first, after = rule.span.days_around(today)
    parts = parts if budget.enabled else PartsStatus()  # what a budget that is off counts is past
    return BudgetStatus(
        rule=rule,
        enabled=budget.enabled,
        starts_on=first,
        today=today,
        last_day=after - _DAY,
        charged_nanoeur=parts.charged_nanoeur,
        held_nanoeur=parts.held_nanoeur,
        by_day={},
        course=(),
        full_on=None,
        parts=parts,
    )


def _full_on(
    limit_nanoeur: int,
    spent_nanoeur: int,
    *,
    by_day: Mapping[date, int],
    ahead: Sequence[Forecast],
    today: date,
) -> date | None:
    """Return the day on which the limit was reached or is forecast to be exceeded."""
    if spent_nanoeur < limit_nanoeur:
        passing = (day.last_day for day in ahead if day.expected_nanoeur > limit_nanoeur)
        return next(passing, None)
    sums = zip(sorted(by_day), accumulate(by_day[day] for day in sorted(by_day)), strict=True)
    return next((day for day, spent in sums if spent >= limit_nanoeur), today)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPeriod:
    """A past period. Its limit is that of its last call, None if it refused nothing."""

    starts_on: date
    last_day: date
    charged_nanoeur: int
    limit_nanoeur: int | None


def past_periods(status: BudgetStatus, *, organization_id: UUID) -> list[PastPeriod]:
    """Return the periods that the budget counted before this one, the newest first."""
    periods = Period.objects.filter(
        org=organization_id, scope=status.rule.scope, starts_on__lt=status.starts_on
    )
    return [
        PastPeriod(
            starts_on=period.starts_on,
            last_day=status.rule.span.days_around(period.starts_on)[1] - _DAY,
            charged_nanoeur=period.charged_nanoeur,
            # The period has what was left of the limit when it began to count.
            limit_nanoeur=None
            if period.limit_nanoeur is None
            else period.limit_nanoeur + period.carried_nanoeur,
        )
        for period in periods.order_by("-starts_on")[:PAST_SPANS_MAX]
    ]
