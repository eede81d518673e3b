"""Judging one request on a snapshot: which model, what the policies say, what it could cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from costs.core.pricing import Rates, bound_nanoeur
from costs.prices import PriceBook
from gateway.core import bounds
from gateway.core.calls import Call, Outgoing
from gateway.core.demand import OutputCap
from gateway.core.errors import GatewayError, Refused
from gateway.core.models import Catalog, Model, price_names
from gateway.core.policy import explained, refusal_for_model, refusal_for_tokens
from gateway.snapshot import OrganizationSnapshot
from gateway.tokens import count_demand_async


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is known of a request before money is held for it.

    `refusal` is None when only room is left to be asked for; `bound_nanoeur`, `cap`, `rates` and
    `outgoing` are then known. `counted_tokens` is None where nobody needed the count; it is
    `counted_text` and what is not text.
    """

    organization: OrganizationSnapshot
    prices: PriceBook
    judged_at: datetime
    model: Model | None = None
    text_bytes: int = 0
    counted_text: int | None = None
    counted_tokens: int | None = None
    cap: OutputCap | None = None
    outgoing: Outgoing | None = None
    bound_nanoeur: int | None = None
    is_tight: bool = False
    rates: Rates | None = None
    refusal: GatewayError | None = None

    def needed_tokens(self, call: Call) -> int | None:
        """Counted input plus the output of all answers, where they were counted."""
        if self.counted_tokens is None or self.cap is None:
            return None
        return self.counted_tokens + self.cap.tokens * call.demand.answers

    @property
    def can_be_tightened(self) -> bool:
        """Whether a closer bound may be had: only a vendor's own tokenizer is below the bytes."""
        return (
            self.refusal is None
            and not self.is_tight
            and self.model is not None
            and self.model.token_margin == 1.0
        )

    def trace(self, call: Call) -> dict[str, Any]:
        """Return the decision trace: what was looked at, in the order it was looked at."""
        return {
            "model": {
                "requested": call.model,
                "meant": self.model.id if self.model else None,
                "provider": self.model.provider if self.model else None,
            },
            "input": {"bytes": self.text_bytes, "counted_tokens": self.counted_tokens},
            "output_cap": self.cap.tokens if self.cap else None,
            "answers": call.demand.answers,
            "bound_nanoeur": self.bound_nanoeur,
            "bound_by": "tokens" if self.is_tight else "bytes",
            "policies": explained(
                self.organization.rules, model=self.model, needed_tokens=self.needed_tokens(call)
            ),
            "config_version": self.organization.config_version,
        }


async def judge(  # noqa: PLR0913  keyword-only: what a request is judged by
    call: Call,
    *,
    named: str,
    organization: OrganizationSnapshot,
    prices: PriceBook,
    catalog: Catalog,
    timeout_s: float,
    counts: bool = False,
) -> Judgement:
    """Judge `call` to the model `named`: block before allow before tokens; cost is the ledger's.

    Tokens are counted only when a policy limits them, or `counts` asks for it.
    """
    now = datetime.now(UTC)
    found = Judgement(organization=organization, prices=prices, judged_at=now)
    if call.refusal is not None:
        return replace(found, refusal=call.refusal)
    model = catalog.find(named)
    if model is None:
        sentence = f'Model "{named.strip()}" is not known to this gateway'
        return replace(found, refusal=Refused("unknown_model", sentence, status=400))
    found = replace(found, model=model, text_bytes=bounds.text_bytes(call.demand))
    refusal = refusal_for_model(model, named=named.strip(), rules=organization.rules)
    if refusal is not None:
        return replace(found, refusal=refusal)
    found = await _with_output_cap(found, call, model, counts=counts)
    refusal = _refusal_for_tokens(found, call)
    if refusal is not None:
        return replace(found, refusal=refusal)
    return _priced(_with_outgoing(found, call, model, timeout_s=timeout_s), call, model)


async def tightened(found: Judgement, call: Call) -> Judgement:
    """Return the judgement with the closer bound that `can_be_tightened` promises."""
    if found.model is None:
        return found
    counted = found.counted_text
    if counted is None:
        counted = await count_demand_async(call.demand, found.model)
    at_most = bounds.counted_tokens_at_most(call.demand, found.model, counted=counted)
    tight = _bounded(found, call, at_most)
    tokens = bounds.counted_tokens(call.demand, found.model, counted=counted)
    return replace(tight, counted_text=counted, counted_tokens=tokens, is_tight=True)


async def _with_output_cap(
    found: Judgement, call: Call, model: Model, *, counts: bool
) -> Judgement:
    organization, demand = found.organization, call.demand
    text = tokens = None
    if counts or (organization.token_limit is not None and not demand.is_free):
        text = await count_demand_async(demand, model)
        tokens = bounds.counted_tokens(demand, model, counted=text)
    cap = bounds.output_cap(
        model,
        demand=demand,
        input_tokens=tokens or 0,
        token_limit=organization.token_limit,
        is_limited=organization.is_limited,
    )
    return replace(found, counted_text=text, counted_tokens=tokens, cap=cap)


def _refusal_for_tokens(found: Judgement, call: Call) -> Refused | None:
    needed = found.needed_tokens(call)
    if needed is None or call.demand.is_free:
        return None
    return refusal_for_tokens(needed, rules=found.organization.rules)


def _with_outgoing(found: Judgement, call: Call, model: Model, *, timeout_s: float) -> Judgement:
    if found.cap is None:
        return found
    try:
        outgoing = call.form.outgoing(model, found.cap, timeout_s=timeout_s)
    except Refused as exc:
        return replace(found, refusal=exc)
    return replace(found, outgoing=outgoing)


def _priced(found: Judgement, call: Call, model: Model) -> Judgement:
    if found.refusal is not None:
        return found
    if call.demand.is_free:
        return replace(found, bound_nanoeur=0, is_tight=True)
    rates = found.prices.rates_for(price_names(model.id), model.provider, found.judged_at)
    if rates is None:
        sentence = f"Model {model.id} has no price; an administrator must set one"
        return replace(found, refusal=Refused("model_unpriced", sentence))
    at_most = bounds.input_tokens_at_most(call.demand, model, text_bytes=found.text_bytes)
    return _bounded(replace(found, rates=rates), call, at_most)


def _bounded(found: Judgement, call: Call, input_tokens: int) -> Judgement:
    if found.rates is None or found.cap is None:
        return found
    demand = call.demand
    why = demand.unbounded
    if why is not None and found.organization.is_limited:
        return replace(found, refusal=Refused("invalid_request", why, status=400))
    bound = bound_nanoeur(
        input_tokens_at_most=input_tokens,
        output_tokens_at_most=bounds.output_tokens_at_most(demand, found.cap),
        rates=found.rates,
        service_tier=demand.service_tier,
        web_searches_at_most=demand.searches,
        without=bounds.not_possible(demand),
    )
    return replace(found, bound_nanoeur=bound)
