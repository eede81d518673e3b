"""Build the ledger request of a checked call: a hold, or only a refusal's audit row."""

from __future__ import annotations

from typing import Final

from costs.core.admission import ReserveRequest
from costs.core.rates import FREE
from gateway.call.call_stream import CallStream
from gateway.call.candidates import Candidate
from gateway.call.fingerprints import Fingerprints
from gateway.call.journal import Opening
from gateway.call.runtime import Gateway
from gateway.call.settlement.settle import passed_over
from gateway.call.stages import BoundedCall, RefusedCall, decision_trace
from gateway.core.attempts import Trail
from gateway.core.calls import Call, Principal
from gateway.core.model_names import NAME_MAX_CHARS
from orgs.core.frozen import frozen
from orgs.fields import new_id

# After a disconnect, if the organization chose exact charges: how long reading continues.
DRAIN_MAX_S: Final = 60.0
# A hold outlives its call by this much, so that the reaper never settles a running one.
DEADLINE_MARGIN_S: Final = 30.0


@frozen
class RunningCall:
    """One running request: its caller and call, its client's stream, its attempts so far."""

    gateway: Gateway
    principal: Principal
    call: Call
    stream: CallStream
    trail: Trail


def reserve_request(
    running: RunningCall, chosen: Candidate, fingerprints: Fingerprints
) -> ReserveRequest:
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
        record_if_full=bounded is None or not bounded.can_be_tightened,
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
