"""An organization's budgets: which a request counts in, and the refusal by one that is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR
from itertools import zip_longest
from typing import Any, Final

from costs.core.admission import ORG_SCOPE, Balance, Limit
from costs.core.money import format_eur
from costs.core.periods import Span
from gateway.core.errors import Refused
from gateway.core.models import Model, any_entry_matches
from gateway.core.policy import NOT_REACHED, OK, wait_for_room_s

# What of a call a budget may be of, besides its model: those of `Dimensions`.
BUDGET_DIMENSIONS: Final = ("user_id", "team_id", "project_id", "app_id", "client_id", "task_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRule:
    """An enabled budget. `models` are trimmed and folded (`Catalog.entry`), none for all.

    A call counts in it whose dimensions are those in `of`. One that is not `is_hard` counts, and
    refuses nothing. `scope` names its periods in the ledger.
    """

    id: str
    name: str
    scope: str
    span: Span
    limit_nanoeur: int
    is_hard: bool
    of: Mapping[str, str]
    models: tuple[str, ...] = ()

    def counts(self, model: Model, dimensions: Mapping[str, str | None]) -> bool:
        """Whether a call of these dimensions to the model counts in the budget."""
        return self.is_of(dimensions) and (
            not self.models or any_entry_matches(self.models, model.names)
        )

    def is_of(self, dimensions: Mapping[str, Any]) -> bool:
        """Whether the dimensions are those of the budget."""
        return all(dimensions.get(name) == value for name, value in self.of.items())

    @property
    def limit(self) -> Limit:
        """What the ledger holds a call to."""
        return Limit(
            scope=self.scope,
            span=self.span,
            limit_nanoeur=self.limit_nanoeur if self.is_hard else None,
        )


def refusal_for_budget(
    rule: BudgetRule, *, bound_nanoeur: int, balance: Balance, now: datetime
) -> Refused:
    """Return the refusal of a call that does not fit in what is left of a budget."""
    sentence = (
        f"Request could cost up to {format_eur(bound_nanoeur, ROUND_CEILING)}; "
        f'budget "{rule.name}" allows {format_eur(rule.limit_nanoeur)} per {rule.span.value} '
        f"and {format_eur(balance.left_nanoeur or 0, ROUND_FLOOR)} are left"
    )
    wait_s = wait_for_room_s(balance, bound_nanoeur=bound_nanoeur, now=now)
    return Refused("budget_limit", sentence, retry_after_s=wait_s)


def explained_budgets(
    rules: Sequence[BudgetRule], before: Sequence[Balance], *, full: str | None
) -> list[dict[str, object]]:
    """Return what each budget said of a call, in the order they were asked, for the trace.

    `before` are their balances before the call was held, none where no room was asked for;
    `full` is the scope without room, after which none was asked.
    """
    explained: list[dict[str, object]] = []
    is_reached = bool(before) and full != ORG_SCOPE
    for rule, balance in zip_longest(rules, before):
        is_full = rule.scope == full
        explained.append(
            {
                "id": rule.id,
                "name": rule.name,
                "span": rule.span.value,
                "is_hard": rule.is_hard,
                "limit_nanoeur": rule.limit_nanoeur,
                "verdict": "budget_limit" if is_full else OK if is_reached else NOT_REACHED,
                "charged_nanoeur": balance.charged_nanoeur if balance else None,
                "held_nanoeur": balance.held_nanoeur if balance else None,
            }
        )
        is_reached = is_reached and not is_full
    return explained
