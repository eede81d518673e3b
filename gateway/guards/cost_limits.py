"""What all limits of money have in common, and the limits per day of policies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from datetime import datetime
from operator import attrgetter
from typing import Protocol

from costs.core.admission import Balance, Limit
from costs.core.calendar.periods import BudgetWindow
from gateway.core.errors import NoRoom
from gateway.guards.policies import WAIT_S, Rule, refusal_for_cost
from orgs.core.frozen import frozen


class CostLimit(Protocol):
    """A limit of money that a call counts in."""

    @property
    def limit(self) -> Limit:
        """The limit that the ledger enforces."""
        ...

    @property
    def refuses_by(self) -> tuple[str, str] | None:
        """The id and the name of the policy or budget that refuses; None if none does."""
        ...

    def waits_s(self, balance: Balance, *, amount_nanoeur: int) -> int:
        """Return how long a call of this amount may wait for room, in seconds."""
        ...

    def refusal(self, *, bound_nanoeur: int, balance: Balance, now: datetime) -> NoRoom:
        """Return the refusal of a call that exceeds what is left."""
        ...


@frozen
class DayLimit:
    """What calls may cost in a day by `rules`, which count the same calls.

    The `tightest` has the smallest limit, and is the first if several have it; None without any.
    """

    scope: str
    rules: tuple[Rule, ...]
    tightest: Rule | None = field(init=False)
    limit: Limit = field(init=False)

    def __post_init__(self) -> None:
        # Once, since each call reads them several times.
        rule = min(self.rules, key=attrgetter("max_cost_per_day_nanoeur"), default=None)
        limit_nanoeur = rule.max_cost_per_day_nanoeur if rule else None
        self.tightest = rule  # type: ignore[misc]  # it is set nowhere else
        self.limit = Limit(  # type: ignore[misc]
            scope=self.scope, span=BudgetWindow.DAY, limit_nanoeur=limit_nanoeur
        )

    @property
    def refuses_by(self) -> tuple[str, str] | None:
        """The id and the name of the tightest policy."""
        rule = self.tightest
        return (rule.id, rule.name) if rule else None

    def waits_s(self, balance: Balance, *, amount_nanoeur: int) -> int:
        """Return the shortest time of the policies without room.

        If all have room, the call waits behind others for the one with the smallest limit.
        """
        full = [
            rule
            for rule in self.rules
            if not _with_limit(balance, rule).has_room_for(amount_nanoeur)
        ]
        tightest = self.tightest
        return min((rule.wait_s for rule in full), default=tightest.wait_s if tightest else WAIT_S)

    def refusal(self, *, bound_nanoeur: int, balance: Balance, now: datetime) -> NoRoom:
        """Return the tightest policy's refusal."""
        rule = self.tightest
        if rule is None:
            raise AssertionError("only a limit can leave no room")
        return refusal_for_cost(rule, bound_nanoeur=bound_nanoeur, balance=balance, now=now)


def _with_limit(balance: Balance, rule: Rule) -> Balance:
    return replace(balance, limit_nanoeur=rule.max_cost_per_day_nanoeur)


def limit_in(limits: Iterable[CostLimit], scope: str) -> CostLimit:
    """Return the limit of this scope."""
    return next(each for each in limits if each.limit.scope == scope)
