"""Check one request on a snapshot: resolve its model, apply policies, compute its bound."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from costs.core.pricing import UsagePrice, bound_of
from gateway.apis.families.fitting import fitted
from gateway.call.stages import (
    BoundedCall,
    CappedCall,
    JudgedCall,
    PricedCall,
    RefusedCall,
    RequestedCall,
    ResolvedCall,
)
from gateway.core import bounds
from gateway.core.calls import ProviderCall
from gateway.core.errors import Refused
from gateway.core.model_names import Catalog, price_names
from gateway.core.usage_bound import BY_ROOM
from gateway.guards.budgets import BudgetRule
from gateway.guards.dimensions import refusal_for_dimensions
from gateway.guards.policies import refusal_for_model, refusal_for_tokens
from gateway.providers.tokens import count_at_most, count_tokens_async
from gateway.upstream.network import TimeLimits
from orgs.threads import BODIES

T = TypeVar("T")


async def judge(
    requested: RequestedCall, named: str, *, catalog: Catalog, limits: Callable[[str], TimeLimits]
) -> JudgedCall:
    """Check a call to a model: block, allow, dimensions, tokens; the ledger checks cost.

    `limits` returns how long a provider may take.
    """
    resolved = await _computed(requested, partial(_resolved, requested, named, catalog))
    if isinstance(resolved, RefusedCall):
        return resolved
    capped = await _capped(resolved)
    if (refusal := _refusal_for_tokens(capped)) is not None:
        return RefusedCall(refusal=refusal, reached=capped)
    total_s = limits(resolved.model.provider).total_s
    priced = await _computed(requested, partial(_priced, capped, timeout_s=total_s))
    if isinstance(priced, RefusedCall):
        return priced
    return _bounded(priced)


async def within(
    bounded: BoundedCall, room_nanoeur: int, *, limits: Callable[[str], TimeLimits]
) -> JudgedCall:
    """Return the call, which `can_cost_less`, with the highest output cap that the room pays for.

    The bound is tightened before, if it can be. A cap is not lowered below the least one, also if
    the room does not pay for that.
    """
    if bounded.can_be_tightened:
        bounded = await _tightened(bounded)
        if bounded.bound_nanoeur <= room_nanoeur:
            return bounded
    lowered: JudgedCall = bounded
    total_s = limits(bounded.resolved.model.provider).total_s
    # What fits a request to its vendor may allow more output than its cap: the bound is read again.
    for cap_tokens in dict.fromkeys((_cap_within(bounded, room_nanoeur), bounded.least_cap)):
        lowered = await _lowered(bounded, cap_tokens, timeout_s=total_s)
        if isinstance(lowered, RefusedCall) or lowered.bound_nanoeur <= room_nanoeur:
            break
    return lowered


def _cap_within(bounded: BoundedCall, room_nanoeur: int) -> int:
    """Return the highest cap whose bound is within the room, at least the least one."""
    caps = range(bounded.least_cap, bounded.capped.cap.tokens + 1)

    def cost(cap_tokens: int) -> int:
        return _bound(bounded.priced, bounded.input_tokens, cap_tokens=cap_tokens).nanoeur

    return caps[max(0, bisect_right(caps, room_nanoeur, key=cost) - 1)]


async def _lowered(bounded: BoundedCall, cap_tokens: int, *, timeout_s: float) -> JudgedCall:
    if cap_tokens == bounded.capped.cap.tokens:
        return bounded
    capped = replace(
        bounded.capped,
        cap=replace(bounded.capped.cap, tokens=cap_tokens, is_written=True, by=BY_ROOM),
    )
    priced = await _computed(bounded.requested, partial(_priced, capped, timeout_s=timeout_s))
    if isinstance(priced, RefusedCall):
        return priced
    bound_nanoeur = _bound(priced, bounded.input_tokens).nanoeur
    return replace(bounded, priced=priced, bound_nanoeur=bound_nanoeur)


async def _tightened(bounded: BoundedCall) -> BoundedCall:
    """Return the call with a tighter bound, by the vendor's own tokenizer."""
    capped, model = bounded.capped, bounded.resolved.model
    usage_bound, counted = bounded.resolved.usage_bound, capped.counted_text
    if counted is None:
        caller = bounded.requested.organization.id
        counted = await count_tokens_async(usage_bound, model, caller=caller)
    tokens = bounds.counted_tokens(usage_bound, model, counted=counted)
    recounted = replace(capped, counted_text=counted, counted_tokens=tokens)
    priced = replace(bounded.priced, capped=recounted)
    # Of a few words the count with its frames is more than the bytes.
    at_most = min(
        bounded.input_tokens, bounds.counted_tokens_at_most(usage_bound, model, counted=counted)
    )
    bound_nanoeur = _bound(priced, at_most).nanoeur
    return BoundedCall(
        priced=priced, bound_nanoeur=bound_nanoeur, input_tokens=at_most, is_tight=True
    )


async def _computed(requested: RequestedCall, work: Callable[[], T]) -> T:
    """Run work that reads the whole body: for a large one in a thread."""
    if requested.call.is_large:
        return await BODIES.run(requested.organization.id, work)
    return work()


def _resolved(requested: RequestedCall, named: str, catalog: Catalog) -> ResolvedCall | RefusedCall:
    call, organization = requested.call, requested.organization
    if call.refusal is not None:
        return RefusedCall(refusal=call.refusal, reached=requested)
    model = catalog.find(named)
    if model is None:
        sentence = f'Model "{named.strip()}" is not known to this gateway'
        unknown = Refused("unknown_model", sentence, status=400)
        return RefusedCall(refusal=unknown, reached=requested)
    budgets: tuple[BudgetRule, ...] = ()
    if organization.budgets.rules:
        budgets = organization.budgets_of(model, call.dimensions.as_dict())
    resolved = ResolvedCall(
        requested=requested,
        model=model,
        text_bytes=bounds.text_bytes(call.usage_bound),
        verdicts=organization.verdicts_on(model),
        budgets=budgets,
    )
    refusal = refusal_for_model(resolved.verdicts, named=named.strip(), rules=organization.rules)
    if refusal is None and organization.requirements:
        refusal = refusal_for_dimensions(call.dimensions, organization.requirements)
    return resolved if refusal is None else RefusedCall(refusal=refusal, reached=resolved)


async def _capped(resolved: ResolvedCall) -> CappedCall:
    requested, model = resolved.requested, resolved.model
    usage_bound, limit = requested.call.usage_bound, requested.organization.token_limit
    counted_text = counted_tokens = None
    if (
        requested.counts
        or (limit is not None and not _certainly_fits(resolved, limit))
        or (resolved.is_limited and _may_fill_context(resolved))
    ):
        caller = requested.organization.id
        counted_text = await count_tokens_async(usage_bound, model, caller=caller)
        counted_tokens = bounds.counted_tokens(usage_bound, model, counted=counted_text)
    cap = bounds.output_cap(
        model,
        output=usage_bound.output,
        text_tokens=counted_text or 0,
        input_tokens=counted_tokens or 0,
        token_limit=limit,
        output_limit=requested.organization.output_limit,
        is_limited=resolved.is_limited,
    )
    cap = replace(cap, hosted_calls=resolved.hosted_calls_max)
    return CappedCall(
        resolved=resolved, cap=cap, counted_text=counted_text, counted_tokens=counted_tokens
    )


def _certainly_fits(resolved: ResolvedCall, limit: int) -> bool:
    """Whether no count could exceed the limit: counting takes 40 us, and a tokenizer 70 MB."""
    usage_bound, model = resolved.requested.call.usage_bound, resolved.model
    if usage_bound.is_free:
        return True
    if usage_bound.output is not None and usage_bound.output.max_tokens is None:
        return False  # the cap depends on the count
    output = bounds.output_tokens_at_most(usage_bound.output, model)
    at_most = count_at_most(usage_bound, model, text_bytes=resolved.text_bytes)
    return bounds.counted_tokens(usage_bound, model, counted=at_most) + output <= limit


def _may_fill_context(resolved: ResolvedCall) -> bool:
    """Whether the model's maximum may not fit in its context beside the input."""
    usage_bound, model = resolved.usage_bound, resolved.model
    output = usage_bound.output
    if usage_bound.is_free or output is None or output.max_tokens is not None:
        return False
    at_most = count_at_most(usage_bound, model, text_bytes=resolved.text_bytes)
    return at_most + model.default_output_tokens > model.context_tokens


def _refusal_for_tokens(capped: CappedCall) -> Refused | None:
    requested, needed = capped.resolved.requested, capped.needed_tokens
    if needed is None or requested.call.usage_bound.is_free:
        return None
    return refusal_for_tokens(needed, rules=requested.organization.rules)


def _priced(capped: CappedCall, *, timeout_s: float) -> PricedCall | RefusedCall:
    requested, model = capped.resolved.requested, capped.resolved.model
    try:
        outgoing = requested.call.body.outgoing(
            model,
            capped.cap,
            timeout_s=timeout_s,
            names=requested.organization.names_for(requested.call.dimensions.user_id),
        )
        if isinstance(outgoing, ProviderCall):
            most = model.max_output_tokens
            outgoing = fitted(outgoing, model.provider, output_max=most)
    except Refused as exc:
        return RefusedCall(refusal=exc, reached=capped)
    if requested.call.usage_bound.is_free:
        return PricedCall(capped=capped, outgoing=outgoing, rates=None)
    rates = requested.prices.rates_for(price_names(model.id), model.provider, requested.judged_at)
    if rates is None:
        sentence = f"Model {model.id} has no price; an administrator must set one"
        return RefusedCall(refusal=Refused("model_unpriced", sentence), reached=capped)
    return PricedCall(capped=capped, outgoing=outgoing, rates=rates)


def _bounded(priced: PricedCall) -> JudgedCall:
    resolved = priced.capped.resolved
    usage_bound = resolved.usage_bound
    if usage_bound.is_free:
        return BoundedCall(priced=priced, bound_nanoeur=0, input_tokens=0, is_tight=True)
    if usage_bound.unbounded is not None and resolved.is_limited:
        refusal = Refused("invalid_request", usage_bound.unbounded, status=400)
        return RefusedCall(refusal=refusal, reached=priced)
    at_most = bounds.input_tokens_at_most(
        usage_bound, resolved.model, text_bytes=resolved.text_bytes
    )
    bound = _bound(priced, at_most)
    if bound.unpriced and resolved.is_limited:
        sentence = (
            f"Model {resolved.model.id} has no price for {bound.unpriced[0]}; "
            "an administrator must set one"
        )
        return RefusedCall(refusal=Refused("model_unpriced", sentence), reached=priced)
    return BoundedCall(priced=priced, bound_nanoeur=bound.nanoeur, input_tokens=at_most)


def _bound(priced: PricedCall, input_tokens: int, *, cap_tokens: int | None = None) -> UsagePrice:
    """Return the maximum cost of the call as it is sent: 0 without rates, since it is free then."""
    if priced.rates is None:
        return UsagePrice(0)
    outgoing = priced.outgoing
    input_tokens = bounds.input_with_uses(
        outgoing.uses,
        priced.capped.resolved.model,
        tokens=input_tokens + outgoing.more_input_tokens,
    )
    ceiling = priced.ceiling(input_tokens=input_tokens, cap_tokens=cap_tokens)
    return bound_of(ceiling, priced.rates)
