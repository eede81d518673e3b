"""Settle an admitted call: compute its charge from its outcome.

Usage known, also of an answer that ended with an error: its price at the rates fixed at admission.
Proof that nothing was billed: 0.
Anything else: the most that the provider can have produced by what was seen of the answer, or the
whole hold if nothing was.
"""

from __future__ import annotations

from typing import Any, Final

from costs.core.admission import Settled, Settlement
from costs.core.holds import State
from costs.core.money import euros
from costs.core.pricing import UsagePrice
from gateway.call.decision import decision_trace
from gateway.call.records.entries import Closing, RecordedAttempt, since_ms
from gateway.call.records.trace import trace_of
from gateway.call.settlement.held_call import HeldCall
from gateway.call.settlement.prices import (
    SeenCost,
    answer_of,
    charge_of,
    is_unknown,
    placed,
    priced_usage,
)
from gateway.call.stages import RefusedCall
from gateway.core.calls import Call, CallResult, Completion
from gateway.core.errors import ProviderFailed
from gateway.core.model_names import NAME_MAX_CHARS
from gateway.core.usage_bound import BY_GATEWAY
from gateway.providers.routing.breaker import fails_provider
from gateway.upstream.returned_headers import UPSTREAM_ID_HEADER

# A run of this length shared by a provider's message and the prompt counts as a quotation.
QUOTED_CHARS: Final = 12
# The finish reason, in every API, of an answer that ended at its cap.
LENGTH: Final = "length"


def settlement_of(
    held: HeldCall,
    ended: Completion | ProviderFailed,
    *,
    is_last: bool,
    seen: SeenCost | None,
) -> Settlement:
    """Return the settlement of the call, for the ledger and the audit row.

    An unknown outcome costs what was `seen`. If another attempt follows, the caller's
    Idempotency-Key stays in use, and that attempt is the one that counts in rates.
    """
    ask = held.ask
    answer = answer_of(ended)
    usage = placed(answer.usage, held) if answer else None
    model = _answered_model(answer, held)
    rates, price = priced_usage(held, model, usage)
    return Settlement(
        hold_id=ask.id,
        request_id=ask.request_id,
        org_id=ask.org_id,
        period_ids=held.admitted.period_ids,
        outcome=_outcome(held, ended, price),
        cost_nanoeur=charge_of(price, held) if seen is None else seen.nanoeur,
        is_estimate=bool(price and price.is_estimate),
        usage=usage,
        charge_to={**ask.charge_to, "model": model},
        rates=rates.card if rates else ask.rates,
        entry=_closing(held, ended, model=model, price=price, seen=seen),
        repeat=ask.repeat if is_last else None,
        taken=held.admitted.taken,
        counts_as_request=is_last and not (isinstance(ended, ProviderFailed) and ended.never_sent),
    )


def _closing(
    held: HeldCall,
    ended: Completion | ProviderFailed,
    *,
    model: str,
    price: UsagePrice | None,
    seen: SeenCost | None,
) -> Closing:
    """Return the final state of the audit row."""
    answer, failure = answer_of(ended), ended if isinstance(ended, ProviderFailed) else None
    settled, is_cut = "error" if failure else "ok", bool(answer and answer.is_cut)
    is_unknown = _outcome(held, ended, price) is State.UNKNOWN and not is_cut
    return Closing(
        status="unknown" if is_unknown else settled,
        model=model,
        code=failure.code if failure else None,
        error=_without_prompt(failure.message, held.call) if failure else None,
        finish_reason=answer.finish_reason if answer else None,
        raw_usage=answer.raw_usage if answer else None,
        unpriced=price.unpriced if price else (),
        seen=(seen.input_tokens, seen.output_tokens) if seen else None,
        latency_ms=since_ms(held.ask.entry.started_s),
        upstream_id=ended.headers.get(UPSTREAM_ID_HEADER),
        is_cut_by_gateway=is_cut
        or bool(
            answer and answer.finish_reason == LENGTH and held.bounded.capped.cap.by in BY_GATEWAY
        ),
        fails_provider=fails_provider(failure),
    )


def last_event(
    settlement: Settlement, settled: Settled | None, ended: Completion | ProviderFailed
) -> CallResult | ProviderFailed:
    """Return the call's last event, for its client: without its cost while it is not `settled`."""
    if isinstance(ended, ProviderFailed):
        return ended
    usage = settlement.usage
    return CallResult(
        request_id=settlement.request_id,
        provider=str(settlement.charge_to["provider"]),
        model=str(settlement.charge_to["model"]),
        completion=ended,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_eur=euros(settled.charged_nanoeur) if settled else None,
        latency_ms=settlement.entry.latency_ms,
    )


def attempt_of(held: HeldCall, failure: ProviderFailed) -> dict[str, Any]:
    """Return the stored form of an attempt that another one follows."""
    ask = held.ask
    recorded = RecordedAttempt(
        at=held.admitted.now,
        model=str(ask.charge_to["model"]),
        provider=held.provider.name,
        bound_nanoeur=ask.amount_nanoeur,
        hold_id=ask.id,
        failure=failure,
        latency_ms=since_ms(held.started_s),
        decision=trace_of(ask, held.admitted),
    )
    kept = recorded.as_dict()
    return {**kept, "error": _without_prompt(kept["error"], held.call)}


def passed_over(refused: RefusedCall, name: str) -> dict[str, Any]:
    """Return the stored form of a model that was checked and skipped."""
    model = refused.resolved.model if refused.resolved else None
    recorded = RecordedAttempt(
        at=refused.requested.judged_at,
        model=(model.id if model else name)[:NAME_MAX_CHARS],
        provider=model.provider if model else None,
        bound_nanoeur=refused.bound_nanoeur,
        failure=refused.refusal,
        decision=decision_trace(refused),
    )
    return recorded.as_dict()


def _outcome(held: HeldCall, ended: Completion | ProviderFailed, price: UsagePrice | None) -> State:
    """Return the hold's final state. A call that is free at the vendor is none of the requests
    whose costs are reported, whatever became of it.
    """
    if held.call.usage_bound.is_free:
        return State.RELEASED
    if is_unknown(ended):
        return State.UNKNOWN
    if answer_of(ended) is None:
        return State.RELEASED
    return State.UNKNOWN if price is None else State.SETTLED


def _without_prompt(sentence: str, call: Call) -> str:
    """Return a failure's sentence for the audit row, without quotations of the prompt.

    The prompt is searched in steps of QUOTED_CHARS of the sentence, since it may have megabytes; a
    quotation of twice that length is always found.
    """
    places = range(0, len(sentence) - QUOTED_CHARS + 1, QUOTED_CHARS)
    for text in call.usage_bound.texts:
        if (len(text) >= QUOTED_CHARS and text in sentence) or any(
            sentence[place : place + QUOTED_CHARS] in text for place in places
        ):
            return "The provider's message repeats the prompt, so it is not stored"
    return sentence


def _answered_model(answer: Completion | None, held: HeldCall) -> str:
    """Return the model that answered, as the provider names it, which is untrusted input.

    A row's model has the name that its price was set for, whatever its server calls it.
    """
    requested = str(held.ask.charge_to["model"])
    if answer is None or held.provider.is_row:
        return requested
    answered = answer.model.removeprefix("models/")
    is_usable = answered.isprintable() and 0 < len(answered) <= NAME_MAX_CHARS
    return answered if is_usable else requested
