"""How full the parts of budgets are that limit each member, key or other value for itself."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from costs.core.admission import Balance, RaisedLimit
from costs.ledger.balances import balances_of
from costs.models import Period
from gateway.guards.budgets import BudgetRule
from orgs.models import Organization

FULLEST_MAX: Final = 20  # of one budget; callers may choose any number of values
NEAR_PERCENT: Final = 80
PERIODS_READ_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """A part in its current period, in nano-euro. `raised` is in force."""

    part: str
    limit_nanoeur: int
    charged_nanoeur: int
    held_nanoeur: int
    raised: RaisedLimit | None = None

    @property
    def left_nanoeur(self) -> int:
        """What a new hold may take; never negative."""
        return max(0, self.limit_nanoeur - self.charged_nanoeur - self.held_nanoeur)

    @property
    def share(self) -> float:
        """How much of the limit is spent: 1 where all is, more where more is."""
        return self.charged_nanoeur / self.limit_nanoeur if self.limit_nanoeur else 1.0

    @property
    def is_spent(self) -> bool:
        """Whether the whole limit is spent."""
        return self.charged_nanoeur >= self.limit_nanoeur


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsStatus:
    """The parts of a budget in which calls have counted, added up, and the fullest of them.

    `near` are those of which NEAR_PERCENT or more is spent, `spent` those of which all is.
    """

    count: int = 0
    near: int = 0
    spent: int = 0
    charged_nanoeur: int = 0
    held_nanoeur: int = 0
    fullest: tuple[PartStatus, ...] = ()

    def with_part(self, part: PartStatus) -> PartsStatus:
        """Return it with one more part, but for the fullest."""
        return PartsStatus(
            count=self.count + 1,
            near=self.near + (part.share * 100 >= NEAR_PERCENT),
            spent=self.spent + part.is_spent,
            charged_nanoeur=self.charged_nanoeur + part.charged_nanoeur,
            held_nanoeur=self.held_nanoeur + part.held_nanoeur,
        )


def parts_status(
    organization: Organization, rules: Sequence[BudgetRule], now: datetime
) -> dict[str, PartsStatus]:
    """Return the status of the parts of these budgets, by the budget's id: one query."""
    by_scope = {rule.scope: rule for rule in rules if rule.each}
    sums = {rule.id: PartsStatus() for rule in by_scope.values()}
    fullest: dict[str, list[tuple[float, int, PartStatus]]] = {id_: [] for id_ in sums}
    for scope, balance in _periods(organization, now) if by_scope else ():
        of_budget, _, name = scope.rpartition(":")
        if (rule := by_scope.get(of_budget)) is None:
            continue
        part = _part(rule, name, balance, now)
        sums[rule.id] = sums[rule.id].with_part(part)
        heap, entry = fullest[rule.id], (part.share, sums[rule.id].count, part)
        (heapq.heappush if len(heap) < FULLEST_MAX else heapq.heappushpop)(heap, entry)
    return {
        id_: replace(of_all, fullest=tuple([part for *_, part in sorted(fullest[id_])[::-1]]))
        for id_, of_all in sums.items()
    }


def part_status(
    organization: Organization, rule: BudgetRule, value: str, now: datetime
) -> PartStatus:
    """Return the status of the part of a value, also of one that no call has counted in."""
    of_value = rule.part(value)
    (balance,) = balances_of(organization, [of_value.limit], now=now)
    return _part(rule, of_value.scope.rpartition(":")[2], balance, now)


def _part(rule: BudgetRule, part: str, balance: Balance, now: datetime) -> PartStatus:
    raised = rule.raises.get(part)
    if raised is not None and now >= raised.ends_at:
        raised = None
    return PartStatus(
        part=part,
        limit_nanoeur=max(rule.limit_nanoeur, raised.limit_nanoeur if raised else 0),
        charged_nanoeur=balance.charged_nanoeur,
        held_nanoeur=balance.held_nanoeur,
        raised=raised,
    )


def _periods(organization: Organization, now: datetime) -> Iterator[tuple[str, Balance]]:
    """Give the scope and the balance of each period of a budget that is in force."""
    periods = Period.objects.filter(
        org=organization, starts_at__lte=now, ends_at__gt=now, scope__startswith="budget:"
    )
    for period in periods.iterator(chunk_size=PERIODS_READ_AT_ONCE):
        yield (
            period.scope,
            Balance(
                limit_nanoeur=None,
                charged_nanoeur=period.charged_nanoeur,
                held_nanoeur=period.held_nanoeur,
                ends_at=period.ends_at,
            ),
        )
