"""The limit of a session of an agent: what its calls may cost over its whole life."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR
from typing import Final

from costs.core.admission import Balance, Limit, session_scope
from costs.core.calendar.periods import BudgetWindow
from costs.core.money import format_eur
from gateway.core.calls import Session
from gateway.core.errors import HELD_CODE, NoRoom
from gateway.guards.budgets import BudgetRule, explained_budgets
from gateway.guards.policies import NOT_CHECKED, OK, WAIT_S, Rule
from orgs.core.frozen import frozen

# Of its refusals: the contract has no code of its own for it.
CODE: Final = "budget_limit"
PER: Final = "session"
RETRY_HELD_S: Final = 1
# The limit never resets. Clients need a wait; Gemini CLI repeats a call with one of minutes.
RETRY_SPENT_S: Final = 86_400


@frozen
class SessionRule:
    """The tightest limit of a call's session, and the policy that has it."""

    policy_id: str
    policy: str
    session_id: str
    limit_nanoeur: int
    wait_s: int = WAIT_S
    holds_slices: bool = False

    @property
    def limit(self) -> Limit:
        """The limit that the ledger enforces. Its periods are days, so that few are in force; each
        begins with what the session has cost before.
        """
        return Limit(
            scope=session_scope(self.session_id),
            span=BudgetWindow.DAY,
            limit_nanoeur=self.limit_nanoeur,
            session_id=self.session_id,
        )

    @property
    def refuses_by(self) -> tuple[str, str] | None:
        """The policy's id and name."""
        return self.policy_id, self.policy

    def waits_s(self, balance: Balance, *, amount_nanoeur: int) -> int:
        """Return how long a call may wait for room."""
        return self.wait_s

    def refusal(self, *, bound_nanoeur: int, balance: Balance, now: datetime) -> NoRoom:
        """Return the refusal of a call that exceeds what is left of its session.

        It can be retried if calls in flight hold what is missing; a session that is spent stays so.
        """
        sentence = (
            f"Request could cost up to {format_eur(bound_nanoeur, ROUND_CEILING)}; "
            f'policy "{self.policy}" allows {format_eur(self.limit_nanoeur)} per session '
            f"and {format_eur(balance.left_nanoeur or 0, ROUND_FLOOR)} are left"
        )
        is_held = not balance.is_too_full_for(bound_nanoeur)
        retry_after_s = RETRY_HELD_S if is_held else RETRY_SPENT_S
        return NoRoom(CODE, sentence, is_held=is_held, retry_after_s=retry_after_s)


def limit_of_session(rule: Rule | None, session: Session | None) -> SessionRule | None:
    """Return the limit by a policy of a call's session, or None without either."""
    if rule is None or session is None:
        return None
    return SessionRule(
        policy_id=rule.id,
        policy=rule.name,
        session_id=session.id,
        limit_nanoeur=rule.max_cost_per_session_nanoeur or 0,
        wait_s=rule.wait_s,
        holds_slices=rule.holds_slices,
    )


def explained_limits(
    budgets: Sequence[BudgetRule],
    session: SessionRule | None,
    before: Sequence[Balance],
    *,
    bound_nanoeur: int,
) -> dict[str, object]:
    """Return the verdicts of budgets and of the session on a call, for the trace.

    `before` are their balances before the call was held, in this order, empty if no room was
    requested.
    """
    count = len(budgets)
    explained: dict[str, object] = {}
    if budgets:
        explained["budgets"] = explained_budgets(
            budgets, before[:count], bound_nanoeur=bound_nanoeur
        )
    if session is not None:
        balance = before[count] if before else None
        explained["session"] = _explained(session, balance, bound_nanoeur)
    return explained


def _explained(rule: SessionRule, balance: Balance | None, bound_nanoeur: int) -> dict[str, object]:
    verdict = NOT_CHECKED if balance is None else OK
    if balance is not None and not balance.has_room_for(bound_nanoeur):
        verdict = CODE if balance.is_too_full_for(bound_nanoeur) else HELD_CODE
    return {
        "id": rule.policy_id,
        "name": rule.policy,
        "span": PER,
        "limit_nanoeur": rule.limit_nanoeur,
        "verdict": verdict,
        "charged_nanoeur": balance.charged_nanoeur if balance else None,
        "held_nanoeur": balance.held_nanoeur if balance else None,
    }
