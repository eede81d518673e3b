"""`POST /api/ai/quote`: the same checks as for a request, without sending it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from costs.core.admission import Balance, place_without_room, room_of
from costs.core.money import euros
from costs.core.pricing import cost_nanoeur
from costs.core.rate_limits import RateState, over_rate
from costs.core.usage import Usage
from costs.ledger.balances import balances_of, rates_of
from gateway.call.candidates import candidate
from gateway.call.judgement import within
from gateway.call.reads import read
from gateway.call.reservation import (
    names_of_limits,
    names_of_rates,
    need_of,
    over_rates,
    without_room,
)
from gateway.call.rows import over_rows
from gateway.call.runtime import Gateway
from gateway.call.snapshot import OrganizationSnapshot
from gateway.call.stages import (
    BoundedCall,
    JudgedCall,
    RefusedCall,
    RequestedCall,
    cap_tokens,
    limits_of,
    rules_of,
)
from gateway.core.calls import Call, Principal
from gateway.core.errors import GatewayError, NoRoom, Refused
from gateway.guards.budgets import EACH, BudgetRule
from gateway.guards.rates import refusal_for_rate, shown_rates
from gateway.guards.sessions import PER
from gateway.models import AiRequestLog
from orgs.core.frozen import frozen
from orgs.models import Organization
from orgs.threads import READS

# The expected output of a model that the organization has not used yet.
EXPECTED_OUTPUT_TOKENS: Final = 256
LOOKED_BACK_AT: Final = 100
# What a request with the body would meet.
ADMITTED, WAITS, REFUSED = OUTCOMES = ("admitted", "waits", "refused")


@frozen
class LiveLimits:
    """What a call would meet now: the balances that it counts in, the states of its rates, whether
    the organization is enabled; and the output to expect.
    """

    is_enabled: bool
    balances: tuple[Balance, ...]
    rates: tuple[RateState, ...]
    expected_output: int


async def quote(gateway: Gateway, principal: Principal, call: Call) -> dict[str, Any]:
    """Return whether the call would be allowed and what it would hold, checked on live data.

    Raises GatewayError for a call that cannot be checked.
    """
    organization = await gateway.live_organization_of(principal)
    requested = RequestedCall(
        call=call,
        principal=principal,
        organization=organization,
        prices=await gateway.directory.prices(),
        judged_at=datetime.now(UTC),
        providers=await gateway.providers_of(organization),
        counts=True,
    )
    alias = await over_rows(gateway, requested, organization.alias(call.model))
    chosen = await candidate(gateway, requested, alias=alias)
    live = await read(READS, organization.id, _live, chosen.judged)
    judged: JudgedCall = chosen.judged
    refusal: GatewayError | None = _disabled(organization)
    if live.is_enabled:
        judged, refusal = await _with_room(judged, live, gateway)
    if refusal is not None and refusal.status == 400:
        raise refusal
    return _body(judged, refusal, live) | _outcome(gateway, judged, refusal, live)


async def _with_room(
    judged: JudgedCall, live: LiveLimits, gateway: Gateway
) -> tuple[JudgedCall, GatewayError | None]:
    """Return the call, at a lower bound if it does not fit otherwise, and its refusal."""
    if (
        isinstance(judged, BoundedCall)
        and judged.can_cost_less
        and place_without_room(live.balances, judged.bound_nanoeur) is not None
    ):
        judged = await within(judged, room_of(live.balances))
    if isinstance(judged, RefusedCall):
        return judged, judged.refusal
    return judged, _over_limit(judged, live)


def _outcome(
    gateway: Gateway, judged: JudgedCall, refusal: GatewayError | None, live: LiveLimits
) -> dict[str, Any]:
    """Return whether the call would be admitted, wait or be refused; how long, for which limits.

    It would wait behind calls that wait in this process; those of other processes are not known.
    """
    is_held = isinstance(refusal, NoRoom) and refusal.is_held
    if not isinstance(judged, BoundedCall) or (refusal is not None and not is_held):
        return {"outcome": REFUSED, "waitS": None, "waitsFor": []}
    organization, limits, tokens = (
        judged.requested.organization,
        limits_of(judged),
        judged.capped.rated_tokens,
    )
    seen = {limit.scope: balance for limit, balance in zip(limits, live.balances, strict=True)}
    in_front = gateway.waiting_room.in_front_of(organization.id, need_of(judged).by_scope)
    full = without_room(seen, judged.bound_nanoeur) if judged.bound_nanoeur else {}
    kept_out_by = {**full, **over_rates(live.rates, tokens)} or in_front
    if not kept_out_by:
        return {"outcome": ADMITTED, "waitS": None, "waitsFor": []}
    wait_s, over = need_of(judged, kept_out_by).wait_s, over_rate(live.rates, tokens)
    comes_in_time = wait_s > 0 and (over is None or over.least_wait_s <= wait_s)
    return {
        "outcome": WAITS if comes_in_time else REFUSED,
        "waitS": wait_s,
        "waitsFor": sorted(
            {*names_of_limits(judged, kept_out_by), *names_of_rates(judged, kept_out_by)}
        ),
    }


def _over_limit(bounded: BoundedCall, live: LiveLimits) -> Refused | None:
    """Return the refusal by the limit or the rate that the ledger would name."""
    bound_nanoeur, now = bounded.bound_nanoeur, datetime.now(UTC)
    full = place_without_room(live.balances, bound_nanoeur)
    over = over_rate(live.rates, bounded.capped.rated_tokens)
    if over is not None and (
        full is None or not live.balances[full].is_too_full_for(bound_nanoeur)
    ):
        return refusal_for_rate(over)
    if full is None:
        return None
    limit = bounded.resolved.cost_limits[full]
    return limit.refusal(bound_nanoeur=bound_nanoeur, balance=live.balances[full], now=now)


def _disabled(organization: OrganizationSnapshot) -> Refused:
    sentence = f'AI Gateway is not enabled for organization "{organization.name}"'
    return Refused("gateway_disabled", sentence)


def _live(judged: JudgedCall) -> LiveLimits:
    organization, now = judged.requested.organization, datetime.now(UTC)
    row = Organization.objects.get(id=organization.id)
    return LiveLimits(
        is_enabled=row.ai_gateway_enabled,
        balances=balances_of(row, limits_of(judged), now=now),
        rates=rates_of(row.id, rules_of(judged).rates, now=now),
        expected_output=_expected_output(judged),
    )


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


def _body(judged: JudgedCall, refusal: GatewayError | None, live: LiveLimits) -> dict[str, Any]:
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
        "expectedEur": _eur(_expected_nanoeur(judged, live.expected_output)),
        "limits": _limits(judged, live.balances) + _rates(judged, live.rates),
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
    resolved, rules = judged.resolved, rules_of(judged)
    days, others = balances[: len(rules.days)], balances[len(rules.days) :]
    by_scope = {day.scope: balance for day, balance in zip(rules.days, days, strict=True)}
    policies = [
        {"policy": rule.name, **_room(rule.max_cost_per_day_nanoeur, by_scope[rule.cost_scope])}
        for rule in rules.enforced
        if rule.max_cost_per_day_nanoeur is not None
    ]
    budgets = [
        {"budget": rule.name, "per": rule.span.value, **_whose(rule), **_room_of(rule, balance)}
        for rule, balance in zip(resolved.budgets if resolved else (), others, strict=False)
    ]
    session = resolved.session if resolved else None  # its balance is the last
    if session is not None and session.limit_nanoeur is not None and session.refuses_by:
        room = _room(session.limit_nanoeur, others[-1])
        budgets.append({"policy": session.refuses_by[1], "per": PER, **room})
    return policies + budgets


def _rates(judged: JudgedCall, states: Sequence[RateState]) -> list[dict[str, Any]]:
    tokens = judged.capped.rated_tokens if judged.capped else 0
    return [
        {
            "policy": state.limit.name,
            "of": shown["of"],
            "limit": shown["limit"],
            "used": shown["used"],
            "availableInS": shown["available_in_s"],
        }
        for state in states
        if not state.limit.is_watched
        for shown in shown_rates(state, tokens)
    ]


def _whose(rule: BudgetRule) -> dict[str, str]:
    """Return whose part of a budget it is, if it has parts."""
    if rule.value is None:
        return {}
    return {"each": EACH[rule.each], "for": rule.value_name or rule.value}


def _room_of(rule: BudgetRule, balance: Balance) -> dict[str, float | None]:
    """Return what is left of a budget; of one that only warns, of its own limit."""
    enforced = balance.limit_nanoeur
    return _room(rule.limit_nanoeur if enforced is None else enforced, balance)


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
