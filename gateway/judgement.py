"""Judging one request on a snapshot: which model, what the policies say, what it could cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from costs.core.pricing import Rates, bound_nanoeur
from costs.prices import PriceBook
from gateway.core.bounds import (
    NOT_IN_TEXT,
    OutputCap,
    counted_tokens_at_most,
    input_bytes,
    input_tokens_at_most,
    output_cap,
)
from gateway.core.calls import Call
from gateway.core.errors import GatewayError, Refused
from gateway.core.models import Catalog, Model, price_names
from gateway.core.policy import explained, refusal_for_model, refusal_for_tokens
from gateway.snapshot import OrganizationSnapshot
from gateway.tokens import count_messages_async


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is known of a request before money is held for it.

    `refusal` is None when only room is left to be asked for; `bound_nanoeur`, `cap` and `rates`
    are then known. `counted_tokens` is None where nobody needed the count.
    """

    organization: OrganizationSnapshot
    prices: PriceBook
    judged_at: datetime
    model: Model | None = None
    text_bytes: int = 0
    counted_tokens: int | None = None
    cap: OutputCap | None = None
    bound_nanoeur: int | None = None
    is_tight: bool = False
    rates: Rates | None = None
    refusal: GatewayError | None = None

    @property
    def needed_tokens(self) -> int | None:
        """Counted input plus output cap, where they were counted."""
        if self.counted_tokens is None or self.cap is None:
            return None
        return self.counted_tokens + self.cap.tokens

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
            "bound_nanoeur": self.bound_nanoeur,
            "bound_by": "tokens" if self.is_tight else "bytes",
            "policies": explained(
                self.organization.rules, model=self.model, needed_tokens=self.needed_tokens
            ),
            "config_version": self.organization.config_version,
            "rates": self.rates.as_dict() if self.rates else None,
        }


async def judge(
    call: Call,
    *,
    organization: OrganizationSnapshot,
    prices: PriceBook,
    catalog: Catalog,
    counts: bool = False,
) -> Judgement:
    """Judge `call` by the policies: block before allow before tokens; cost is the ledger's.

    Tokens are counted only when a policy limits them, or `counts` asks for it.
    """
    now = datetime.now(UTC)
    found = Judgement(organization=organization, prices=prices, judged_at=now)
    if call.refusal is not None:
        return replace(found, refusal=call.refusal)
    model = catalog.find(call.model)
    if model is None:
        sentence = f'Model "{call.model.strip()}" is not known to this gateway'
        return replace(found, refusal=Refused("unknown_model", sentence, status=400))
    found = replace(found, model=model, text_bytes=input_bytes(call.messages))
    refusal = refusal_for_model(model, named=call.model.strip(), rules=organization.rules)
    if refusal is not None:
        return replace(found, refusal=refusal)
    found = await _with_output_cap(found, call, model, counts=counts)
    if found.needed_tokens is not None:
        refusal = refusal_for_tokens(found.needed_tokens, rules=organization.rules)
        if refusal is not None:
            return replace(found, refusal=refusal)
    rates = prices.rates_for(price_names(model.id), model.provider, now)
    if rates is None:
        sentence = f"Model {model.id} has no price; an administrator must set one"
        return replace(found, refusal=Refused("model_unpriced", sentence))
    at_most = input_tokens_at_most(call.messages, text_bytes=found.text_bytes)
    return _bounded(replace(found, rates=rates), at_most)


async def tightened(found: Judgement, call: Call) -> Judgement:
    """Return the judgement with the closer bound that `can_be_tightened` promises."""
    if found.model is None:
        return found
    counted = found.counted_tokens
    if counted is None:
        counted = await count_messages_async(call.messages, found.model)
    at_most = counted_tokens_at_most(call.messages, counted=counted)
    return replace(_bounded(found, at_most), counted_tokens=counted, is_tight=True)


async def _with_output_cap(
    found: Judgement, call: Call, model: Model, *, counts: bool
) -> Judgement:
    organization = found.organization
    counted = None
    if counts or organization.token_limit is not None:
        counted = await count_messages_async(call.messages, model)
    cap = output_cap(
        model,
        asked_tokens=call.max_tokens,
        input_tokens=counted or 0,
        token_limit=organization.token_limit,
        is_limited=organization.token_limit is not None or organization.daily_rule is not None,
    )
    return replace(found, counted_tokens=counted, cap=cap)


def _bounded(found: Judgement, input_tokens: int) -> Judgement:
    if found.rates is None or found.cap is None:
        return found
    bound = bound_nanoeur(
        input_tokens_at_most=input_tokens,
        output_tokens_at_most=found.cap.tokens,
        rates=found.rates,
        without=NOT_IN_TEXT,
    )
    return replace(found, bound_nanoeur=bound)
