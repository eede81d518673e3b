"""What the end of an admitted call means for the books.

Usage known: its price at the rates fixed at admission. Proof that nothing was billed: 0.
Anything else: the whole hold.
"""

from __future__ import annotations

from typing import Any, Final

from costs.core.admission import Admitted, Ask, Settlement
from costs.core.holds import State
from costs.core.pricing import Rates, cost_nanoeur
from costs.core.usage import Usage
from gateway.core.calls import Call, Completion, Outgoing
from gateway.core.errors import ProviderFailed
from gateway.core.models import NAME_MAX_CHARS, price_names
from gateway.journal import Closing, attempt, since_ms, trace_of
from gateway.judgement import Judgement
from orgs.core.frozen import frozen

# So long a run that a provider's words share with the prompt is a quotation of it.
QUOTED_CHARS: Final = 12


@frozen
class Held:
    """An admitted call: its hold and audit row are committed, and it may go out.

    `started_s` is when this attempt began, on the monotonic clock.
    """

    ask: Ask
    admitted: Admitted
    judgement: Judgement
    outgoing: Outgoing
    started_s: float

    @property
    def provider(self) -> str:
        """Who is asked."""
        return str(self.ask.charge_to["provider"])


def settlement_of(
    held: Held,
    call: Call,
    completion: Completion | None,
    failure: ProviderFailed | None,
    *,
    is_last: bool,
) -> Settlement:
    """Return how the call ended, for the ledger and the audit row.

    Where another attempt follows, the caller's Idempotency-Key stays in use.
    """
    ask = held.ask
    usage = completion.usage if completion else None
    model = _answered_model(completion, ask)
    rates = _rates(held, model)
    outcome = _outcome(completion, failure)
    return Settlement(
        hold_id=ask.id,
        request_id=ask.request_id,
        org_id=ask.org_id,
        period_ids=held.admitted.period_ids,
        outcome=outcome,
        cost_nanoeur=_cost(usage, rates),
        usage=usage,
        charge_to={**ask.charge_to, "model": model},
        rates=rates.card if rates else ask.rates,
        entry=Closing(
            status=_status(outcome, completion),
            model=model,
            code=failure.code if failure else None,
            error=_without_prompt(failure.message, call) if failure else None,
            finish_reason=completion.finish_reason if completion else None,
            raw_usage=completion.raw_usage if completion else None,
            latency_ms=since_ms(ask.entry.started_s),
        ),
        repeat=ask.repeat if is_last else None,
    )


def attempt_of(held: Held, call: Call, failure: ProviderFailed) -> dict[str, Any]:
    """Return what the audit row keeps of an attempt that another one follows."""
    ask = held.ask
    kept = attempt(
        at=held.admitted.now,
        model=str(ask.charge_to["model"]),
        provider=held.provider,
        bound_nanoeur=ask.amount_nanoeur,
        hold_id=ask.id,
        failure=failure,
        latency_ms=since_ms(held.started_s),
        decision=trace_of(ask, held.admitted),
    )
    return {**kept, "error": _without_prompt(kept["error"], call)}


def passed_over(found: Judgement, call: Call, name: str) -> dict[str, Any]:
    """Return what the audit row keeps of a model that was judged, and not asked."""
    return attempt(
        at=found.judged_at,
        model=(found.model.id if found.model else name)[:NAME_MAX_CHARS],
        provider=found.model.provider if found.model else None,
        bound_nanoeur=found.bound_nanoeur,
        failure=found.refusal,
        decision=found.trace(call),
    )


def _outcome(completion: Completion | None, failure: ProviderFailed | None) -> State:
    if completion is not None and completion.usage is not None:
        return State.SETTLED
    if failure is not None and failure.nothing_billed:
        return State.RELEASED
    return State.UNKNOWN


def _status(outcome: State, completion: Completion | None) -> str:
    if outcome is State.UNKNOWN:
        return "unknown"
    return "ok" if completion is not None else "error"


def _without_prompt(sentence: str, call: Call) -> str:
    """Return what the audit row says of a failure: vendors quote prompts, and it keeps none.

    The sentence is searched for in steps of QUOTED_CHARS, since a prompt may have megabytes; a
    quotation of twice as many is always found.
    """
    places = range(0, len(sentence) - QUOTED_CHARS + 1, QUOTED_CHARS)
    for said in call.demand.texts:
        if (len(said) >= QUOTED_CHARS and said in sentence) or any(
            sentence[place : place + QUOTED_CHARS] in said for place in places
        ):
            return "The provider's words repeat the prompt, so they are not kept"
    return sentence


def _answered_model(completion: Completion | None, ask: Ask) -> str:
    """Return the model that answered, by the provider's word, which is hostile input."""
    asked = str(ask.charge_to["model"])
    if completion is None:
        return asked
    said = completion.model.removeprefix("models/")
    return said if said.isprintable() and 0 < len(said) <= NAME_MAX_CHARS else asked


def _cost(usage: Usage | None, rates: Rates | None) -> int | None:
    """Return what the usage costs: nothing for a call that is free, and so was judged unpriced."""
    if usage is None:
        return None
    return cost_nanoeur(usage, rates) if rates else 0


def _rates(held: Held, model: str) -> Rates | None:
    """Return the rates at admission of the model that answered, else of the one that was asked."""
    found = held.judgement
    if found.rates is None or found.model is None:
        return None
    own = found.prices.rates_for(price_names(model), found.model.provider, found.judged_at)
    return own or found.rates
