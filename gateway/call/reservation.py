"""Request a hold for a checked call from the ledger, or only a refusal's audit row."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from costs.core.admission import InsufficientRoom, ReserveRequest, ReserveResult
from costs.core.rates import FREE
from costs.ledger.writer import LedgerUnavailable, OrganizationLocked
from gateway.call.call_stream import CallStream
from gateway.call.candidates import Candidate
from gateway.call.fingerprints import Fingerprints, fingerprints_of
from gateway.call.journal import Opening
from gateway.call.judgement import within
from gateway.call.runtime import Gateway
from gateway.call.settlement.settle import passed_over
from gateway.call.stages import BoundedCall, RefusedCall, decision_trace
from gateway.core.attempts import Trail
from gateway.core.calls import Call, Principal, ProviderCall
from gateway.core.errors import Refused
from gateway.core.model_names import NAME_MAX_CHARS
from orgs.core.frozen import frozen
from orgs.fields import new_id

# After a disconnect, if the organization chose exact charges: how long reading continues.
DRAIN_MAX_S: Final = 60.0
# A hold outlives its call by this much, so that the reaper never settles a running one.
DEADLINE_MARGIN_S: Final = 30.0
RESERVE_TRIES_MAX: Final = 4


@frozen
class RunningCall:
    """One running request: its caller and call, its client's stream, its attempts so far."""

    gateway: Gateway
    principal: Principal
    call: Call
    stream: CallStream
    trail: Trail


async def reserve(
    running: RunningCall, chosen: Candidate
) -> tuple[Candidate, ReserveRequest, ReserveResult]:
    """Request a hold from the ledger; without room, again with a lower bound.

    Other calls may take the room meanwhile, so the last try is with the lowest bound. Each is
    decided by the ledger alone.
    """
    if isinstance(chosen.judged, BoundedCall):
        bounded = chosen.judged
        if isinstance(bounded.priced.outgoing, ProviderCall):
            # A vendor's SDK takes seconds to import: do it before the hold and its deadline start.
            await running.gateway.providers.get(bounded.resolved.model.provider)
    keyed = chosen.judged.requested.organization.prompt_mac
    fingerprints = await fingerprints_of(keyed, running.principal, running.call)
    tries_left, limits = RESERVE_TRIES_MAX, running.gateway.providers.limits
    while True:
        ask = _request(running, chosen, fingerprints)
        answer = await _reserved(running, ask)
        judged = chosen.judged
        if (
            not isinstance(answer, InsufficientRoom)
            or not isinstance(judged, BoundedCall)
            or not judged.can_cost_less
        ):
            return chosen, ask, answer
        tries_left -= 1
        room_nanoeur = answer.room_nanoeur if tries_left > 1 else 0
        lower = await within(judged, room_nanoeur, limits=limits)
        chosen = replace(chosen, judged=lower)


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
    total_s = running.gateway.providers.limits(opening.provider).total_s
    return ReserveRequest(
        id=new_id(),
        request_id=running.stream.request_id,
        org_id=organization.id,
        config_version=organization.config_version,
        prices_version=prices.version,
        amount_nanoeur=bounded.bound_nanoeur if bounded else None,
        limits=(organization.day, *(rule.limit for rule in opening.budgets)),
        deadline_s=total_s + DRAIN_MAX_S + DEADLINE_MARGIN_S,
        charge_to={
            "model": opening.model,
            "provider": opening.provider,
            **running.call.dimensions.as_dict(),
            "key_id": str(principal.key_id) if principal.key_id else None,
        },
        rates=opening.rates.card if opening.rates else FREE,
        repeat=fingerprints.repeat if keeps_key else None,
        record_if_full=bounded is None or not bounded.can_cost_less,
        entry=opening,
    )


def _opening(running: RunningCall, chosen: Candidate, prompt_hash: str) -> Opening:
    """Return the initial state of the audit row."""
    judged, trail = chosen.judged, running.trail
    resolved, priced = judged.resolved, judged.priced
    organization = judged.requested.organization
    return Opening(
        principal=running.principal,
        call=running.call,
        model=resolved.model.id if resolved else chosen.name[:NAME_MAX_CHARS],
        provider=resolved.model.provider if resolved else None,
        prompt_hash=prompt_hash,
        daily_rule=organization.daily_rule,
        budgets=resolved.budgets if resolved else (),
        refusal=judged.refusal if isinstance(judged, RefusedCall) else None,
        trace=decision_trace(judged),
        rates=priced.rates if priced else None,
        started_s=trail.started_s,
        past=trail.past.passing(*(passed_over(refused, name) for name, refused in chosen.passed)),
    )
