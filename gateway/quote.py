"""`POST /api/ai/quote`: the same judgement as a request's, without the request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from costs.balances import balance_of
from costs.core.admission import Balance
from costs.core.money import euros
from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from gateway.candidates import candidate
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
    enabled, balance = await read(_live, organization)
    refusal = found.refusal
    if not enabled:
        refusal = _switched_off(organization)
    if refusal is None and balance is not None and not _fits(found, balance):
        if found.can_be_tightened:
            await tighten(found, call)
        if not _fits(found, balance):
            refusal = _too_dear(found, balance)
    if refusal is not None and refusal.status == 400:
        raise refusal
    expected = await read(_expected_output, principal.org_id, found)
    return _body(found, refusal, balance, expected)


def _fits(found: Judgement, balance: Balance) -> bool:
    return found.bound_nanoeur is None or balance.has_room_for(found.bound_nanoeur)


def _too_dear(found: Judgement, balance: Balance) -> Refused | None:
    rule = found.organization.daily_rule
    if rule is None:
        return None
    return refusal_for_cost(
        rule, bound_nanoeur=found.bound_nanoeur or 0, balance=balance, now=datetime.now(UTC)
    )


def _switched_off(organization: OrganizationSnapshot) -> Refused:
    sentence = f'AI Gateway is not enabled for organization "{organization.name}"'
    return Refused("gateway_disabled", sentence)


def _live(organization: OrganizationSnapshot) -> tuple[bool, Balance]:
    row = Organization.objects.get(id=organization.id)
    balance = balance_of(row, limit_nanoeur=organization.limit_nanoeur, now=datetime.now(UTC))
    return row.ai_gateway_enabled, balance


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
    found: Judgement, refusal: GatewayError | None, balance: Balance | None, expected: int
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
        "limits": _limits(found.organization, balance),
    }


def _limits(organization: OrganizationSnapshot, balance: Balance | None) -> list[dict[str, Any]]:
    if balance is None:
        return []
    spent = balance.charged_nanoeur + balance.held_nanoeur
    return [
        {
            "policy": rule.name,
            "limitEur": _eur(rule.max_cost_per_day_nanoeur),
            "chargedEur": _eur(balance.charged_nanoeur),
            "heldEur": _eur(balance.held_nanoeur),
            "leftEur": _eur(max(0, rule.max_cost_per_day_nanoeur - spent)),
        }
        for rule in organization.rules
        if rule.max_cost_per_day_nanoeur is not None
    ]


def _eur(nanoeur: int | None) -> float | None:
    return None if nanoeur is None else float(euros(nanoeur))
