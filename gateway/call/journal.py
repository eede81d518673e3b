"""Audit rows, written in the ledger's transactions: opened with a hold, completed with it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from costs.core.admission import (
    Admitted,
    Balance,
    GatewayDisabled,
    InsufficientRoom,
    Repeated,
    ReserveRequest,
    ReserveResult,
    Settled,
    Settlement,
)
from costs.core.holds import State
from costs.core.rates import Rates
from costs.ledger.stores.base import Store
from costs.ledger.stores.tables import Row, Table
from gateway.call.idempotency import give_back, note, used_before
from gateway.call.refused_credentials import note_refused_credentials
from gateway.core.attempts import NOTHING_TRIED, PastAttempts
from gateway.core.calls import DIMENSIONS, Call, Principal
from gateway.core.errors import AlreadyDone, GatewayError, NoRoom, Refused
from gateway.guards.budgets import BudgetRule, explained_budgets, refusal_for_budget
from gateway.guards.policies import Rule, refusal_for_cost
from gateway.models import AiRequestLog
from orgs.core.frozen import frozen

ERROR_MAX_CHARS: Final = 1000
FINISH_REASON_MAX_CHARS: Final = 40

SEEN: Final = ("input_tokens", "output_tokens")
AI_REQUEST_LOG: Final = Table.of(AiRequestLog, keeps_first=True)


@frozen
class Opening:
    """The initial state of an audit row. `refusal` is set if the request ended before RESERVE.

    A later attempt finds its row already written, and reopens it when admitted. `past` are the
    attempts before it.
    """

    principal: Principal
    call: Call
    model: str
    provider: str | None
    prompt_hash: str
    daily_rule: Rule | None
    refusal: GatewayError | None
    trace: Mapping[str, Any]
    started_s: float
    budgets: tuple[BudgetRule, ...] = ()
    rates: Rates | None = None
    past: PastAttempts = NOTHING_TRIED


@frozen
class Closing:
    """The final state of an audit row. `code` and `error` are None on success.

    `unpriced` names what has no rate of its own, so that the cost is an estimate. `seen` are the
    most input and output tokens of an answer that was cut off. `upstream_id` is the provider's own
    request id. An answer that ended at a cap of the gateway's own `is_cut_by_gateway`.
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


def refusal_of(
    answer: ReserveResult, opening: Opening, *, bound_nanoeur: int | None
) -> GatewayError | None:
    """Return the refusal for the ledger's result, or None if the call may be sent."""
    if isinstance(answer, GatewayDisabled):
        sentence = f'AI Gateway is not enabled for organization "{answer.name}"'
        return Refused("gateway_disabled", sentence)
    if isinstance(answer, InsufficientRoom):
        return _refusal_for_room(answer, opening, bound_nanoeur=bound_nanoeur or 0)
    if isinstance(answer, Repeated):
        return _refusal_of_repeat(answer)
    return opening.refusal


def _refusal_for_room(answer: InsufficientRoom, opening: Opening, *, bound_nanoeur: int) -> NoRoom:
    balance, now = answer.balance, answer.now
    for rule in opening.budgets:
        if rule.scope == answer.limit.scope:
            return refusal_for_budget(rule, bound_nanoeur=bound_nanoeur, balance=balance, now=now)
    if opening.daily_rule is None:
        raise AssertionError("only a limit can leave no room")
    return refusal_for_cost(
        opening.daily_rule, bound_nanoeur=bound_nanoeur, balance=balance, now=now
    )


def _refusal_of_repeat(repeated: Repeated) -> Refused:
    if not repeated.same_body:
        sentence = "This Idempotency-Key was used with another request"
        return Refused("idempotency_key_reused", sentence, status=422)
    if repeated.running:
        sentence = "A request with this Idempotency-Key is in progress"
        return Refused("request_in_progress", sentence, status=409, retry_after_s=1)
    return AlreadyDone(request_id=repeated.request_id, cost_nanoeur=repeated.cost_nanoeur or 0)


class AuditJournal:
    """The gateway's side of the ledger's transactions; see `costs.ledger.ledger.Journal`."""

    def repeats(
        self, store: Store, requests: Sequence[ReserveRequest], *, now: datetime
    ) -> Mapping[UUID, Repeated]:
        """Return, by request id, the earlier uses of the Idempotency-Keys."""
        return used_before(store, requests, now=now)

    def record(
        self,
        store: Store,
        decided: Sequence[tuple[ReserveRequest, ReserveResult]],
        *,
        now: datetime,
    ) -> None:
        """Write the audit rows of reservations and the Idempotency-Keys of admitted calls."""
        first = [pair for pair in decided if pair[0].entry.past.is_nothing_held]
        later = [pair for pair in decided if not pair[0].entry.past.is_nothing_held]
        goes_on = [pair for pair in later if isinstance(pair[1], Admitted)]
        ends = [pair for pair in later if not isinstance(pair[1], Admitted)]
        store.insert(AI_REQUEST_LOG, [_row(request, answer, now=now) for request, answer in first])
        store.update(AI_REQUEST_LOG, [_reopened(*pair) for pair in goes_on])
        store.update(AI_REQUEST_LOG, [_ended_at(*pair, now=now) for pair in ends])
        for request, _ in ends:
            _give_back(store, request)
        note(
            store, [request for request, answer in decided if isinstance(answer, Admitted)], now=now
        )

    def complete(
        self, store: Store, settled: Sequence[tuple[Settlement, Settled]], *, now: datetime
    ) -> None:
        """Complete the audit rows of settled calls.

        A call that is proven not to have been billed releases its Idempotency-Key: the caller can
        retry.
        """
        changed = [pair for pair in settled if pair[1].changed]
        store.update(AI_REQUEST_LOG, [_completion(*pair, now=now) for pair in changed])
        note_refused_credentials(store, [settlement for settlement, _ in changed], now=now)
        for settlement, result in changed:
            if result.state is State.RELEASED:
                _give_back(store, settlement)


def _give_back(store: Store, ended: ReserveRequest | Settlement) -> None:
    if ended.repeat is not None:
        key_hash = ended.repeat.key_hash
        give_back(store, org_id=ended.org_id, key_hash=key_hash, request_id=ended.request_id)


def _row(request: ReserveRequest, answer: ReserveResult, *, now: datetime) -> Row:
    opening: Opening = request.entry
    dimensions = opening.call.dimensions
    refusal = refusal_of(answer, opening, bound_nanoeur=request.amount_nanoeur)
    row = {
        "id": request.request_id,
        "org_id": request.org_id,
        "occurred_at": now,
        "channel": opening.principal.channel,
        "stream": opening.call.stream,
        "requested_model": opening.call.model,
        "model": opening.model,
        "provider": opening.provider,
        "status": _status(refusal),
        "prompt_hash": opening.prompt_hash,
        "hold_nanoeur": request.amount_nanoeur,
        **{name: getattr(dimensions, name) for name in DIMENSIONS},
        "key_id": opening.principal.key_id,
        "user_proved": dimensions.user_proved if dimensions.user_id else None,
        "decision": orjson.dumps(trace_of(request, answer)).decode(),
        "attempts": _attempts(opening.past.behind(a_new_attempt=True)),
    }
    if refusal is None:
        return row
    return row | {
        "completed_at": now,
        "code": refusal.code,
        "error": _clean(refusal.message, ERROR_MAX_CHARS),
        "cost_nanoeur": 0,
        "estimated_nanoeur": 0,
        "latency_ms": since_ms(opening.started_s),
    }


# The columns that a failed attempt filled at its end; they move to `attempts` with its decision.
_NOT_ENDED: Final[Row] = dict.fromkeys(
    (
        *("completed_at", "code", "error", "finish_reason", "cost_nanoeur", "estimated_nanoeur"),
        *("latency_ms", "usage"),
    )
)


def _reopened(request: ReserveRequest, answer: ReserveResult) -> Row:
    """Return the columns that a new attempt changes in the existing row."""
    opening: Opening = request.entry
    return {
        **_NOT_ENDED,
        "id": request.request_id,
        "model": opening.model,
        "provider": opening.provider,
        "status": AiRequestLog.Status.PENDING.value,
        "hold_nanoeur": request.amount_nanoeur,
        "decision": orjson.dumps(trace_of(request, answer)).decode(),
        "attempts": _attempts(opening.past.behind(a_new_attempt=True)),
    }


def _ended_at(request: ReserveRequest, answer: ReserveResult, *, now: datetime) -> Row:
    """Return the attempts of a row whose next attempt was refused."""
    past: PastAttempts = request.entry.past
    refused = refused_attempt(request, answer, at=now)
    attempts = (*past.behind(a_new_attempt=False), refused)
    return {"id": request.request_id, "attempts": _attempts(attempts)}


def refused_attempt(
    request: ReserveRequest, answer: ReserveResult, *, at: datetime
) -> dict[str, Any]:
    """Return the stored attempt of a model that was not called because the ledger refused."""
    opening: Opening = request.entry
    refusal = refusal_of(answer, opening, bound_nanoeur=request.amount_nanoeur)
    recorded = RecordedAttempt(
        at=at,
        model=opening.model,
        provider=opening.provider,
        bound_nanoeur=request.amount_nanoeur,
        failure=refusal,
        decision=trace_of(request, answer),
    )
    return recorded.as_dict()


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
            "error": _clean(failure.message, ERROR_MAX_CHARS) if failure else None,
            "provider_status": getattr(failure, "provider_status", None),
            "hold_id": str(self.hold_id) if self.hold_id else None,
            "bound_nanoeur": self.bound_nanoeur,
            "latency_ms": self.latency_ms,
            "decision": self.decision,
        }


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> str | None:
    return orjson.dumps(attempts).decode() if attempts else None


def _status(refusal: GatewayError | None) -> str:
    if refusal is None:
        return "pending"
    return "blocked" if isinstance(refusal, Refused) else "error"


def trace_of(request: ReserveRequest, answer: ReserveResult) -> dict[str, Any]:
    """Return the decision trace with the balances that the ledger adds, before and after."""
    opening: Opening = request.entry
    trace: dict[str, Any] = {**opening.trace, "before": None, "after": None}
    if not isinstance(answer, Admitted):  # an admitted call has them in its hold
        trace["rates"] = opening.rates.as_dict() if opening.rates else None
    before: Sequence[Balance] = ()
    full = None
    if isinstance(answer, InsufficientRoom):
        full, before = answer.limit.scope, answer.before
        trace["before"] = _shown(before[0], 0)
        is_day_full = not before[0].has_room_for(request.amount_nanoeur or 0)
        day = opening.daily_rule.id if opening.daily_rule and is_day_full else None
        trace["policies"] = [
            {**policy, "verdict": "daily_cost_limit"} if policy["id"] == day else policy
            for policy in trace["policies"]
        ]
    elif isinstance(answer, Admitted):
        before = answer.before
        trace["before"] = _shown(before[0], 0)
        trace["after"] = _shown(before[0], request.amount_nanoeur or 0)
    if opening.budgets:
        trace["budgets"] = explained_budgets(
            opening.budgets, before[1:], full=full, bound_nanoeur=request.amount_nanoeur or 0
        )
    return trace


def _shown(balance: Balance, held_nanoeur: int) -> dict[str, Any]:
    left = balance.left_nanoeur
    return {
        "limit_nanoeur": balance.limit_nanoeur,
        "charged_nanoeur": balance.charged_nanoeur,
        "held_nanoeur": balance.held_nanoeur + held_nanoeur,
        "left_nanoeur": None if left is None else left - held_nanoeur,
    }


def _completion(settlement: Settlement, result: Settled, *, now: datetime) -> Row:
    closing = settlement.entry or _unattended(settlement)
    usage = settlement.usage
    return {
        "id": settlement.request_id,
        "completed_at": now,
        "model": closing.model,
        "status": closing.status,
        "code": closing.code,
        "error": _clean(closing.error, ERROR_MAX_CHARS),
        "finish_reason": _clean(closing.finish_reason, FINISH_REASON_MAX_CHARS),
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost_nanoeur": result.charged_nanoeur,
        "estimated_nanoeur": result.estimated_nanoeur,
        "latency_ms": closing.latency_ms,
        "usage": _clean_json(
            {
                "buckets": usage.as_dict() if usage else None,
                "adds_up": usage.adds_up if usage else None,
                "reported": closing.raw_usage,
                "overrun_nanoeur": result.overrun_nanoeur,
                "unpriced": closing.unpriced,
                "upstream_request_id": closing.upstream_id,
                "at_most": closing.seen and dict(zip(SEEN, closing.seen, strict=True)),
                "cut_by": "gateway" if closing.is_cut_by_gateway else None,
            }
        ),
    }


def _unattended(settlement: Settlement) -> Closing:
    """Return the closing of a row that its own process did not complete."""
    model = str(settlement.charge_to.get("model", ""))
    if settlement.outcome is State.RELEASED:
        sentence = "The gateway's database was unavailable; nothing was sent"
        return Closing(status="error", model=model, code="ledger_unavailable", error=sentence)
    sentence = "The process that made this call ended before the outcome was known"
    return Closing(status="unknown", model=model, code="abandoned", error=sentence)


def _clean(text: str | None, most: int) -> str | None:
    """Return a provider's text as a database accepts it: no NUL, no half of a surrogate pair."""
    if text is None:
        return None
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return text.replace("\0", "\ufffd")[:most]


def _clean_json(value: Mapping[str, Any]) -> str:
    """Return the usage as JSON, without the provider's own report if it is not valid."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # half of a surrogate pair, or a number of more than 64 bits
        text = orjson.dumps({**value, "reported": None}).decode()
    return text.replace("\\u0000", "\\ufffd")


def since_ms(started_s: float) -> int:
    """Return the milliseconds since `started_s` of the monotonic clock, bounded for a column."""
    return min(2**31 - 1, round((time.monotonic() - started_s) * 1000))
