"""The decision trace of a checked call, and what watched policies would have let it hold."""

from __future__ import annotations

from typing import Any

from gateway.call.judgement import bound_within
from gateway.call.stages import BoundedCall, JudgedCall, RefusedCall, cap_tokens, rules_of
from gateway.core import bounds
from gateway.core.usage_bound import BY_BYTES
from gateway.guards.policies import TOO_MANY_TOKENS, explained, smallest_exceeded


def decision_trace(judged: JudgedCall) -> dict[str, Any]:
    """Return the decision trace: what was checked, in order."""
    requested, resolved, capped = judged.requested, judged.resolved, judged.capped
    priced = judged.priced
    call, organization, rules = requested.call, requested.organization, rules_of(judged).rules
    policies = explained(
        rules,
        verdicts=resolved.verdicts if resolved else (),
        dimensions=call.dimensions,
        values=requested.named_by(resolved.model.provider if resolved else None),
        needed_by=capped.needed_by if capped else lambda _: None,
        searches=priced.uses.searches if priced else 0,
    )
    return {
        "model": {
            "requested": call.model,
            "meant": resolved.model.id if resolved else None,
            "provider": resolved.model.provider if resolved else None,
        },
        "input": {
            "bytes": resolved.text_bytes if resolved else 0,
            "counted_tokens": capped.counted_tokens if capped else None,
            "kept_tokens": (
                bounds.kept_tokens(call.usage_bound, resolved.model)
                if resolved and call.usage_bound.kept
                else None
            ),
        },
        "output_cap": cap_tokens(judged),
        "output_cap_by": capped.cap.by if capped and call.usage_bound.output else None,
        "output_cap_asked": call.usage_bound.output and call.usage_bound.output.max_tokens,
        "web_searches": priced.uses.searches if priced else None,
        "unknown": list(call.usage_bound.unknown),
        "adjustments": list(priced.outgoing.adjustments) if priced else [],
        "answers": output.choices if (output := call.usage_bound.output) else 1,
        "bound_nanoeur": judged.bound_nanoeur,
        "bound_by": _bound_by(judged),
        **_slices(judged),
        "policies": policies,
        **_refused_by(judged),
        "policies_left_out": len(rules) - len(policies),
        "policies_of_other_calls": len(organization.rules.rules) - len(rules),
        "config_version": organization.config_version,
    }


def _refused_by(judged: JudgedCall) -> dict[str, Any]:
    """Return the policy that gave the sentence on too many tokens: not the first that refuses."""
    needed = judged.capped.needed if judged.capped else None
    is_refused = isinstance(judged, RefusedCall) and judged.refusal.code == TOO_MANY_TOKENS
    if not is_refused or needed is None:
        return {}
    over = smallest_exceeded(needed, rules_of(judged).rules)
    return {"refused_by": over[3].id} if over else {}


def least_of_watched(judged: JudgedCall) -> dict[str, int]:
    """Return what a call would hold at least if a watched policy with a limit of money were on, in
    nano-euro by the policy's id: its output cap would be lowered to the room.
    """
    if not isinstance(judged, BoundedCall):
        return {}
    output, model = judged.resolved.usage_bound.output, judged.resolved.model
    least: dict[str, int] = {}
    for rule in judged.resolved.rules.watched_costs:
        cap = min(judged.capped.cap_if_on(rule).tokens, bounds.least_cap(output, model))
        least[rule.id] = min(judged.bound_nanoeur, bound_within(judged, cap))
    return least


def _slices(judged: JudgedCall) -> dict[str, Any]:
    """Return how a call is held whose hold grows with its output."""
    bounded = judged.reached if isinstance(judged, RefusedCall) else judged
    if not isinstance(bounded, BoundedCall) or bounded.slice_tokens is None:
        return {}
    return {
        "hold": "slices",
        "slice_tokens": bounded.slice_tokens,
        "whole_bound_nanoeur": bounded.whole_nanoeur,
    }


def _bound_by(judged: JudgedCall) -> str:
    bounded = judged.reached if isinstance(judged, RefusedCall) else judged
    return bounded.bound_by if isinstance(bounded, BoundedCall) else BY_BYTES
