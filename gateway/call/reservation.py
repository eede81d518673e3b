"""Request a hold for a checked call from the ledger, or only a refusal's audit row.

A call that does not fit asks again with a lower bound. One that only calls in flight keep out then
waits for them, and so does a new call behind it (`gateway.call.waiting`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from costs.core.admission import (
    Balance,
    InsufficientRoom,
    RateExceeded,
    Repeat,
    ReserveRequest,
    ReserveResult,
    leaves_row,
    room_of,
    unspent_of,
)
from costs.core.rate_limits import RateLimit, RateState
from costs.core.rates import FREE
from costs.ledger.writer import LedgerUnavailable, OrganizationLocked
from gateway.call.call_stream import CallStream
from gateway.call.candidates import Candidate
from gateway.call.decision import decision_trace, least_of_watched
from gateway.call.fingerprints import Fingerprints, fingerprints_of
from gateway.call.judgement import within
from gateway.call.records.entries import Opening, since_ms
from gateway.call.records.idempotency import refusal_of_repeat
from gateway.call.runtime import Gateway
from gateway.call.settlement.settle import passed_over
from gateway.call.stages import (
    BoundedCall,
    JudgedCall,
    RefusedCall,
    cost_limits_of,
    limits_of,
    rules_of,
)
from gateway.call.waiting.line import Need, Seen, Waiter, is_rate_of, rate_key
from gateway.core.attempts import Trail
from gateway.core.calls import Call, Principal, ProviderCall
from gateway.core.errors import Refused
from gateway.core.model_names import NAME_MAX_CHARS
from gateway.guards.policies import OK, PolicyMode
from gateway.guards.rates import explained_rates, rate_scope
from orgs.core.frozen import frozen
from orgs.fields import new_id

# After a disconnect, if the organization chose exact charges: how long reading continues.
DRAIN_MAX_S: Final = 60.0
# A hold outlives its call by this much, so that the reaper never settles a running one.
DEADLINE_MARGIN_S: Final = 30.0
RESERVE_TRIES_MAX: Final = 4
NOTHING_SEEN: Final = Seen()
NOTHING_FULL: Final[Mapping[str, Balance]] = {}


@frozen
class RunningCall:
    """One running request: its caller and call, its client's stream, its attempts so far, and its
    place among those that wait.
    """

    gateway: Gateway
    principal: Principal
    call: Call
    stream: CallStream
    trail: Trail
    waiter: Waiter


async def reserve(
    running: RunningCall, chosen: Candidate
) -> tuple[Candidate, ReserveRequest, ReserveResult] | None:
    """Request a hold from the ledger; without room, again with a lower bound.

    Other calls may take the room meanwhile, so the last try is with the lowest bound. Each is
    decided by the ledger alone. None means that the call has waited, and is to be checked again.
    """
    if isinstance(chosen.judged, BoundedCall):
        bounded = chosen.judged
        if isinstance(bounded.priced.outgoing, ProviderCall):
            # A vendor's SDK takes seconds to import: do it before the hold and its deadline start.
            await running.gateway.providers.get(bounded.resolved.model.served_by)
    keyed = chosen.judged.requested.organization.prompt_mac
    fingerprints = await fingerprints_of(keyed, running.principal, running.call)
    chosen = _refused(running, chosen, fingerprints.repeat)
    in_front = _in_front_of(running, chosen)
    if any(in_front.values()) or running.waiter.waits_for_money:
        chosen = await _lower(running, chosen, 0)
    if in_front and isinstance(chosen.judged, BoundedCall):
        await _wait(running, chosen.judged, fingerprints, full=in_front)
        return None
    tries_left = RESERVE_TRIES_MAX
    while True:
        ask = _request(running, chosen, fingerprints)
        answer = await _reserved(running, ask)
        judged = chosen.judged
        if (
            not isinstance(judged, BoundedCall)
            or not isinstance(answer, InsufficientRoom | RateExceeded)
            or leaves_row(ask, answer)
        ):
            return chosen, ask, answer
        before = {limit.scope: each for limit, each in zip(ask.limits, answer.before, strict=True)}
        full = without_room(before, judged.bound_nanoeur)
        if full and judged.can_cost_less:
            tries_left -= 1
            room_nanoeur = room_of(answer.before) if tries_left > 1 else 0
            chosen = await _lower(running, chosen, room_nanoeur, unspent_of(answer.before))
            continue
        rates = answer.rates if isinstance(answer, RateExceeded) else ()
        kept_out_by = {**full, **over_rates(rates, ask.tokens)}
        seen = Seen(balances=before, rates=rates)
        await _wait(running, judged, fingerprints, full=kept_out_by, seen=seen)
        return None


def over_rates(states: Sequence[RateState], tokens: int) -> Mapping[str, None]:
    """Return the kinds of rates that keep out a call of so many tokens."""
    return {
        rate_key(state.limit.scope, kind): None
        for state in states
        if not state.limit.is_watched
        for kind, _ in state.lacking(tokens)
    }


def _refused(running: RunningCall, chosen: Candidate, repeat: Repeat | None) -> Candidate:
    """Return the call with its refusal if it may not wait any more, or another one that waits has
    its Idempotency-Key.
    """
    repeated = running.gateway.waiting_room.repeated(running.waiter, repeat)
    refusal = refusal_of_repeat(repeated) if repeated else running.waiter.refusal
    if refusal is None or isinstance(chosen.judged, RefusedCall):
        return chosen
    return replace(chosen, judged=RefusedCall(refusal=refusal, reached=chosen.judged))


async def _lower(
    running: RunningCall, chosen: Candidate, room_nanoeur: int, unspent_nanoeur: int | None = None
) -> Candidate:
    """Return the call with a bound within the room, or its lowest one."""
    judged, providers = chosen.judged, running.gateway.providers
    if not isinstance(judged, BoundedCall) or not judged.can_cost_less:
        return chosen
    lowered = await within(
        judged,
        room_nanoeur,
        input_counts=providers.input_counts,
        unspent_nanoeur=unspent_nanoeur,
    )
    return replace(chosen, judged=lowered)


def _in_front_of(running: RunningCall, chosen: Candidate) -> Mapping[str, Balance | None]:
    """Return the limits in which the call is behind others that wait.

    A fallback does not wait, and a call whose turn or end has come is behind none.
    """
    judged, room, org_id = chosen.judged, running.gateway.waiting_room, running.principal.org_id
    waiter = running.waiter
    if not isinstance(judged, BoundedCall) or running.trail.failure is not None:
        return {}
    if waiter.is_over or waiter.since_s is not None or not room.has_waiting(org_id):
        return {}
    return room.in_front_of(org_id, need_of(judged).by_scope)


def without_room(balances: Mapping[str, Balance], amount_nanoeur: int) -> Mapping[str, Balance]:
    """Return the balances without room for an amount."""
    return {
        scope: balance
        for scope, balance in balances.items()
        if not balance.has_room_for(amount_nanoeur)
    }


def need_of(bounded: BoundedCall, kept_out_by: Mapping[str, Balance | None] = NOTHING_FULL) -> Need:
    """Return what a call waits for that these limits keep out, by scope: of money with their
    balances.
    """
    resolved, amount_nanoeur = bounded.resolved, bounded.bound_nanoeur
    rates = tuple([rate for rate in resolved.rules.rates if not rate.is_watched])
    now = datetime.now(UTC)
    in_force = [limit.in_force_at(now) for limit in limits_of(bounded)]
    limits = tuple([limit for limit in in_force if limit.limit_nanoeur is not None])
    waits_s = (
        each.waits_s(balance, amount_nanoeur=amount_nanoeur)
        for each in resolved.cost_limits
        if (balance := kept_out_by.get(each.limit.scope)) is not None
    )
    of_rates = (
        rate.wait_s for rate in rates if any(is_rate_of(rate.scope, key) for key in kept_out_by)
    )
    return Need(
        config_version=bounded.requested.organization.config_version,
        amount_nanoeur=amount_nanoeur,
        limits=limits if amount_nanoeur else (),
        kept_out_by=frozenset(kept_out_by),
        wait_s=min([*waits_s, *of_rates], default=0.0),
        rates=rates,
        tokens=bounded.capped.rated_tokens,
    )


async def _wait(
    running: RunningCall,
    bounded: BoundedCall,
    fingerprints: Fingerprints,
    *,
    full: Mapping[str, Balance | None],
    seen: Seen = NOTHING_SEEN,
) -> None:
    """Wait for room in the `full` limits, by scope: without a place at the provider."""
    running.gateway.health.leave(running.stream.request_id)
    need = need_of(bounded, full)
    room, repeat = running.gateway.waiting_room, fingerprints.repeat
    await room.wait(running.waiter, need, running.stream, seen=seen, repeat=repeat)


async def _reserved(running: RunningCall, ask: ReserveRequest) -> ReserveResult:
    try:
        return await running.gateway.writer.reserve(ask)
    except OrganizationLocked as exc:
        sentence = "Rows of the organization are locked in the database; nothing was sent"
        raise Refused("ledger_unavailable", sentence, status=503, retry_after_s=1) from exc
    except LedgerUnavailable as exc:
        sentence = "The ledger is not available; nothing was sent"
        raise Refused("ledger_unavailable", sentence, status=503, retry_after_s=1) from exc


def _request(running: RunningCall, chosen: Candidate, fingerprints: Fingerprints) -> ReserveRequest:
    """Return the ledger request: for the hold, or to record a refusal."""
    judged, principal, trail = chosen.judged, running.principal, running.trail
    organization, prices = judged.requested.organization, judged.requested.prices
    bounded = judged if isinstance(judged, BoundedCall) else None
    # A fallback already has the key, and releases it if it is refused.
    keeps_key = bounded is not None or trail.failure is not None
    opening = _opening(running, chosen, fingerprints.prompt)
    is_lowest = bounded is None or not bounded.can_cost_less
    total_s = bounded.resolved.model.served_by.limits.total_s if bounded else 0
    return ReserveRequest(
        id=new_id(),
        request_id=running.stream.request_id,
        org_id=organization.id,
        config_version=organization.config_version,
        prices_version=prices.version,
        providers_version=judged.requested.providers.version,
        amount_nanoeur=bounded.bound_nanoeur if bounded else None,
        limits=limits_of(judged),
        deadline_s=total_s + DRAIN_MAX_S + DEADLINE_MARGIN_S,
        charge_to={
            "model": opening.model,
            "provider": opening.provider,
            **running.call.dimensions.as_dict(),
            "key_id": str(principal.key_id) if principal.key_id else None,
            **(principal.session.as_dict() if principal.session else {}),
        },
        rates=opening.rates.card if opening.rates else FREE,
        repeat=fingerprints.repeat if keeps_key else None,
        record_if_spent=is_lowest,
        may_wait=trail.failure is None and not running.waiter.is_over,
        entry=opening,
        rate_limits=_rates(judged, opening.trace) if bounded else (),
        tokens=bounded.capped.rated_tokens if bounded else 0,
    )


def _rates(judged: JudgedCall, trace: Mapping[str, Any]) -> tuple[RateLimit, ...]:
    """Return the rates that a call takes from: of a watched policy only if that would let it pass
    otherwise.
    """
    refused = {
        rate_scope(entry["id"])
        for entry in trace["policies"]
        if entry.get("mode") == PolicyMode.WATCH and entry["verdict"] != OK
    }
    return tuple([rate for rate in rules_of(judged).rates if rate.scope not in refused])


def _opening(running: RunningCall, chosen: Candidate, prompt_hash: str) -> Opening:
    """Return the initial state of the audit row."""
    judged, trail = chosen.judged, running.trail
    resolved, priced = judged.resolved, judged.priced
    return Opening(
        principal=running.principal,
        call=running.call,
        model=resolved.model.id if resolved else chosen.name[:NAME_MAX_CHARS],
        provider=resolved.model.provider if resolved else None,
        prompt_hash=prompt_hash,
        rules=rules_of(judged),
        budgets=resolved.budgets if resolved else (),
        session=resolved.session if resolved else None,
        refusal=judged.refusal if isinstance(judged, RefusedCall) else None,
        trace=_traced(running.waiter, judged),
        least_of_watched=least_of_watched(judged),
        rates=priced.rates if priced else None,
        started_s=trail.started_s,
        past=trail.past.passing(*(passed_over(refused, name) for name, refused in chosen.passed)),
    )


def _traced(waiter: Waiter, judged: JudgedCall) -> dict[str, Any]:
    """Return the decision trace, with how long the call has waited, and for which limits."""
    trace = decision_trace(judged)
    if waiter.over is not None:
        trace |= explained_rates(
            trace["policies"], (waiter.over.state,), tokens=waiter.over.tokens, over=waiter.over
        )
    if waiter.since_s is None:
        return trace
    waited_for = {
        "for": names_of_limits(judged, waiter.waited_for),
        "for_rates": names_of_rates(judged, waiter.waited_for),
    }
    return trace | {"waited": {"ms": since_ms(waiter.since_s), **waited_for}}


def names_of_limits(judged: JudgedCall, scopes: Collection[str]) -> list[str]:
    """Return the names of the policies and budgets that set the limits with these scopes."""
    limits = (each for each in cost_limits_of(judged) if each.limit.scope in scopes)
    return sorted(each.refuses_by[1] for each in limits if each.refuses_by)


def names_of_rates(judged: JudgedCall, scopes: Collection[str]) -> list[str]:
    """Return the names of the policies of whose rates there are kinds among these scopes."""
    return sorted(
        rate.name
        for rate in rules_of(judged).rates
        if any(is_rate_of(rate.scope, scope) for scope in scopes)
    )
