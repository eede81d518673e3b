"""Check one request on a snapshot: resolve its model, apply policies, compute its bound."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from costs.core.pricing import UsagePrice, bound_of
from gateway.apis.families.fitting import fitted
from gateway.call.slices.choice import slice_of
from gateway.call.stages import (
    BoundedCall,
    CappedCall,
    JudgedCall,
    PricedCall,
    RefusedCall,
    RequestedCall,
    ResolvedCall,
    output_cap_by,
)
from gateway.core import bounds
from gateway.core.calls import ProviderCall
from gateway.core.errors import Refused
from gateway.core.model_names import Catalog, Model
from gateway.core.request_body import invalid
from gateway.core.usage_bound import BY_BYTES, BY_COUNT, BY_ROOM, BY_TOKENS
from gateway.guards.budgets import BudgetRule
from gateway.guards.dimensions import refusal_for_dimensions
from gateway.guards.policies import refusal_for_model, refusal_for_searches, refusal_for_tokens
from gateway.guards.rule_sets import RuleSet
from gateway.guards.sessions import SessionRule
from gateway.providers.input_counts import InputCounts, has_count, input_count_of
from gateway.providers.registry import sdk_of
from gateway.providers.served import served, served_model
from gateway.providers.tokens import count_at_most, count_tokens_async
from orgs.threads import BODIES

# A hold below a cent keeps no other call out. Counting takes CPU, and a vendor's count a request.
COUNTED_ABOVE_NANOEUR: Final = 10_000_000

T = TypeVar("T")


async def judge(requested: RequestedCall, named: str, *, catalog: Catalog) -> JudgedCall:
    """Check a call to a model: block, allow, dimensions, tokens; the ledger checks cost."""
    resolved = await _computed(requested, partial(_resolved, requested, named, catalog))
    if isinstance(resolved, RefusedCall):
        return resolved
    capped = await _capped(resolved)
    if (refusal := _refusal_for_tokens(capped)) is not None:
        return RefusedCall(refusal=refusal, reached=capped)
    priced = await _computed(requested, partial(_priced, capped))
    if isinstance(priced, RefusedCall):
        return priced
    searches, rules = priced.uses.searches, resolved.rules.enforced
    if (refusal := refusal_for_searches(searches, rules=rules)) is not None:
        return RefusedCall(refusal=refusal, reached=priced)
    bounded = _bounded(priced)
    return bounded if isinstance(bounded, RefusedCall) else await _closer(bounded)


async def within(
    bounded: BoundedCall,
    room_nanoeur: int,
    *,
    input_counts: InputCounts | None = None,
    unspent_nanoeur: int | None = None,
) -> JudgedCall:
    """Return the call, which `can_cost_less`, with the highest output cap that the room pays for.

    The bound is tightened before, if it can be: by the vendor's count only with `input_counts`, and
    only if the call may fit in what is not spent. A cap is not lowered below the least one, also if
    the room does not pay for that.
    """
    if bounded.can_be_tightened:
        bounded = await _tightened(bounded)
    elif bounded.can_be_counted:
        is_possible = unspent_nanoeur is None or _likely_least(bounded) <= unspent_nanoeur
        counts = input_counts if is_possible else None
        bounded = await _counted_by_vendor(bounded, counts)
    if bounded.bound_nanoeur <= room_nanoeur:
        return bounded
    lowered: JudgedCall = bounded
    # What fits a request to its vendor may allow more output than its cap: the bound is read again.
    for cap_tokens in dict.fromkeys((_cap_within(bounded, room_nanoeur), bounded.least_cap)):
        lowered = await _lowered(bounded, cap_tokens)
        if isinstance(lowered, RefusedCall) or lowered.bound_nanoeur <= room_nanoeur:
            break
    return lowered


def _cap_within(bounded: BoundedCall, room_nanoeur: int) -> int:
    """Return the highest cap whose bound is within the room, at least the least one."""
    caps = range(bounded.least_cap, bounded.capped.cap.tokens + 1)

    def cost(cap_tokens: int) -> int:
        return _bound(bounded.priced, bounded.input_tokens, cap_tokens=cap_tokens).nanoeur

    return caps[max(0, bisect_right(caps, room_nanoeur, key=cost) - 1)]


async def _lowered(bounded: BoundedCall, cap_tokens: int) -> JudgedCall:
    if cap_tokens == bounded.capped.cap.tokens:
        return bounded
    capped = replace(
        bounded.capped,
        cap=replace(bounded.capped.cap, tokens=cap_tokens, is_written=True, by=BY_ROOM),
    )
    priced = await _computed(bounded.requested, partial(_priced, capped))
    if isinstance(priced, RefusedCall):
        return priced
    return _held(priced, bounded.input_tokens, bound_by=bounded.bound_by)


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
    return _held(priced, at_most, bound_by=BY_TOKENS)


async def _counted_by_vendor(bounded: BoundedCall, counts: InputCounts | None) -> BoundedCall:
    """Return the call with a tighter bound, by the vendor's count; without one it keeps its own."""
    requested, resolved = bounded.requested, bounded.resolved
    bounded = replace(bounded, can_be_counted=False)
    work = partial(input_count_of, bounded.priced.outgoing, resolved.model.served_by)
    asked = await _computed(requested, work) if counts else None
    if counts is None or asked is None:
        return bounded
    counted = await counts.tokens(asked, org_id=requested.organization.id)
    if counted is None:
        return bounded
    at_most = bounds.vendors_count_at_most(resolved.usage_bound, counted=counted)
    if at_most >= bounded.input_tokens:
        return bounded
    return _held(bounded.priced, at_most, bound_by=BY_COUNT)


async def _closer(bounded: BoundedCall) -> BoundedCall:
    """Return the call with a closer bound if it holds much more than it is likely to cost.

    Its tokens are counted where the bytes say more than twice as much. Else only the vendor can
    count them, which is done where there is little room.
    """
    resolved, held_nanoeur = bounded.resolved, bounded.bound_nanoeur
    if not resolved.is_limited or held_nanoeur <= COUNTED_ABOVE_NANOEUR:
        return bounded
    tokens = _likely_tokens(resolved)
    likely_nanoeur = _bound(bounded.priced, tokens, cap_tokens=bounded.slice_tokens).nanoeur
    if bounded.can_be_tightened:
        return await _tightened(bounded) if held_nanoeur > 2 * likely_nanoeur else bounded
    # What the vendor reads from elsewhere, or more than once, may not be in its count.
    is_in_request = not (resolved.usage_bound.context_reads or resolved.usage_bound.kept)
    is_worth_it = held_nanoeur - likely_nanoeur > COUNTED_ABOVE_NANOEUR
    is_counted = has_count(bounded.priced.outgoing, resolved.model.served_by)
    return replace(bounded, can_be_counted=is_in_request and is_worth_it and is_counted)


def _likely_tokens(resolved: ResolvedCall) -> int:
    text_bytes = resolved.text_bytes // bounds.LIKELY_BYTES_PER_TOKEN
    return bounds.input_tokens_at_most(resolved.usage_bound, resolved.model, text_bytes=text_bytes)


def _likely_least(bounded: BoundedCall) -> int:
    """Return what a call is likely to hold at least: with the least cap, or its first slice."""
    tokens, cap_tokens = _likely_tokens(bounded.resolved), bounded.slice_tokens
    return _bound(bounded.priced, tokens, cap_tokens=cap_tokens or bounded.least_cap).nanoeur


async def _computed(requested: RequestedCall, work: Callable[[], T]) -> T:
    """Run work that reads the whole body: for a large one in a thread."""
    if requested.call.is_large:
        return await BODIES.run(requested.organization.id, work)
    return work()


def _resolved(requested: RequestedCall, named: str, catalog: Catalog) -> ResolvedCall | RefusedCall:
    call, organization = requested.call, requested.organization
    if call.refusal is not None:
        return RefusedCall(refusal=call.refusal, reached=requested)
    if call.provider is None:
        model = served_model(named, requested.providers.by_name, catalog=catalog)
    else:
        model = served(Model(id="", provider=call.provider), requested.providers.by_name)
    if model is None:
        sentence = f'Model "{named.strip()}" is not known to this gateway'
        unknown = Refused("unknown_model", sentence, status=400)
        return RefusedCall(refusal=unknown, reached=requested)
    if call.named is not None:
        try:
            call = call.named.at(call, model.provider)
        except Refused as exc:
            return RefusedCall(refusal=exc, reached=requested)
        requested = replace(requested, call=call)
    if call.usage_bound.asks_larger_context:
        model = model.with_beta_context()
    budgets: tuple[BudgetRule, ...] = ()
    if organization.budgets.rules:
        budgets = organization.budgets_of(model, requested.named_by(), requested.principal)
    rules = organization.rules.of(requested.named_by(model.provider))
    resolved = ResolvedCall(
        requested=requested,
        model=model,
        text_bytes=bounds.text_bytes(call.usage_bound),
        rules=rules,
        verdicts=rules.of_all(organization.verdicts_on(model)) if model.id else (),
        budgets=budgets,
        session=_session_of(requested, rules),
    )
    refusal = refusal_for_model(resolved.verdicts, named=named.strip(), rules=rules.rules)
    if refusal is None and rules.requirements:
        refusal = refusal_for_dimensions(call.dimensions, rules.requirements)
    return resolved if refusal is None else RefusedCall(refusal=refusal, reached=resolved)


def _session_of(requested: RequestedCall, rules: RuleSet) -> SessionRule | None:
    """Return the session in which the call counts, if any policy of the organization limits any."""
    session = requested.principal.session
    if session is None or not requested.organization.rules.limits_sessions:
        return None
    return SessionRule(session_id=session.id, rules=rules.of_sessions)


async def _capped(resolved: ResolvedCall) -> CappedCall:
    requested, model = resolved.requested, resolved.model
    usage_bound, limit = requested.call.usage_bound, resolved.rules.counted_tokens_limit
    counted_text = counted_tokens = None
    if (
        requested.counts
        or (resolved.rules.counts_tokens and not usage_bound.is_free)
        or (limit is not None and not _certainly_fits(resolved, limit))
        or (resolved.is_limited and _may_fill_context(resolved))
    ):
        caller = requested.organization.id
        counted_text = await count_tokens_async(usage_bound, model, caller=caller)
        counted_tokens = bounds.counted_tokens(usage_bound, model, counted=counted_text)
    cap = output_cap_by(
        resolved.rules, resolved, counted_text=counted_text, counted_tokens=counted_tokens
    )
    searches = resolved.rules.searches_limit
    cap = replace(cap, is_limited=resolved.is_limited, searches=searches)
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
    at_most += bounds.kept_tokens(usage_bound, model)
    return at_most + model.default_output_tokens > model.context_tokens


def _refusal_for_tokens(capped: CappedCall) -> Refused | None:
    requested, needed = capped.resolved.requested, capped.needed
    if needed is None or requested.call.usage_bound.is_free:
        return None
    return refusal_for_tokens(needed, rules=capped.resolved.rules.enforced)


def _priced(capped: CappedCall) -> PricedCall | RefusedCall:
    requested, model = capped.resolved.requested, capped.resolved.model
    try:
        outgoing = requested.call.body.outgoing(
            model,
            capped.cap,
            timeout_s=model.served_by.limits.total_s,
            names=requested.organization.names_for(requested.call.dimensions.user_id),
        )
        if isinstance(outgoing, ProviderCall):
            if sdk_of(model.served_by) is None:
                title, own = model.served_by.title, ", ".join(sorted(model.served_by.dialects))
                raise invalid(f'Provider "{title}" is only available through its own APIs: {own}')
            most = model.max_output_tokens
            outgoing = fitted(outgoing, model.served_by.family, output_max=most)
    except Refused as exc:
        return RefusedCall(refusal=exc, reached=capped)
    if requested.call.usage_bound.is_free:
        return PricedCall(capped=capped, outgoing=outgoing, rates=None)
    rates = requested.prices.rates_for(model.price_names, model.provider, requested.judged_at)
    if rates is None:
        sentence = f"Model {model.qualified_name} has no price; an administrator must set one"
        return RefusedCall(refusal=Refused("model_unpriced", sentence), reached=capped)
    return PricedCall(capped=capped, outgoing=outgoing, rates=rates)


def _bounded(priced: PricedCall) -> JudgedCall:
    resolved = priced.capped.resolved
    usage_bound = resolved.usage_bound
    if usage_bound.is_free:
        return BoundedCall(priced=priced, bound_nanoeur=0, whole_nanoeur=0, input_tokens=0)
    if usage_bound.unbounded is not None and resolved.is_limited:
        refusal = Refused("invalid_request", usage_bound.unbounded, status=400)
        return RefusedCall(refusal=refusal, reached=priced)
    at_most = bounds.input_tokens_at_most(
        usage_bound, resolved.model, text_bytes=resolved.text_bytes
    )
    bound = _bound(priced, at_most)
    if bound.unpriced and resolved.is_limited:
        sentence = (
            f"Model {resolved.model.qualified_name} has no price for {bound.unpriced[0]}; "
            "an administrator must set one"
        )
        return RefusedCall(refusal=Refused("model_unpriced", sentence), reached=priced)
    return _held(priced, at_most)


def _held(priced: PricedCall, input_tokens: int, *, bound_by: str = BY_BYTES) -> BoundedCall:
    """Return the call with what it holds at admission, and what it can cost at most."""
    slice_tokens = slice_of(priced)
    whole_nanoeur = _bound(priced, input_tokens).nanoeur
    bounded = BoundedCall(
        priced=priced,
        bound_nanoeur=whole_nanoeur,
        whole_nanoeur=whole_nanoeur,
        input_tokens=input_tokens,
        bound_by=bound_by,
        slice_tokens=slice_tokens,
    )
    if slice_tokens is None:
        return bounded
    return replace(bounded, bound_nanoeur=bound_within(bounded, slice_tokens))


def bound_within(bounded: BoundedCall, output_tokens: int) -> int:
    """Return what a call costs at most up to so many tokens of output."""
    return _bound(bounded.priced, bounded.input_tokens, cap_tokens=output_tokens).nanoeur


def _bound(priced: PricedCall, input_tokens: int, *, cap_tokens: int | None = None) -> UsagePrice:
    """Return the maximum cost of the call as it is sent: 0 without rates, since it is free then."""
    if priced.rates is None:
        return UsagePrice(0)
    model, more_tokens = priced.capped.resolved.model, priced.outgoing.more_input_tokens
    most = bounds.input_with_uses(priced.uses, model, tokens=input_tokens) + more_tokens
    ceiling = priced.ceiling(input_tokens=most, cap_tokens=cap_tokens)
    return bound_of(ceiling, priced.rates)
