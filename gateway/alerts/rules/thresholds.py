"""Rules for alerts at shares of a limit, reached or forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from costs.core.money import format_eur
from gateway.alerts.rules.findings import AlertFinding
from gateway.models import Alert

BUDGET_PERCENTS: Final = (50, 80, 100)
DAY_PERCENTS: Final = (80, 100)
# A limit that refuses calls is never passed: it is full in effect once it has refused one while
# less than a fifth was left. Before that, a refusal only shows that a call was large.
FULL_FROM_PERCENT: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The state of a budget, in nano-euro. `expected` is the forecast for the end of its period.

    `refused_at_nanoeur` is what was charged and held when it last refused a call.
    """

    budget_id: UUID
    scope: str
    name: str
    span: str
    starts_on: date
    last_day: date
    limit_nanoeur: int
    charged_nanoeur: int
    held_nanoeur: int = 0
    is_hard: bool
    expected_nanoeur: int | None = None
    full_on: date | None = None
    refused_at_nanoeur: int | None = None
    costs_query: str = ""

    @property
    def base_key(self) -> str:
        """Prefix of the keys of its period; another limit raises new alerts."""
        return f"{self.scope}:{self.starts_on}:{self.limit_nanoeur}"

    @property
    def full_key(self) -> str:
        """The key of the alert that it is full."""
        return f"{self.base_key}:100"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpending:
    """An organization's day against its tightest limit, in nano-euro."""

    policy_name: str
    starts_on: date
    limit_nanoeur: int
    charged_nanoeur: int
    held_nanoeur: int = 0
    refused_at_nanoeur: int | None = None

    @property
    def base_key(self) -> str:
        """What its keys begin with."""
        return f"day:{self.starts_on}:{self.limit_nanoeur}"

    @property
    def full_key(self) -> str:
        """The key of the alert that it is full."""
        return f"{self.base_key}:100"


def of_budget(budget: Spending) -> list[AlertFinding]:
    """Return the findings on a budget: the highest share reached, and the forecast."""
    return [found for found in (_share_of_budget(budget), _forecast(budget)) if found]


def of_day(day: DaySpending) -> list[AlertFinding]:
    """Return the findings on the daily limit."""
    refuses = _is_full(day.refused_at_nanoeur, day.limit_nanoeur)
    percent = _reached(DAY_PERCENTS, day.charged_nanoeur, day.limit_nanoeur, refuses=refuses)
    if percent is None:
        return []
    share = _share(day.charged_nanoeur, day.limit_nanoeur)
    spent = f'{_spent_of(day.charged_nanoeur, day.limit_nanoeur)} (policy "{day.policy_name}")'
    sentence = (
        f"Daily limit reached: {spent}. Calls that could exceed it are blocked until the day ends."
        if percent == DAY_PERCENTS[-1]
        else f"{share} of the daily limit is spent: {spent}."
    )
    return [
        AlertFinding(
            key=f"{day.base_key}:{percent}",
            or_known_by=_higher(day.base_key, DAY_PERCENTS, percent),
            kind=Alert.Kind.DAY_LIMIT,
            percent=percent,
            sentence=sentence,
            figures={
                "limit_nanoeur": day.limit_nanoeur,
                "charged_nanoeur": day.charged_nanoeur,
                "policy": day.policy_name,
                "starts_on": f"{day.starts_on}",
                "last_day": f"{day.starts_on}",
                "costs_query": f"from={day.starts_on}&to={day.starts_on}&groupBy=model",
            },
        )
    ]


def _share_of_budget(budget: Spending) -> AlertFinding | None:
    charged, limit = budget.charged_nanoeur, budget.limit_nanoeur
    refuses = budget.is_hard and _is_full(budget.refused_at_nanoeur, limit)
    percent = _reached(BUDGET_PERCENTS, charged, limit, refuses=refuses)
    if percent is None:
        return None
    state = "is spent" if charged >= limit else f"is {_share(charged, limit)} spent"
    refused = (
        " Calls that could exceed it are blocked." if budget.is_hard and percent == 100 else ""
    )
    return AlertFinding(
        key=f"{budget.base_key}:{percent}",
        or_known_by=_higher(budget.base_key, BUDGET_PERCENTS, percent),
        kind=Alert.Kind.BUDGET,
        percent=percent,
        budget_id=budget.budget_id,
        sentence=f'Budget "{budget.name}" {state}: {_spent_of(charged, limit)} '
        f"for the {budget.span} ending {_day(budget.last_day)}.{refused}",
        figures=_figures(budget),
    )


def _forecast(budget: Spending) -> AlertFinding | None:
    expected = budget.expected_nanoeur
    if expected is None or not budget.charged_nanoeur < budget.limit_nanoeur < expected:
        return None
    passed = f", reaching its limit on {_day(budget.full_on)}" if budget.full_on else ""
    return AlertFinding(
        key=f"{budget.base_key}:forecast",
        or_known_by=(budget.full_key,),
        kind=Alert.Kind.FORECAST,
        budget_id=budget.budget_id,
        sentence=f'Budget "{budget.name}" of {format_eur(budget.limit_nanoeur)} is forecast to be '
        f"exceeded: {format_eur(expected)} by {_day(budget.last_day)}{passed}.",
        figures=_figures(budget) | {"expected_nanoeur": expected},
    )


def is_near(limit: Spending | DaySpending) -> bool:
    """Whether so much is charged and held that a refusal would mean that it is full."""
    return _is_full(limit.charged_nanoeur + limit.held_nanoeur, limit.limit_nanoeur)


def _reached(percents: Sequence[int], charged: int, limit: int, *, refuses: bool) -> int | None:
    """Return the highest share that is reached. Of a limit of nothing, a first charge is all."""
    if refuses or (charged >= limit and charged > 0):
        return 100
    return max((each for each in percents if charged * 100 >= limit * each > 0), default=None)


def _is_full(refused_at: int | None, limit: int) -> bool:
    return refused_at is not None and refused_at * 100 >= limit * FULL_FROM_PERCENT


def _higher(base: str, percents: Sequence[int], percent: int) -> tuple[str, ...]:
    return tuple(f"{base}:{each}" for each in percents if each > percent)


def _spent_of(charged: int, limit: int) -> str:
    return f"{format_eur(charged)} of {format_eur(limit)}"


def _share(charged: int, limit: int) -> str:
    return f"{charged * 100 // limit} %" if limit else "all"


def _figures(budget: Spending) -> dict[str, Any]:
    return {
        "limit_nanoeur": budget.limit_nanoeur,
        "charged_nanoeur": budget.charged_nanoeur,
        "span": budget.span,
        "starts_on": f"{budget.starts_on}",
        "last_day": f"{budget.last_day}",
        "costs_query": budget.costs_query,
    }


def _day(day: date) -> str:
    return f"{day:%-d %b}"
