"""Sentences for budgets: the calls they apply to, their status and forecast."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from costs.core.money import format_eur
from gateway.budgets.parts.status import NEAR_PERCENT, PartsStatus
from gateway.budgets.status import BudgetStatus
from gateway.console.sentences import listed
from gateway.core.calls import DIMENSIONS
from gateway.guards.budgets import EACH
from gateway.models import Budget

DIMENSION_WORDS: Final = {
    "team_id": "team",
    "project_id": "project",
    "app_id": "app",
    "client_id": "client",
    "user_id": "user",
    "task_type": "task type",
}
# Of a hard limit: what is left then is less than most calls could cost, and they are refused.
ALMOST_FULL_SHARE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Outlook:
    """A budget's status as a badge: never colour alone. `note` is shown beside it."""

    word: str
    tone: str
    sign: str
    note: str = ""


def whose_calls(budget: Budget, people: Mapping[str, str]) -> str:
    """Return the calls that a budget applies to; `people` are email addresses by user id."""
    dimensions = [
        f"{word} {people.get(value, value)}"
        for name, word in DIMENSION_WORDS.items()
        if (value := getattr(budget, name)) is not None
    ]
    if not dimensions and not budget.models:
        return "All calls"
    of = f" of {listed(dimensions, most=len(DIMENSIONS))}" if dimensions else ""
    to = f" to {listed(budget.models)}" if budget.models else ""
    return f"Calls{of}{to}"


def budget_sentence(budget: Budget, people: Mapping[str, str]) -> str:
    """Return what a budget does, as one sentence."""
    then = "calls that could exceed it are blocked" if budget.is_hard else "it only warns"
    of_each = f" for each {EACH[budget.each]}" if budget.each else ""
    limit = f"{format_eur(budget.limit_nanoeur)} per {budget.span}{of_each}"
    return f"{whose_calls(budget, people)}: limit {limit}; {then}."


def parts_counted(each: str, count: int) -> str:
    """Return a number of parts, such as `12 members`."""
    return f"{count:,} {EACH[each]}{'' if count == 1 else 's'}"


def evasion_sentence(keys: int, names: Collection[str]) -> str:
    """Return how calls with some keys can avoid a budget of these dimensions."""
    words = listed([DIMENSION_WORDS[name] for name in names], most=len(DIMENSIONS))
    which = "1 active key leaves" if keys == 1 else f"{keys} active keys leave"
    return (
        f"{which} a dimension of this budget open: callers can name another {words}, and those "
        "calls do not count here."
    )


def evasion_of_parts(keys: int, each: str) -> str:
    """Return how calls with some keys can avoid the limit of each value."""
    which = "1 active key lets" if keys == 1 else f"{keys} active keys let"
    word = DIMENSION_WORDS[each]
    return (
        f"{which} callers name another {word}, which has a limit of its own, or none, and those "
        "calls do not count here."
    )


def outlook(status: BudgetStatus) -> Outlook:
    """Return a budget's status to the end of its period."""
    if not status.enabled:
        return Outlook("off", "", "○")
    if status.parts is not None:
        return _outlook_of_parts(status.rule.each, status.parts)
    if status.is_spent:
        since = f"since {short_day(status.full_on)}" if status.full_on else ""
        return Outlook("over the limit" if status.over_nanoeur else "full", "bad", "✕", since)
    if status.rule.is_hard and status.is_full:
        return Outlook("full", "bad", "✕", "held by running calls")
    if status.rule.is_hard and status.share >= ALMOST_FULL_SHARE:
        return Outlook("almost full", "bad", "✕", "too little left for most calls")
    if status.full_on is not None:
        is_today = status.full_on == status.today
        about = "today" if is_today else f"about {short_day(status.full_on)}"
        return Outlook(f"forecast to exceed the limit {about}", "wait", "▲")
    if status.forecast is None:
        return Outlook("no forecast yet", "", "…", "needs a week of charges")
    if status.forecast.high_nanoeur > status.rule.limit_nanoeur:
        return Outlook(
            "may exceed the limit", "wait", "▲", "the limit is within the forecast's range"
        )
    return Outlook("on track", "good", "✓")


def _outlook_of_parts(each: str, parts: PartsStatus) -> Outlook:
    of_all = f"of {parts_counted(each, parts.count)}"
    if parts.spent:
        return Outlook(f"{parts.spent:,} at the limit", "bad", "✕", of_all)
    if parts.near:
        return Outlook(f"{parts.near:,} above {NEAR_PERCENT} %", "wait", "▲", of_all)
    if not parts.count:
        return Outlook("not used yet", "", "…")
    return Outlook("all within their limits", "good", "✓", of_all)


def short_day(day: date) -> str:
    """Return a day without its year, such as `24 Nov`."""
    return f"{day:%-d %b}"
