"""The decision trace of an audit row, with what the ledger adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from costs.core.admission import (
    Admitted,
    Balance,
    InsufficientRoom,
    RateExceeded,
    ReserveRequest,
    ReserveResult,
)
from gateway.call.records.entries import Opening
from gateway.guards.cost_limits import limit_in
from gateway.guards.policies import explained_costs
from gateway.guards.rates import explained_rates
from gateway.guards.sessions import explained_limits


def trace_of(request: ReserveRequest, answer: ReserveResult) -> dict[str, Any]:
    """Return the decision trace with the balances that the ledger adds, before and after."""
    opening: Opening = request.entry
    trace: dict[str, Any] = {**opening.trace, "before": None, "after": None}
    if not isinstance(answer, Admitted):  # an admitted call has them in its hold
        trace["rates"] = opening.rates.as_dict() if opening.rates else None
    before: Sequence[Balance] = ()
    bound_nanoeur = request.amount_nanoeur or 0
    if isinstance(answer, InsufficientRoom | RateExceeded | Admitted):
        before = answer.before
        trace["before"] = _shown(before[0], 0)
    if isinstance(answer, Admitted):
        trace["after"] = _shown(before[0], bound_nanoeur)
    if isinstance(answer, InsufficientRoom):
        by = limit_in(opening.cost_limits, answer.limit.scope).refuses_by
        trace["refused_by"] = by[0] if by else None
    days = opening.rules.days
    by_scope = {day.scope: balance for day, balance in zip(days, before, strict=False)}
    others = before[len(days) :]
    trace["policies"] = explained_costs(
        trace["policies"],
        opening.rules.rules,
        by_scope,
        bound_nanoeur=bound_nanoeur,
        least_of_watched=opening.least_of_watched,
        of_session=others[-1] if opening.session is not None and others else None,
    )
    if isinstance(answer, RateExceeded | Admitted) and answer.rates:
        over = answer.over if isinstance(answer, RateExceeded) else None
        trace |= explained_rates(trace["policies"], answer.rates, tokens=request.tokens, over=over)
    return trace | explained_limits(
        opening.budgets, opening.session, others, bound_nanoeur=bound_nanoeur
    )


def _shown(balance: Balance, held_nanoeur: int) -> dict[str, Any]:
    left = balance.left_nanoeur
    return {
        "limit_nanoeur": balance.limit_nanoeur,
        "charged_nanoeur": balance.charged_nanoeur,
        "held_nanoeur": balance.held_nanoeur + held_nanoeur,
        "left_nanoeur": None if left is None else left - held_nanoeur,
    }
