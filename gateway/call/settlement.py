"""Settle an admitted call: compute its charge from its outcome.

Usage known: its price at the rates fixed at admission. Proof that nothing was billed: 0.
Anything else: the most that the provider can have produced by what was seen of the answer, or the
whole hold if nothing was.
"""

from __future__ import annotations

import time
from dataclasses import field, replace
from typing import Any, Final

from costs.core.admission import Admitted, ReserveRequest, Settled, Settlement
from costs.core.holds import State
from costs.core.money import euros
from costs.core.pricing import UsagePrice, bound_of, price_of
from costs.core.rates import Rates
from costs.core.usage import Usage
from gateway.call.journal import Closing, RecordedAttempt, since_ms, trace_of
from gateway.call.stages import BoundedCall, RefusedCall, decision_trace
from gateway.core import bounds
from gateway.core.calls import Call, Completion
from gateway.core.errors import ProviderFailed
from gateway.core.model_names import NAME_MAX_CHARS, price_names
from gateway.core.results import CallResult
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import UsageBound
from gateway.providers.tokens import count_tokens_async
from orgs.core.frozen import frozen

# A run of this length shared by a provider's message and the prompt counts as a quotation.
QUOTED_CHARS: Final = 12


@frozen
class HeldCall:
    """An admitted call: its hold and audit row are committed, and it may be sent.

    `started_s` is when this attempt began, on the monotonic clock; `seen` what was seen of its
    answer, if it is streamed.
    """

    ask: ReserveRequest
    admitted: Admitted
    bounded: BoundedCall
    started_s: float
    seen: SeenOutput = field(default_factory=SeenOutput)

    @property
    def call(self) -> Call:
        """The call as sent to the gateway."""
        return self.bounded.requested.call

    @property
    def provider(self) -> str:
        """The provider that is called."""
        return self.bounded.resolved.model.provider


@frozen
class SeenCost:
    """The most that an answer can have cost by what was seen of it."""

    nanoeur: int
    input_tokens: int
    output_tokens: int


async def seen_cost(held: HeldCall, ended: Completion | ProviderFailed) -> SeenCost | None:
    """Return the most that an answer of unknown usage can have cost; None if nothing was seen.

    Input is what the provider reported, else as it is counted; after each use of a tool at
    the provider the whole context is read once more.
    """
    seen, priced = held.seen, held.bounded.priced
    rates, output = priced.rates, priced.outgoing.output
    if _outcome(ended) is not State.UNKNOWN or not seen.has_begun or not rates or not output:
        return None
    resolved, now_s = held.bounded.resolved, time.monotonic()
    text, thoughts = await _counted(held, seen.text.kept), await _counted(held, seen.thoughts.kept)
    produced = seen.output_tokens_at_most(
        text=text,
        thoughts=thoughts,
        tokens_per_s=bounds.tokens_per_s(resolved.model, resolved.usage_bound.service_tier),
        choices=output.choices,
        now_s=now_s,
    )
    reported = seen.usage or Usage(input_uncached=await _input_at_most(held))
    read_again = seen.tool_uses * resolved.model.context_tokens
    most = priced.ceiling(input_tokens=reported.input_tokens + read_again)
    output_tokens = max(reported.output_tokens, min(most.output_tokens, produced))
    searches = min(most.web_searches, seen.searches + 1) if seen.shows_tools else most.web_searches
    most = replace(most, output_tokens=output_tokens, web_searches=searches)
    price = bound_of(most, rates)
    if seen.usage is not None:
        price = price_of(
            replace(
                reported,
                input_uncached=reported.input_uncached + read_again,
                output_text=reported.output_text + output_tokens - reported.output_tokens,
                web_searches=max(reported.web_searches, searches),
            ),
            rates,
        )
    if price.unpriced:
        return None
    return SeenCost(
        nanoeur=price.nanoeur, input_tokens=most.input_tokens, output_tokens=output_tokens
    )


async def _counted(held: HeldCall, text: bytes | bytearray) -> int:
    texts = (text.decode(errors="replace"),)
    caller, model = held.bounded.requested.organization.id, held.bounded.resolved.model
    if held.seen.is_counted:  # the provider's own count needs no margin
        model = replace(model, token_margin=1.0)
    return await count_tokens_async(UsageBound(texts=texts), model, caller=caller)


async def _input_at_most(held: HeldCall) -> int:
    """Return the most input of the first time that the context is read."""
    resolved, counted = held.bounded.resolved, held.bounded.capped.counted_text
    if resolved.usage_bound.context_reads:
        return resolved.model.context_tokens
    if counted is None:
        caller = held.bounded.requested.organization.id
        counted = await count_tokens_async(resolved.usage_bound, resolved.model, caller=caller)
    return bounds.counted_tokens(resolved.usage_bound, resolved.model, counted=counted)


def settlement_of(
    held: HeldCall,
    ended: Completion | ProviderFailed,
    *,
    is_last: bool,
    seen: SeenCost | None = None,
) -> Settlement:
    """Return the settlement of the call, for the ledger and the audit row.

    An unknown outcome costs what was `seen`. If another attempt follows, the caller's
    Idempotency-Key stays in use.
    """
    ask = held.ask
    usage = ended.usage if isinstance(ended, Completion) else None
    model = _answered_model(ended, ask)
    rates = _rates(held, model)
    outcome = _outcome(ended)
    price = _price(usage, rates)
    return Settlement(
        hold_id=ask.id,
        request_id=ask.request_id,
        org_id=ask.org_id,
        period_ids=held.admitted.period_ids,
        outcome=outcome,
        cost_nanoeur=_cost(price, ask) if seen is None else seen.nanoeur,
        is_estimate=bool(price and price.unpriced),
        usage=usage,
        charge_to={**ask.charge_to, "model": model},
        rates=rates.card if rates else ask.rates,
        entry=replace(
            _closing(held, ended, model=model, outcome=outcome, price=price),
            seen=(seen.input_tokens, seen.output_tokens) if seen else None,
        ),
        repeat=ask.repeat if is_last else None,
    )


def _closing(
    held: HeldCall,
    ended: Completion | ProviderFailed,
    *,
    model: str,
    outcome: State,
    price: UsagePrice | None,
) -> Closing:
    """Return the final state of the audit row."""
    latency_ms = since_ms(held.ask.entry.started_s)
    if isinstance(ended, ProviderFailed):
        return Closing(
            status="unknown" if outcome is State.UNKNOWN else "error",
            model=model,
            code=ended.code,
            error=_without_prompt(ended.message, held.call),
            latency_ms=latency_ms,
        )
    return Closing(
        status="unknown" if outcome is State.UNKNOWN else "ok",
        model=model,
        finish_reason=ended.finish_reason,
        raw_usage=ended.raw_usage,
        unpriced=price.unpriced if price else (),
        latency_ms=latency_ms,
    )


def last_event(
    settlement: Settlement, settled: Settled, ended: Completion | ProviderFailed
) -> CallResult | ProviderFailed:
    """Return the call's last event, for its client."""
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
        cost_eur=euros(settled.charged_nanoeur),
        latency_ms=settlement.entry.latency_ms,
    )


def attempt_of(held: HeldCall, failure: ProviderFailed) -> dict[str, Any]:
    """Return the stored form of an attempt that another one follows."""
    ask = held.ask
    recorded = RecordedAttempt(
        at=held.admitted.now,
        model=str(ask.charge_to["model"]),
        provider=held.provider,
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


def _outcome(ended: Completion | ProviderFailed) -> State:
    if isinstance(ended, ProviderFailed):
        return State.RELEASED if ended.nothing_billed else State.UNKNOWN
    return State.UNKNOWN if ended.usage is None else State.SETTLED


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


def _answered_model(ended: Completion | ProviderFailed, ask: ReserveRequest) -> str:
    """Return the model that answered, as the provider names it, which is untrusted input."""
    requested = str(ask.charge_to["model"])
    if isinstance(ended, ProviderFailed):
        return requested
    answered = ended.model.removeprefix("models/")
    is_usable = answered.isprintable() and 0 < len(answered) <= NAME_MAX_CHARS
    return answered if is_usable else requested


def _price(usage: Usage | None, rates: Rates | None) -> UsagePrice | None:
    """Return the price of the usage: 0 for a free call, which has no rates."""
    if usage is None:
        return None
    return price_of(usage, rates) if rates else UsagePrice(0)


def _cost(price: UsagePrice | None, ask: ReserveRequest) -> int | None:
    """Return what is charged: of what has no price of its own not less than the hold."""
    if price is None:
        return None
    return max(price.nanoeur, ask.amount_nanoeur or 0) if price.unpriced else price.nanoeur


def _rates(held: HeldCall, model: str) -> Rates | None:
    """Return the rates at admission of the model that answered, else of the requested one."""
    rates, resolved = held.bounded.priced.rates, held.bounded.resolved
    if rates is None:
        return None
    prices, judged_at = resolved.requested.prices, resolved.requested.judged_at
    return prices.rates_for(price_names(model), resolved.model.provider, judged_at) or rates
