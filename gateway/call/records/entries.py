"""What the journal gets of a request: at its beginning, at its end, and of each attempt."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from costs.core.admission import (
    GatewayDisabled,
    InsufficientRoom,
    RateExceeded,
    Repeated,
    ReserveResult,
)
from costs.core.rates import Rates
from gateway.call.records.idempotency import refusal_of_repeat
from gateway.core.attempts import NOTHING_TRIED, PastAttempts
from gateway.core.calls import Call, Principal
from gateway.core.errors import GatewayError, Refused
from gateway.guards.budgets import BudgetRule
from gateway.guards.cost_limits import CostLimit, limit_in
from gateway.guards.rates import refusal_for_rate
from gateway.guards.rule_sets import RuleSet
from gateway.guards.sessions import SessionRule
from gateway.providers.routing.breaker import fails_provider
from orgs.core.frozen import frozen

ERROR_MAX_CHARS: Final = 1000


@frozen
class Opening:
    """The initial state of an audit row. `refusal` is set if the request ended before RESERVE.

    `least_of_watched` is what the call would hold at least by watched policies, by their ids.

    A later attempt finds its row already written, and reopens it when admitted. `past` are the
    attempts before it.
    """

    principal: Principal
    call: Call
    model: str
    provider: str | None
    prompt_hash: str
    rules: RuleSet
    refusal: GatewayError | None
    trace: Mapping[str, Any]
    started_s: float
    budgets: tuple[BudgetRule, ...] = ()
    session: SessionRule | None = None
    rates: Rates | None = None
    past: PastAttempts = NOTHING_TRIED
    least_of_watched: Mapping[str, int] = field(default_factory=dict)

    @property
    def cost_limits(self) -> tuple[CostLimit, ...]:
        """The limits of money that the call counts in."""
        session = (self.session,) if self.session else ()
        return (*self.rules.days, *self.budgets, *session)


@frozen
class Closing:
    """The final state of an audit row. `code` and `error` are None on success.

    `unpriced` names what has no rate of its own, so that the cost is an estimate. `seen` are the
    most input and output tokens of an answer that was cut off. `upstream_id` is the provider's own
    request id. An answer that ended at a cap of the gateway's own `is_cut_by_gateway`. The provider
    itself failed the call if `fails_provider`; the request may have caused its other errors.
    """

    status: str
    model: str
    code: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    raw_usage: Mapping[str, Any] | None = None
    unpriced: tuple[str, ...] = ()
    seen: tuple[int, int] | None = None
    latency_ms: int | None = None
    upstream_id: str | None = None
    is_cut_by_gateway: bool = False
    fails_provider: bool = False


def refusal_of(
    answer: ReserveResult, opening: Opening, *, bound_nanoeur: int | None
) -> GatewayError | None:
    """Return the refusal for the ledger's result, or None if the call may be sent."""
    if isinstance(answer, GatewayDisabled):
        sentence = f'AI Gateway is not enabled for organization "{answer.name}"'
        return Refused("gateway_disabled", sentence)
    if isinstance(answer, InsufficientRoom):
        full = limit_in(opening.cost_limits, answer.limit.scope)
        return full.refusal(
            bound_nanoeur=bound_nanoeur or 0, balance=answer.balance, now=answer.now
        )
    if isinstance(answer, RateExceeded):
        return refusal_for_rate(answer.over)
    if isinstance(answer, Repeated):
        return refusal_of_repeat(answer)
    return opening.refusal


@frozen
class RecordedAttempt:
    """A stored attempt, all but the last of a request; without a hold the model was not called."""

    at: datetime
    model: str
    provider: str | None
    failure: GatewayError | None
    decision: Mapping[str, Any]
    bound_nanoeur: int | None = None
    hold_id: UUID | None = None
    latency_ms: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        failure = self.failure
        return {
            "at": self.at.isoformat(),
            "model": self.model,
            "provider": self.provider,
            "code": failure.code if failure else None,
            "error": clean(failure.message, ERROR_MAX_CHARS) if failure else None,
            "provider_status": getattr(failure, "provider_status", None),
            "provider_failed": fails_provider(failure),
            "hold_id": str(self.hold_id) if self.hold_id else None,
            "bound_nanoeur": self.bound_nanoeur,
            "latency_ms": self.latency_ms,
            "decision": self.decision,
        }


def clean(text: str | None, most: int) -> str | None:
    """Return a provider's text as a database accepts it: no NUL, no half of a surrogate pair."""
    if text is None:
        return None
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return text.replace("\0", "\ufffd")[:most]


def since_ms(started_s: float) -> int:
    """Return the milliseconds since `started_s` of the monotonic clock, bounded for a column."""
    return min(2**31 - 1, round((time.monotonic() - started_s) * 1000))
