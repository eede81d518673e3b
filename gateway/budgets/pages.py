"""The pages of budgets as plain values: lines of the list, the days of one, with their links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from costs.core.calendar.periods import first_instant
from costs.core.shares import share_percent
from costs.explorer.charts import share_width
from costs.explorer.names import emails
from gateway.budgets.chart import BurnDown, burn_down
from gateway.budgets.days import BudgetDay, budget_days
from gateway.budgets.links import costs_query, one_model, requests_query
from gateway.budgets.sentences import (
    Outlook,
    budget_sentence,
    evasion_of_parts,
    evasion_sentence,
    outlook,
    parts_counted,
    whose_calls,
)
from gateway.budgets.status import BudgetStatus, PastPeriod, past_periods, statuses
from gateway.console.fields import plain_eur
from gateway.core.calls import DIMENSIONS
from gateway.core.request_body import NAME_IN_JSON
from gateway.guards.budgets import EACH
from gateway.models import Budget
from orgs.keys.reports import keys_that_open
from orgs.models import Organization

COLUMNS: Final = (
    *("budgetId", "name", "enabled", "span", "startsOn", "lastDay", "isHard", "hold", "limitEur"),
    *("spentEur", "heldEur", "leftEur", "forecastEur", "forecastLowEur", "forecastHighEur"),
    *("each", "parts", "partsFull"),
    *("outlook", "fullOn", "teamId", "projectId", "appId", "clientId", "userId", "taskType"),
    "models",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLine:
    """A budget as the list shows it; widths are in percent of its bar.

    Of one that limits each member, key or other value, the bar is that of the fullest; `parts` is
    how many there are.
    """

    budget: Budget
    status: BudgetStatus
    calls: str
    each: str
    parts: str
    sentence: str
    outlook: Outlook
    is_spent: bool
    share_percent: str | None
    used_width: str
    held_width: str
    costs_query: str
    waiting_query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLine:
    """A day as the table shows it, with the parameters of the costs behind it."""

    day: BudgetDay
    costs_query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLine:
    """A period that has ended, how much of its limit was spent, and the costs behind it."""

    period: PastPeriod
    share_percent: str | None
    used_width: str
    is_over: bool
    costs_query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPage:
    """Everything the page of one budget shows.

    `uncounted_nanoeur` is by how much the days' costs differ from what the ledger counts.
    `evasions` say which keys' callers can avoid the budget.
    """

    line: BudgetLine
    chart: BurnDown
    days: tuple[DayLine, ...]
    past: tuple[PastLine, ...]
    uncounted_nanoeur: int
    refused_query: str
    shows_more_models: bool
    evasions: tuple[str, ...]


def budget_lines(
    organization: Organization, now: datetime, budgets: Sequence[Budget]
) -> list[BudgetLine]:
    """Return the lines of these budgets."""
    people = people_in(budgets, organization_id=organization.pk)
    found = statuses(organization, now, budgets)
    return [_line(budget, status, people) for budget, status in zip(budgets, found, strict=True)]


def budget_page(
    organization: Organization, now: datetime, budget: Budget, people: Mapping[str, str]
) -> BudgetPage:
    """Return the page of one budget."""
    (status,) = statuses(organization, now, [budget])
    zone = ZoneInfo(organization.timezone)
    begins = first_instant(status.today, zone)
    ends = first_instant(status.today + timedelta(days=1), zone)
    days = budget_days(status)
    days_sum = sum(status.by_day.values())
    return BudgetPage(
        line=_line(budget, status, people),
        chart=burn_down(status, days, day_share=(now - begins) / (ends - begins)),
        days=tuple(
            DayLine(day=day, costs_query=costs_query(budget, day.on, day.on)) for day in days
        ),
        past=tuple(
            _past(budget, period)
            for period in past_periods(status, organization_id=organization.pk)
        ),
        uncounted_nanoeur=days_sum - status.charged_nanoeur,
        refused_query=requests_query(budget, status="blocked", code="budget_limit"),
        shows_more_models=bool(budget.models) and one_model(budget) is None,
        evasions=_evasions(organization, now, budget),
    )


def _evasions(organization: Organization, now: datetime, budget: Budget) -> tuple[str, ...]:
    values = {name: value for name in DIMENSIONS if (value := getattr(budget, name)) is not None}
    found = []
    if count := keys_that_open(org=organization, moment=now, values=values):
        found.append(evasion_sentence(count, values))
    if budget.each in DIMENSIONS:
        of_each = keys_that_open(org=organization, moment=now, values=values, opening=[budget.each])
        found += [evasion_of_parts(of_each, budget.each)] if of_each else []
    return tuple(found)


def people_in(budgets: Sequence[Budget], *, organization_id: UUID) -> dict[str, str]:
    """Return the email addresses of the members that budgets are of, by id."""
    ids = [budget.user_id for budget in budgets]
    return emails(organization_id=organization_id, user_ids=ids)


def exported(line: BudgetLine) -> dict[str, Any]:
    """Return a line as the row of a file."""
    budget, status, ahead = line.budget, line.status, line.status.forecast
    return {
        "budgetId": str(budget.pk),
        "name": budget.name,
        "enabled": budget.enabled,
        "span": budget.span,
        "startsOn": f"{status.starts_on}",
        "lastDay": f"{status.last_day}",
        "isHard": budget.is_hard,
        "hold": budget.hold,
        "limitEur": plain_eur(budget.limit_nanoeur),
        "spentEur": plain_eur(status.charged_nanoeur),
        "heldEur": plain_eur(status.held_nanoeur),
        "leftEur": None if budget.each else plain_eur(status.left_nanoeur),
        "forecastEur": None if ahead is None else plain_eur(ahead.expected_nanoeur),
        "forecastLowEur": None if ahead is None else plain_eur(ahead.low_nanoeur),
        "forecastHighEur": None if ahead is None else plain_eur(ahead.high_nanoeur),
        "each": EACH.get(budget.each),
        "parts": status.parts.count if status.parts else None,
        "partsFull": status.parts.spent if status.parts else None,
        "outlook": line.outlook.word,
        "fullOn": f"{status.full_on}" if status.full_on else None,
        **{NAME_IN_JSON[name]: getattr(budget, name) for name in DIMENSIONS},
        "models": budget.models,
    }


def _line(budget: Budget, status: BudgetStatus, people: Mapping[str, str]) -> BudgetLine:
    limit, charged, held = budget.limit_nanoeur, status.charged_nanoeur, status.held_nanoeur
    if status.parts is not None:
        fullest = next(iter(status.parts.fullest), None)
        limit = fullest.limit_nanoeur if fullest else limit
        charged = fullest.charged_nanoeur if fullest else 0
        held = fullest.held_nanoeur if fullest else 0
    room = max(0, limit - charged)
    return BudgetLine(
        budget=budget,
        status=status,
        calls=whose_calls(budget, people),
        each=EACH.get(budget.each, ""),
        parts=parts_counted(budget.each, status.parts.count) if status.parts else "",
        sentence=budget_sentence(budget, people),
        outlook=outlook(status),
        is_spent=charged >= limit,
        share_percent=share_percent(charged, limit),
        used_width=share_width(charged, limit) if limit else "100",
        held_width=share_width(min(room, held), limit),
        costs_query=costs_query(budget, status.starts_on, status.today),
        waiting_query=requests_query(budget, status="pending"),
    )


def _past(budget: Budget, period: PastPeriod) -> PastLine:
    limit, charged = period.limit_nanoeur, period.charged_nanoeur
    return PastLine(
        period=period,
        share_percent=None if limit is None else share_percent(charged, limit),
        used_width="0" if limit is None else share_width(charged, limit),
        is_over=limit is not None and charged > limit,
        costs_query=costs_query(budget, period.starts_on, period.last_day),
    )
