"""`POST /api/ai/quote`: the same checks as for a request, without sending it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from costs.core.admission import Balance, place_without_room, room_of
from costs.core.money import euros
from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from costs.ledger.balances import balances_of
from gateway.call.candidates import candidate
from gateway.call.judgement import within
from gateway.call.reads import read
from gateway.call.runtime import Gateway
from gateway.call.snapshot import OrganizationSnapshot
from gateway.call.stages import (
    BoundedCall,
    JudgedCall,
    RefusedCall,
    RequestedCall,
    cap_tokens,
)
from gateway.core.calls import Call, Principal
from gateway.core.errors import GatewayError, Refused
from gateway.guards.budgets import BudgetRule, refusal_for_budget
from gateway.guards.policies import refusal_for_cost
from gateway.models import AiRequestLog
from orgs.models import Organization
from orgs.threads import READS

# The expected output of a model that the organization has not used yet.
EXPECTED_OUTPUT_TOKENS: Final = 256
LOOKED_BACK_AT: Final = 100


async def quote(gateway: Gateway, principal: Principal, call: Call) -> dict[str, Any]:
    """Return whether the call would be allowed and what it would hold, checked on live data.

    Raises GatewayError for a call that cannot be checked.
    """
    organization = await gateway.live_organization_of(principal)
    requested = RequestedCall(
        call=call,
        organization=organization,
        prices=await gateway.directory.prices(),
        judged_at=datetime.now(UTC),
        places=gateway.providers.places,
        counts=True,
    )
    chosen = await candidate(gateway, requested, alias=organization.alias(call.model))
    enabled, balances, expected = await read(READS, organization.id, _live, chosen.judged)
    judged: JudgedCall = chosen.judged
    refusal: GatewayError | None = _disabled(organization)
    if enabled:
        judged, refusal = await _with_room(judged, balances, gateway)
    if refusal is not None and refusal.status == 400:
        raise refusal
    return _body(judged, refusal, balances, expected)


async def _with_room(
    judged: JudgedCall, balances: Sequence[Balance], gateway: Gateway
) -> tuple[JudgedCall, GatewayError | None]:
    """Return the call, at a lower bound if it does not fit otherwise, and its refusal."""
    if (
        isinstance(judged, BoundedCall)
        and judged.can_cost_less
        and _over_limit(judged, balances) is not None
    ):
        judged = await within(judged, room_of(balances), limits=gateway.providers.limits)
    if isinstance(judged, RefusedCall):
        return judged, judged.refusal
    return judged, _over_limit(judged, balances)


def _over_limit(bounded: BoundedCall, balances: Sequence[Balance]) -> Refused | None:
    """Return the refusal by the limit without room that the ledger would name."""
    bound_nanoeur, now = bounded.bound_nanoeur, datetime.now(UTC)
    full = place_without_room(balances, bound_nanoeur)
    if full is None:
        return None
    balance, rule = balances[full], bounded.requested.organization.daily_rule
    if full == 0 and rule is not None:
        return refusal_for_cost(rule, bound_nanoeur=bound_nanoeur, balance=balance, now=now)
    budget = bounded.resolved.budgets[full - 1]
    return refusal_for_budget(budget, bound_nanoeur=bound_nanoeur, balance=balance, now=now)


def _disabled(organization: OrganizationSnapshot) -> Refused:
    sentence = f'AI Gateway is not enabled for organization "{organization.name}"'
    return Refused("gateway_disabled", sentence)


def _live(judged: JudgedCall) -> tuple[bool, tuple[Balance, ...], int]:
    """Return whether the organization is enabled, the balances that the call counts in, and the
    output to expect.
    """
    organization = judged.requested.organization
    row = Organization.objects.get(id=organization.id)
    limits = (organization.day, *(rule.limit for rule in _budgets(judged)))
    balances = balances_of(row, limits, now=datetime.now(UTC))
    return row.ai_gateway_enabled, balances, _expected_output(judged)


def _budgets(judged: JudgedCall) -> tuple[BudgetRule, ...]:
    return judged.resolved.budgets if judged.resolved else ()


def _expected_output(judged: JudgedCall) -> int:
    """Return the mean output of the organization's last calls to the model, within the cap."""
    capped = judged.capped
    if capped is None:
        return 0
    org_id, model = judged.requested.organization.id, capped.resolved.model
    latest = (
        AiRequestLog.objects.filter(org_id=org_id, model=model.id, status="ok")
        .order_by("-occurred_at")
        .values("output_tokens")[:LOOKED_BACK_AT]
    )
    counts = [row["output_tokens"] for row in latest if row["output_tokens"] is not None]
    expected = round(sum(counts) / len(counts)) if counts else EXPECTED_OUTPUT_TOKENS
    return min(expected, capped.cap.tokens)


def _body(
    judged: JudgedCall,
    refusal: GatewayError | None,
    balances: Sequence[Balance],
    expected_output: int,
) -> dict[str, Any]:
    resolved, capped = judged.resolved, judged.capped
    return {
        "success": True,
        "allowed": refusal is None,
        "code": refusal.code if refusal else None,
        "error": refusal.message if refusal else None,
        "provider": resolved.model.provider if resolved else None,
        "model": resolved.model.id if resolved else None,
        "inputTokens": capped.counted_tokens if capped else None,
        "outputCap": cap_tokens(judged),
        "boundEur": _eur(judged.bound_nanoeur),
        "expectedEur": _eur(_expected_nanoeur(judged, expected_output)),
        "limits": _limits(judged, balances),
    }


def _expected_nanoeur(judged: JudgedCall, expected_output: int) -> int | None:
    priced = judged.priced
    if priced is None or priced.rates is None or priced.capped.counted_tokens is None:
        return None
    resolved = priced.capped.resolved
    usage = Usage(
        input_uncached=priced.capped.counted_tokens,
        output_text=expected_output,
        service_tier=resolved.usage_bound.service_tier,
        place=resolved.place(),
    )
    return cost_nanoeur(usage, priced.rates)


def _limits(judged: JudgedCall, balances: Sequence[Balance]) -> list[dict[str, Any]]:
    day, *others = balances
    policies = [
        {"policy": rule.name, **_room(rule.max_cost_per_day_nanoeur, day)}
        for rule in judged.requested.organization.rules
        if rule.max_cost_per_day_nanoeur is not None
    ]
    budgets = [
        {"budget": rule.name, "per": rule.span.value, **_room(rule.limit_nanoeur, balance)}
        for rule, balance in zip(_budgets(judged), others, strict=True)
    ]
    return policies + budgets


def _room(limit_nanoeur: int, balance: Balance) -> dict[str, float | None]:
    spent = balance.charged_nanoeur + balance.held_nanoeur
    return {
        "limitEur": _eur(limit_nanoeur),
        "chargedEur": _eur(balance.charged_nanoeur),
        "heldEur": _eur(balance.held_nanoeur),
        "leftEur": _eur(max(0, limit_nanoeur - spent)),
    }


def _eur(nanoeur: int | None) -> float | None:
    return None if nanoeur is None else float(euros(nanoeur))
