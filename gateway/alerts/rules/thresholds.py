"""Rules for alerts on limits: shares that are spent, forecasts, and refused calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING
from typing import Any, Final
from uuid import UUID

from costs.core.money import format_eur
from gateway.alerts.rules.findings import AlertFinding
from gateway.models import Alert

BUDGET_PERCENTS: Final = (50, 80, 100)
# Of each part of a budget: there are many.
PART_PERCENTS: Final = (80, 100)
DAY_PERCENTS: Final = (80, 100)
# A refusal with less than a fifth left is an alert. Before that, it only shows that a call was
# large.
REFUSAL_FROM_PERCENT: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that a limit refused on the local day `on`: its bound, and the limit's state then."""

    on: date
    bound_nanoeur: int
    charged_nanoeur: int
    held_nanoeur: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The state of a budget, in nano-euro. `expected` is the forecast for the end of its period.

    `refusal` is the last one in its period. Of the part of a budget that limits each member, key or
    other value for itself, `whose` is whose it is, such as `member "ann@acme.example"`.
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
    refusal: Refusal | None = None
    costs_query: str = ""
    whose: str = ""

    @property
    def base_key(self) -> str:
        """Prefix of the keys of its period; another limit raises new alerts."""
        return f"{self.scope}:{self.starts_on}:{self.limit_nanoeur}"

    @property
    def refusal_key(self) -> str:
        """The key of the alert that it refused a call."""
        return f"{self.base_key}:refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpending:
    """An organization's day against its tightest limit, in nano-euro."""

    policy_name: str
    starts_on: date
    limit_nanoeur: int
    charged_nanoeur: int
    held_nanoeur: int = 0
    refusal: Refusal | None = None

    @property
    def base_key(self) -> str:
        """What its keys begin with."""
        return f"day:{self.starts_on}:{self.limit_nanoeur}"

    @property
    def refusal_key(self) -> str:
        """The key of the alert that it refused a call."""
        return f"{self.base_key}:refused"


def of_budget(budget: Spending) -> list[AlertFinding]:
    """Return the findings on a budget: the highest share spent, the forecast, a refused call."""
    findings = (_share_of_budget(budget), _forecast(budget), _refusal_by_budget(budget))
    return [found for found in findings if found]


def of_day(day: DaySpending) -> list[AlertFinding]:
    """Return the findings on the daily limit: the highest share spent, and a refused call."""
    return [found for found in (_share_of_day(day), _refusal_by_day(day)) if found]


def _share_of_day(day: DaySpending) -> AlertFinding | None:
    percent = _reached(DAY_PERCENTS, day.charged_nanoeur, day.limit_nanoeur)
    if percent is None:
        return None
    share = _share(day.charged_nanoeur, day.limit_nanoeur)
    spent = f'{_spent_of(day.charged_nanoeur, day.limit_nanoeur)} (policy "{day.policy_name}")'
    sentence = (
        f"Daily limit reached: {spent}. Calls that could exceed it are blocked until the day ends."
        if percent == DAY_PERCENTS[-1]
        else f"{share} of the daily limit is spent: {spent}."
    )
    return AlertFinding(
        key=f"{day.base_key}:{percent}",
        or_known_by=_higher(day.base_key, DAY_PERCENTS, percent),
        kind=Alert.Kind.DAY_LIMIT,
        percent=percent,
        sentence=sentence,
        figures=_figures_of_day(day),
    )


def _refusal_by_day(day: DaySpending) -> AlertFinding | None:
    if day.refusal is None or not _is_near(day.refusal, day.limit_nanoeur):
        return None
    return AlertFinding(
        key=day.refusal_key,
        kind=Alert.Kind.REFUSAL,
        sentence=f'The daily limit of policy "{day.policy_name}" '
        f"{_refused(day.refusal, day.limit_nanoeur, f'on {_day(day.starts_on)}')}",
        figures=_figures_of_day(day) | _figures_of_refusal(day.refusal),
    )


def _share_of_budget(budget: Spending) -> AlertFinding | None:
    charged, limit = budget.charged_nanoeur, budget.limit_nanoeur
    percents = PART_PERCENTS if budget.whose else BUDGET_PERCENTS
    percent = _reached(percents, charged, limit)
    if percent is None:
        return None
    state = "is spent" if charged >= limit else f"is {_share(charged, limit)} spent"
    of = f" of {budget.whose}" if budget.whose else ""
    refused = (
        " Calls that could exceed it are blocked." if budget.is_hard and percent == 100 else ""
    )
    return AlertFinding(
        key=f"{budget.base_key}:{percent}",
        or_known_by=_higher(budget.base_key, percents, percent),
        kind=Alert.Kind.BUDGET,
        percent=percent,
        budget_id=budget.budget_id,
        sentence=f'Budget "{budget.name}"{of} {state}: {_spent_of(charged, limit)} '
        f"for the {budget.span} ending {_day(budget.last_day)}.{refused}",
        figures=_figures(budget),
    )


def _refusal_by_budget(budget: Spending) -> AlertFinding | None:
    refusal, limit = budget.refusal, budget.limit_nanoeur
    if refusal is None or not budget.is_hard or not _is_near(refusal, limit):
        return None
    return AlertFinding(
        key=budget.refusal_key,
        kind=Alert.Kind.REFUSAL,
        budget_id=budget.budget_id,
        sentence=f'Budget "{budget.name}" '
        f"{_refused(refusal, limit, f'for the {budget.span} ending {_day(budget.last_day)}')}",
        figures=_figures(budget) | _figures_of_refusal(refusal),
    )


def _forecast(budget: Spending) -> AlertFinding | None:
    expected = budget.expected_nanoeur
    if expected is None or not budget.charged_nanoeur < budget.limit_nanoeur < expected:
        return None
    passed = f", reaching its limit on {_day(budget.full_on)}" if budget.full_on else ""
    return AlertFinding(
        key=f"{budget.base_key}:forecast",
        or_known_by=(f"{budget.base_key}:{BUDGET_PERCENTS[-1]}",),
        kind=Alert.Kind.FORECAST,
        budget_id=budget.budget_id,
        sentence=f'Budget "{budget.name}" of {format_eur(budget.limit_nanoeur)} is forecast to be '
        f"exceeded: {format_eur(expected)} by {_day(budget.last_day)}{passed}.",
        figures=_figures(budget) | {"expected_nanoeur": expected},
    )


def is_near(limit: Spending | DaySpending) -> bool:
    """Whether so much is charged and held that a refusal would be an alert."""
    return _is_near(limit, limit.limit_nanoeur)


def _is_near(state: Spending | DaySpending | Refusal, limit: int) -> bool:
    taken = state.charged_nanoeur + state.held_nanoeur
    return taken * 100 >= limit * REFUSAL_FROM_PERCENT


def _reached(percents: Sequence[int], charged: int, limit: int) -> int | None:
    """Return the highest share that is charged; held money is not spent.

    Of a limit of nothing, a first charge is all.
    """
    if charged >= limit and charged > 0:
        return 100
    return max((each for each in percents if charged * 100 >= limit * each > 0), default=None)


def _higher(base: str, percents: Sequence[int], percent: int) -> tuple[str, ...]:
    return tuple(f"{base}:{each}" for each in percents if each > percent)


def _spent_of(charged: int, limit: int) -> str:
    return f"{format_eur(charged)} of {format_eur(limit)}"


def _refused(refusal: Refusal, limit: int, period: str) -> str:
    return (
        f"refused a call that could cost up to {format_eur(refusal.bound_nanoeur, ROUND_CEILING)}: "
        f"{_spent_of(refusal.charged_nanoeur, limit)} were spent {period}, and "
        f"{format_eur(refusal.held_nanoeur)} were held by running calls."
    )


def _share(charged: int, limit: int) -> str:
    return f"{charged * 100 // limit} %" if limit else "all"


def _figures_of_day(day: DaySpending) -> dict[str, Any]:
    return {
        "limit_nanoeur": day.limit_nanoeur,
        "charged_nanoeur": day.charged_nanoeur,
        "policy": day.policy_name,
        "starts_on": f"{day.starts_on}",
        "last_day": f"{day.starts_on}",
        "costs_query": f"from={day.starts_on}&to={day.starts_on}&groupBy=model",
    }


def _figures_of_refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "bound_nanoeur": refusal.bound_nanoeur,
        "charged_nanoeur": refusal.charged_nanoeur,
        "held_nanoeur": refusal.held_nanoeur,
    }


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
