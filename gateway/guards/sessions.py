"""The limit of a session of an agent: what its calls may cost over its whole life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR
from operator import attrgetter
from typing import Final

from costs.core.admission import Balance, Limit, session_scope
from costs.core.calendar.periods import BudgetWindow
from costs.core.money import format_eur
from gateway.core.errors import NoRoom
from gateway.guards.budgets import BudgetRule, explained_budgets
from gateway.guards.policies import NOT_CHECKED, SESSION_LIMIT, WAIT_S, Rule, verdict_on_cost
from orgs.core.frozen import frozen

PER: Final = "session"
RETRY_HELD_S: Final = 1
# The limit never resets. Clients need a wait; Gemini CLI repeats a call with one of minutes.
RETRY_SPENT_S: Final = 86_400


@frozen
class SessionRule:
    """What a call's session may cost by `rules`: without any its calls count, and none is refused.

    Only so does a limit know of calls that its policy does not name, or watches.
    """

    session_id: str
    rules: tuple[Rule, ...] = ()

    @property
    def tightest(self) -> Rule | None:
        """The policy with the smallest limit, the first if several have it."""
        return min(self.rules, key=attrgetter("max_cost_per_session_nanoeur"), default=None)

    @property
    def limit_nanoeur(self) -> int | None:
        """The smallest limit."""
        rule = self.tightest
        return rule.max_cost_per_session_nanoeur if rule else None

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
        """The tightest policy's id and name."""
        rule = self.tightest
        return (rule.id, rule.name) if rule else None

    def waits_s(self, balance: Balance, *, amount_nanoeur: int) -> int:
        """Return how long a call may wait for room: the shortest time of policies without it."""
        full = [
            rule.wait_s
            for rule in self.rules
            if not replace(balance, limit_nanoeur=rule.max_cost_per_session_nanoeur).has_room_for(
                amount_nanoeur
            )
        ]
        tightest = self.tightest
        return min(full, default=tightest.wait_s if tightest else WAIT_S)

    def refusal(self, *, bound_nanoeur: int, balance: Balance, now: datetime) -> NoRoom:
        """Return the refusal of a call that exceeds what is left of its session.

        It can be retried if calls in flight hold what is missing; a session that is spent stays so.
        """
        rule = self.tightest
        if rule is None:
            raise AssertionError("only a limit can leave no room")
        sentence = (
            f"Request could cost up to {format_eur(bound_nanoeur, ROUND_CEILING)}; "
            f'policy "{rule.name}" allows {format_eur(self.limit_nanoeur or 0)} per session '
            f"and {format_eur(balance.left_nanoeur or 0, ROUND_FLOOR)} are left"
        )
        is_held = not balance.is_too_full_for(bound_nanoeur)
        retry_after_s = RETRY_HELD_S if is_held else RETRY_SPENT_S
        return NoRoom(SESSION_LIMIT, sentence, is_held=is_held, retry_after_s=retry_after_s)


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
    tightest = session.tightest if session else None
    if tightest is not None:
        balance = before[count] if before else None
        explained["session"] = _explained(tightest, balance, bound_nanoeur)
    return explained


def _explained(rule: Rule, balance: Balance | None, bound_nanoeur: int) -> dict[str, object]:
    limit_nanoeur = rule.max_cost_per_session_nanoeur or 0
    verdict = NOT_CHECKED
    if balance is not None:
        verdict = verdict_on_cost(limit_nanoeur, balance, bound_nanoeur, SESSION_LIMIT)
    return {
        "id": rule.id,
        "name": rule.name,
        "span": PER,
        "limit_nanoeur": limit_nanoeur,
        "verdict": verdict,
        "charged_nanoeur": balance.charged_nanoeur if balance else None,
        "held_nanoeur": balance.held_nanoeur if balance else None,
    }
