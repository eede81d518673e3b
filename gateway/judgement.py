"""Judging one request on a snapshot: which model, what the policies say, what it could cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from costs.core.pricing import Rates, bound_nanoeur
from costs.prices import PriceBook
from gateway.core import bounds
from gateway.core.budgets import BudgetRule
from gateway.core.calls import Call, Outgoing
from gateway.core.demand import Demand, OutputCap
from gateway.core.errors import GatewayError, Refused
from gateway.core.models import Catalog, Model, price_names
from gateway.core.policy import explained, refusal_for_model, refusal_for_tokens
from gateway.snapshot import OrganizationSnapshot
from gateway.tokens import count_at_most, count_demand_async


@dataclass(slots=True, kw_only=True)
class Judgement:
    """What is known of a request before money is held for it; filled in as it is judged.

    `refusal` is None when only room is left to be asked for; `bound_nanoeur`, `cap`, `rates` and
    `outgoing` are then known. `counted_tokens` is None where nobody needed the count; it is
    `counted_text` and what is not text. `verdicts` are the policies' on the model, `budgets` those
    that the call counts in.
    """

    organization: OrganizationSnapshot
    prices: PriceBook
    judged_at: datetime
    model: Model | None = None
    verdicts: tuple[str, ...] = ()
    text_bytes: int = 0
    counted_text: int | None = None
    counted_tokens: int | None = None
    cap: OutputCap | None = None
    outgoing: Outgoing | None = None
    bound_nanoeur: int | None = None
    is_tight: bool = False
    rates: Rates | None = None
    budgets: tuple[BudgetRule, ...] = ()
    refusal: GatewayError | None = None

    @property
    def is_limited(self) -> bool:
        """Whether a limit applies to the call, so that it needs a bound."""
        return self.organization.is_limited or any(rule.is_hard for rule in self.budgets)

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
        rules = self.organization.rules
        policies = explained(rules, verdicts=self.verdicts, needed_tokens=self.needed_tokens(call))
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
            "policies": policies,
            "policies_left_out": len(rules) - len(policies),
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
    found = Judgement(organization=organization, prices=prices, judged_at=datetime.now(UTC))
    found.refusal = call.refusal or _refusal_for_model(found, call, named, catalog)
    model = found.model
    if found.refusal is not None or model is None:
        return found
    await _cap_output(found, call, model, counts=counts)
    found.refusal = _refusal_for_tokens(found, call)
    if found.refusal is None:
        found.refusal = _refusal_to_send(found, call, model, timeout_s=timeout_s)
    if found.refusal is None:
        found.refusal = _refusal_for_price(found, call, model)
    return found


async def tighten(found: Judgement, call: Call) -> None:
    """Find the closer bound that `can_be_tightened` promises."""
    if found.model is None:
        return
    if found.counted_text is None:
        found.counted_text = await count_demand_async(call.demand, found.model)
    counted = found.counted_text
    found.counted_tokens = bounds.counted_tokens(call.demand, found.model, counted=counted)
    found.is_tight = True
    _bound(found, call, bounds.counted_tokens_at_most(call.demand, found.model, counted=counted))


def _refusal_for_model(
    found: Judgement, call: Call, named: str, catalog: Catalog
) -> Refused | None:
    model = catalog.find(named)
    if model is None:
        sentence = f'Model "{named.strip()}" is not known to this gateway'
        return Refused("unknown_model", sentence, status=400)
    organization = found.organization
    found.model, found.text_bytes = model, bounds.text_bytes(call.demand)
    found.verdicts = organization.verdicts_on(model)
    if organization.budgets.rules:
        found.budgets = organization.budgets_of(model, call.dimensions.as_dict())
    return refusal_for_model(found.verdicts, named=named.strip(), rules=organization.rules)


async def _cap_output(found: Judgement, call: Call, model: Model, *, counts: bool) -> None:
    demand, limit = call.demand, found.organization.token_limit
    if counts or (limit is not None and not _fits_surely(found, demand, model, limit)):
        found.counted_text = await count_demand_async(demand, model)
        found.counted_tokens = bounds.counted_tokens(demand, model, counted=found.counted_text)
    found.cap = bounds.output_cap(
        model,
        demand=demand,
        input_tokens=found.counted_tokens or 0,
        token_limit=limit,
        is_limited=found.is_limited,
    )


def _fits_surely(found: Judgement, demand: Demand, model: Model, limit: int) -> bool:
    """Whether no count could reach the limit: to count takes 40 us, and a tokenizer 70 MB."""
    if demand.is_free:
        return True
    if demand.max_output_tokens is None and demand.has_output:
        return False  # the cap is made of the count
    asked = (demand.max_output_tokens or 0) * demand.answers
    at_most = count_at_most(demand, model, text_bytes=found.text_bytes)
    return bounds.counted_tokens(demand, model, counted=at_most) + asked <= limit


def _refusal_for_tokens(found: Judgement, call: Call) -> Refused | None:
    needed = found.needed_tokens(call)
    if needed is None or call.demand.is_free:
        return None
    return refusal_for_tokens(needed, rules=found.organization.rules)


def _refusal_to_send(
    found: Judgement, call: Call, model: Model, *, timeout_s: float
) -> Refused | None:
    if found.cap is None:
        raise AssertionError("what may be sent has a cap")
    try:
        found.outgoing = call.form.outgoing(model, found.cap, timeout_s=timeout_s)
    except Refused as exc:
        return exc
    return None


def _refusal_for_price(found: Judgement, call: Call, model: Model) -> Refused | None:
    if call.demand.is_free:
        found.bound_nanoeur, found.is_tight = 0, True
        return None
    found.rates = found.prices.rates_for(price_names(model.id), model.provider, found.judged_at)
    if found.rates is None:
        sentence = f"Model {model.id} has no price; an administrator must set one"
        return Refused("model_unpriced", sentence)
    why = call.demand.unbounded
    if why is not None and found.is_limited:
        return Refused("invalid_request", why, status=400)
    at_most = bounds.input_tokens_at_most(call.demand, model, text_bytes=found.text_bytes)
    _bound(found, call, at_most)
    return None


def _bound(found: Judgement, call: Call, input_tokens: int) -> None:
    if found.rates is None or found.cap is None:
        return
    demand = call.demand
    found.bound_nanoeur = bound_nanoeur(
        input_tokens_at_most=input_tokens,
        output_tokens_at_most=bounds.output_tokens_at_most(demand, found.cap),
        rates=found.rates,
        service_tier=demand.service_tier,
        web_searches_at_most=demand.searches,
        without=bounds.not_possible(demand),
    )
