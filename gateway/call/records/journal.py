"""Audit rows, written in the ledger's transactions: opened with a hold, completed with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from costs.core.admission import (
    Admitted,
    Repeated,
    ReserveRequest,
    ReserveResult,
    Settled,
    Settlement,
)
from costs.core.growth import Grown, HoldGrowth
from costs.core.holds import State
from costs.ledger.stores.base import Store
from costs.ledger.stores.tables import Row, Table
from gateway.call.records.entries import (
    ERROR_MAX_CHARS,
    Closing,
    Opening,
    RecordedAttempt,
    clean,
    refusal_of,
    since_ms,
)
from gateway.call.records.idempotency import give_back, note, used_before
from gateway.call.records.refused_credentials import note_refused_credentials
from gateway.call.records.trace import trace_of
from gateway.core.attempts import PastAttempts
from gateway.core.calls import DIMENSIONS
from gateway.core.errors import GatewayError, Refused
from gateway.guards.policies import is_refused_by_watched
from gateway.models import AiRequestLog

FINISH_REASON_MAX_CHARS: Final = 40

SEEN: Final = ("input_tokens", "output_tokens")
CHARGES: Final = ("cost_nanoeur", "estimated_nanoeur")
AI_REQUEST_LOG: Final = Table.of(AiRequestLog, keeps_first=True)


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

    def grow(self, store: Store, grown: Sequence[tuple[HoldGrowth, Grown]]) -> None:
        """Write what is held now for running calls."""
        held = {growth.request_id: each.amount_nanoeur for growth, each in grown if each.is_held}
        rows = [{"id": id_, "hold_nanoeur": amount_nanoeur} for id_, amount_nanoeur in held.items()]
        store.update(AI_REQUEST_LOG, rows)

    def complete(
        self, store: Store, settled: Sequence[tuple[Settlement, Settled]], *, now: datetime
    ) -> None:
        """Complete the audit rows of settled calls, and write the shares of hours in theirs.

        A call that is proven not to have been billed releases its Idempotency-Key: the caller can
        retry.
        """
        changed = [pair for pair in settled if pair[1].changed and not pair[0].adjusts]
        adjusted = [pair for pair in settled if pair[1].changed and pair[0].adjusts]
        store.update(AI_REQUEST_LOG, [_charges(*pair) for pair in adjusted])
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
    trace, admitted = trace_of(request, answer), isinstance(answer, Admitted)
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
        "client_proved": opening.principal.proves_client if dimensions.client_id else None,
        **(opening.principal.session.as_dict() if opening.principal.session else {}),
        "decision": orjson.dumps(trace).decode(),
        "refused_by_watched": is_refused_by_watched(trace["policies"]) if admitted else None,
        "attempts": _attempts(opening.past.behind(a_new_attempt=True)),
    }
    if refusal is None:
        return row
    return row | {
        "completed_at": now,
        "code": refusal.code,
        "error": clean(refusal.message, ERROR_MAX_CHARS),
        **dict.fromkeys(CHARGES, 0),
        "latency_ms": since_ms(opening.started_s),
    }


# The columns that a failed attempt filled at its end; they move to `attempts` with its decision.
_NOT_ENDED: Final[Row] = dict.fromkeys(
    ("completed_at", "code", "error", "finish_reason", "latency_ms", "usage", *CHARGES)
)


def _reopened(request: ReserveRequest, answer: ReserveResult) -> Row:
    """Return the columns that a new attempt changes in the existing row."""
    opening: Opening = request.entry
    trace = trace_of(request, answer)
    return {
        **_NOT_ENDED,
        "id": request.request_id,
        "model": opening.model,
        "provider": opening.provider,
        "status": AiRequestLog.Status.PENDING.value,
        "hold_nanoeur": request.amount_nanoeur,
        "decision": orjson.dumps(trace).decode(),
        "refused_by_watched": is_refused_by_watched(trace["policies"]),
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


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> str | None:
    return orjson.dumps(attempts).decode() if attempts else None


def _status(refusal: GatewayError | None) -> str:
    if refusal is None:
        return "pending"
    return "blocked" if isinstance(refusal, Refused) else "error"


def _completion(settlement: Settlement, result: Settled, *, now: datetime) -> Row:
    closing = settlement.entry or _unattended(settlement)
    usage = settlement.usage
    return {
        "id": settlement.request_id,
        "completed_at": now,
        "model": closing.model,
        "status": closing.status,
        "code": closing.code,
        "error": clean(closing.error, ERROR_MAX_CHARS),
        "finish_reason": clean(closing.finish_reason, FINISH_REASON_MAX_CHARS),
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        **_charges(settlement, result),
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
                "provider_failed": closing.fails_provider,
            }
        ),
    }


def _charges(settlement: Settlement, result: Settled) -> Row:
    charges = (result.charged_nanoeur, result.estimated_nanoeur)
    return {"id": settlement.request_id, **dict(zip(CHARGES, charges, strict=True))}


def _unattended(settlement: Settlement) -> Closing:
    """Return the closing of a row that its own process did not complete."""
    model = str(settlement.charge_to.get("model", ""))
    if settlement.outcome is State.RELEASED:
        sentence = "The gateway's database was unavailable; nothing was sent"
        return Closing(status="error", model=model, code="ledger_unavailable", error=sentence)
    sentence = "The process that made this call ended before the outcome was known"
    return Closing(status="unknown", model=model, code="abandoned", error=sentence)


def _clean_json(value: Mapping[str, Any]) -> str:
    """Return the usage as JSON, without the provider's own report if it is not valid."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # half of a surrogate pair, or a number of more than 64 bits
        text = orjson.dumps({**value, "reported": None}).decode()
    return text.replace("\\u0000", "\\ufffd")
