"""`POST /api/ai/quote`: the same judgement as a request's, without the request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from costs.balances import balances_of
from costs.core.admission import Balance
from costs.core.money import euros
from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from gateway.candidates import candidate
from gateway.core.budgets import refusal_for_budget
from gateway.core.calls import Call, Principal
from gateway.core.errors import GatewayError, Refused
from gateway.core.policy import refusal_for_cost
from gateway.judgement import Judgement, tighten
from gateway.models import AiRequestLog
from gateway.runtime import Gateway
from gateway.snapshot import OrganizationSnapshot, read
from orgs.models import Organization

# What is expected of a model that the organization has not used yet.
EXPECTED_OUTPUT_TOKENS: Final = 256
LOOKED_BACK_AT: Final = 100


async def quote(gateway: Gateway, principal: Principal, call: Call) -> dict[str, Any]:
    """Return what the call would be allowed and hold, judged on live data.

    Raises GatewayError for a call that cannot be judged.
    """
    await gateway.reload(principal)
    organization = await gateway.directory.organization(principal.org_id)
    chosen = await candidate(
        gateway,
        call,
        organization=organization,
        prices=await gateway.directory.prices(),
        alias=organization.alias(call.model),
        counts=True,
    )
    found = chosen.found
    enabled, balances = await read(_live, found)
    refusal = found.refusal
    if not enabled:
        refusal = _switched_off(organization)
    if refusal is None and _too_dear(found, balances) is not None:
        if found.can_be_tightened:
            await tighten(found, call)
        refusal = _too_dear(found, balances)
    if refusal is not None and refusal.status == 400:
        raise refusal
    expected = await read(_expected_output, principal.org_id, found)
    return _body(found, refusal, balances, expected)


def _too_dear(found: Judgement, balances: Sequence[Balance]) -> Refused | None:
    """Return the refusal of the first limit without room: the day's, then the budgets'."""
    bound_nanoeur, now = found.bound_nanoeur or 0, datetime.now(UTC)
    day, *others = balances
    rule = found.organization.daily_rule
    if rule is not None and not day.has_room_for(bound_nanoeur):
        return refusal_for_cost(rule, bound_nanoeur=bound_nanoeur, balance=day, now=now)
    for budget, balance in zip(found.budgets, others, strict=True):
        if not balance.has_room_for(bound_nanoeur):
            return refusal_for_budget(budget, bound_nanoeur=bound_nanoeur, balance=balance, now=now)
    return None


def _switched_off(organization: OrganizationSnapshot) -> Refused:
    sentence = f'AI Gateway is not enabled for organization "{organization.name}"'
    return Refused("gateway_disabled", sentence)


def _live(found: Judgement) -> tuple[bool, tuple[Balance, ...]]:
    """Return whether the organization is on, and the balances of all that the call counts in."""
    row = Organization.objects.get(id=found.organization.id)
    limits = (found.organization.day, *(rule.limit for rule in found.budgets))
    return row.ai_gateway_enabled, balances_of(row, limits, now=datetime.now(UTC))


def _expected_output(org_id: UUID, found: Judgement) -> int:
    """Return the usual output of the organization's last calls to the model, within the cap."""
    if found.model is None or found.cap is None:
        return 0
    latest = (
        AiRequestLog.objects.filter(org_id=org_id, model=found.model.id, status="ok")
        .order_by("-occurred_at")
        .values("output_tokens")[:LOOKED_BACK_AT]
    )
    counts = [row["output_tokens"] for row in latest if row["output_tokens"] is not None]
    expected = round(sum(counts) / len(counts)) if counts else EXPECTED_OUTPUT_TOKENS
    return min(expected, found.cap.tokens)


def _body(
    found: Judgement, refusal: GatewayError | None, balances: Sequence[Balance], expected: int
) -> dict[str, Any]:
    counted = found.counted_tokens
    expected_nanoeur = None
    if found.rates is not None and counted is not None:
        usage = Usage(input_uncached=counted, output_text=expected)
        expected_nanoeur = cost_nanoeur(usage, found.rates)
    return {
        "success": True,
        "allowed": refusal is None,
        "code": refusal.code if refusal else None,
        "error": refusal.message if refusal else None,
        "provider": found.model.provider if found.model else None,
        "model": found.model.id if found.model else None,
        "inputTokens": counted,
        "outputCap": found.cap.tokens if found.cap else None,
        "boundEur": _eur(found.bound_nanoeur),
        "expectedEur": _eur(expected_nanoeur),
        "limits": _limits(found, balances),
    }


def _limits(found: Judgement, balances: Sequence[Balance]) -> list[dict[str, Any]]:
    day, *others = balances
    policies = [
        {"policy": rule.name, **_room(rule.max_cost_per_day_nanoeur, day)}
        for rule in found.organization.rules
        if rule.max_cost_per_day_nanoeur is not None
    ]
    budgets = [
        {"budget": rule.name, "per": rule.span.value, **_room(rule.limit_nanoeur, balance)}
        for rule, balance in zip(found.budgets, others, strict=True)
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
