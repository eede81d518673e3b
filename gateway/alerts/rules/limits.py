"""Find alerts on an organization's budgets and daily limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from costs.core.calendar.periods import local_day
from costs.core.money import format_eur
from gateway.alerts.rules.findings import AlertFinding
from gateway.alerts.rules.thresholds import (
    PART_PERCENTS,
    DaySpending,
    Refusal,
    Spending,
    is_near,
    of_budget,
    of_day,
)
from gateway.budgets.links import costs_query, part_costs_query
from gateway.budgets.parts.values import first_keys_rotated, names_of, values_of_parts
from gateway.budgets.status import BudgetStatus, statuses
from gateway.core.errors import HELD_CODE
from gateway.guards.budgets import whose_part
from gateway.models import AiRequestLog, Alert, Budget
from gateway.policies.reports import SpendToday
from orgs.models import Organization

# How far back refused calls are looked for, and how many are read: a limit that refuses goes on
# refusing, and this is checked every minute.
REFUSALS_WITHIN: Final = timedelta(hours=1)
REFUSALS_READ_MAX: Final = 500
DAY: Final = "day"
# The verdicts of a budget that is spent, or held by calls in flight.
FULL: Final = ("budget_limit", HELD_CODE)

AnyLimit = TypeVar("AnyLimit", Spending, DaySpending)


# By the budget's id, or DAY, and the limit as it was then.
Refusals = Mapping[tuple[str, int], Refusal]


def findings_on_limits(
    organization: Organization, now: datetime, day: SpendToday
) -> tuple[list[AlertFinding], bool]:
    """Return the findings, and whether a refusal would be a new one without any change of money."""
    budgets = list(Budget.objects.filter(org=organization, enabled=True))
    found = statuses(organization, now, budgets)
    pairs = list(zip(budgets, found, strict=True))
    spendings = [_spending(budget, status) for budget, status in pairs if not status.parts]
    limit = _day(organization, now, day)
    refusing: list[Spending | DaySpending] = [each for each in spendings if each.is_hard]
    refusing += [limit] if limit else []
    sent = Alert.objects.filter(org=organization, key__in=[each.refusal_key for each in refusing])
    known = set(sent.values_list("key", flat=True)) if refusing else set()
    unsent = [each for each in refusing if each.refusal_key not in known]
    refusals: Refusals = _refusals(organization, now) if unsent else {}
    findings: list[AlertFinding] = []
    for spending in spendings:
        findings += of_budget(_after(spending, refusals.get(_named(spending))))
    for budget, status in pairs:
        for spending in _spendings_of_parts(organization, budget, status):
            findings += of_budget(spending)
    if limit:
        findings += of_day(_after(limit, refusals.get((DAY, limit.limit_nanoeur))))
    return findings, any(is_near(each) for each in unsent)


def bills_above_holds(
    organization: Organization, now: datetime, day: SpendToday
) -> list[AlertFinding]:
    """Return the finding, once a day, that providers billed more than was held for their calls."""
    above = day.overrun_nanoeur
    if not above:
        return []
    today = local_day(now, ZoneInfo(organization.timezone))
    return [
        AlertFinding(
            key=f"above_hold:{today}",
            kind=Alert.Kind.ABOVE_HOLD,
            sentence=f"Providers billed {format_eur(above)} more on {today} than was held for the "
            "calls, so limits can be exceeded by as much. The log names the requests.",
            figures={"above_nanoeur": above, "on_date": f"{today}"},
        )
    ]


def _day(organization: Organization, now: datetime, day: SpendToday) -> DaySpending | None:
    if day.limit_nanoeur is None:
        return None
    return DaySpending(
        policy_name=day.policy_name or "",
        starts_on=local_day(now, ZoneInfo(organization.timezone)),
        limit_nanoeur=day.limit_nanoeur,
        charged_nanoeur=day.charged_nanoeur,
        held_nanoeur=day.held_nanoeur,
    )


def _spending(budget: Budget, status: BudgetStatus) -> Spending:
    forecast = status.forecast
    return Spending(
        budget_id=budget.pk,
        scope=budget.scope,
        name=budget.name,
        span=budget.span,
        starts_on=status.starts_on,
        last_day=status.last_day,
        limit_nanoeur=budget.limit_nanoeur,
        charged_nanoeur=status.charged_nanoeur,
        held_nanoeur=status.held_nanoeur,
        is_hard=budget.is_hard,
        expected_nanoeur=forecast.expected_nanoeur if forecast else None,
        full_on=status.full_on,
        costs_query=costs_query(budget, status.starts_on, status.today),
    )


def _spendings_of_parts(
    organization: Organization, budget: Budget, status: BudgetStatus
) -> list[Spending]:
    """Return the fullest parts of a budget that may be alerts, a limited number of them."""
    parts = status.parts.fullest if status.parts else ()
    near = [part for part in parts if part.share * 100 >= PART_PERCENTS[0]]
    if not near:
        return []
    values = values_of_parts(
        {part.part for part in near},
        each=budget.each,
        organization_id=organization.pk,
        first=status.starts_on,
        last=status.today,
    )
    rotated = first_keys_rotated(organization.pk) if budget.each == "key_id" else frozenset()
    names = names_of(values.values(), each=budget.each, organization_id=organization.pk)
    return [
        replace(
            _spending(budget, status),
            scope=f"{budget.scope}:{part.part}",
            limit_nanoeur=part.limit_nanoeur,
            charged_nanoeur=part.charged_nanoeur,
            held_nanoeur=part.held_nanoeur,
            whose=whose_part(budget.each, value, names.get(value)),
            costs_query=part_costs_query(
                budget, value, status.starts_on, status.today, is_rotated=value in rotated
            ),
        )
        for part in near
        if (value := values.get(part.part)) is not None
    ]


# --- refusals -----------------------------------------------------------------------------------


def _refusals(organization: Organization, now: datetime) -> Refusals:
    """Return the last refusal by each limit, from the traces of what was refused lately."""
    zone = ZoneInfo(organization.timezone)
    rows = AiRequestLog.objects.filter(
        org=organization,
        occurred_at__gte=now - REFUSALS_WITHIN,
        status=AiRequestLog.Status.BLOCKED,
        code__in=("budget_limit", "daily_cost_limit", HELD_CODE),
    ).order_by("-occurred_at", "-id")
    columns = ("occurred_at", "code", "hold_nanoeur", "decision__budgets", "decision__before")
    read = rows.values_list(*columns)
    found: dict[tuple[str, int], Refusal] = {}
    for at, code, bound, of_budgets, before in read[:REFUSALS_READ_MAX]:
        full = [each for each in of_budgets or () if each.get("verdict") in FULL]
        # What a policy that names calls refuses may fit in the day of all.
        is_of_day = code != "budget_limit" and _is_full(before, bound)
        entries = [{"id": DAY, **(before or {})}] if is_of_day else full
        for each in entries:
            name = f"{each.get('id')}", int(each.get("limit_nanoeur") or 0)
            refusal = Refusal(
                on=local_day(at, zone),
                bound_nanoeur=bound or 0,
                charged_nanoeur=each.get("charged_nanoeur") or 0,
                held_nanoeur=each.get("held_nanoeur") or 0,
            )
            found.setdefault(name, refusal)
    return found


def _is_full(day: Mapping[str, Any] | None, bound_nanoeur: int | None) -> bool:
    left_nanoeur = (day or {}).get("left_nanoeur")
    return left_nanoeur is not None and left_nanoeur < (bound_nanoeur or 0)


def _named(spending: Spending) -> tuple[str, int]:
    return f"{spending.budget_id}", spending.limit_nanoeur


def _after(limit: AnyLimit, refusal: Refusal | None) -> AnyLimit:
    """Return the limit with its refusal, if that was in the current period."""
    if refusal is None or refusal.on < limit.starts_on:
        return limit
    return replace(limit, refusal=refusal)
