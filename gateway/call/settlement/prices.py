"""What a call cost: by its usage, else the most that it can have cost by what was seen."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from costs.core.money import MAX_NANOEUR
from costs.core.pricing import UsagePrice, bound_of, price_of
from costs.core.rates import Rates
from costs.core.usage import COUNT_MAX, Usage
from gateway.call.settlement.held_call import HeldCall
from gateway.call.slices.text_tokens import text_tokens
from gateway.core import bounds
from gateway.core.calls import Completion
from gateway.core.errors import FailedAnswer, ProviderFailed
from gateway.core.model_names import price_names
from gateway.core.usage_bound import OutputLimits
from gateway.providers.tokens import count_tokens_async
from orgs.core.frozen import frozen

logger = logging.getLogger("pulse.gateway")


def placed(usage: Usage | None, held: HeldCall) -> Usage | None:
    """Return the usage where it was processed: as the vendor reports, else as it was asked for."""
    if usage is None or usage.place == (place := held.bounded.resolved.place(usage.place)):
        return usage
    return replace(usage, place=place)


def priced_usage(
    held: HeldCall, model: str, usage: Usage | None
) -> tuple[Rates | None, UsagePrice | None]:
    """Return the rates and the price of the usage.

    A price that cannot be computed, or is no amount, is unknown: the client gets the answer that
    the provider was paid for, and the whole hold is charged.
    """
    request_id = held.ask.request_id
    try:
        rates = _rates(held, model)
        price = _price(usage, rates)
    except Exception:
        logger.exception("request %s: its price cannot be computed", request_id)
        return held.bounded.priced.rates, None
    if price is not None and not 0 <= price.nanoeur <= MAX_NANOEUR:
        logger.error("request %s: %d nano-euro is not a price", request_id, price.nanoeur)
        return rates, None
    return rates, price


def _price(usage: Usage | None, rates: Rates | None) -> UsagePrice | None:
    """Return the price of the usage: 0 for a free call, which has no rates."""
    if usage is None:
        return None
    return price_of(usage, rates) if rates else UsagePrice(0)


def charge_of(price: UsagePrice | None, held: HeldCall) -> int | None:
    """Return what is charged: of what has no price of its own not less than the hold."""
    if price is None:
        return None
    return max(price.nanoeur, held.amount_nanoeur) if price.unpriced else price.nanoeur


def _rates(held: HeldCall, model: str) -> Rates | None:
    """Return the rates at admission of the model that answered, else of the requested one."""
    rates, resolved = held.bounded.priced.rates, held.bounded.resolved
    if rates is None:
        return None
    prices, judged_at = resolved.requested.prices, resolved.requested.judged_at
    return prices.rates_for(price_names(model), resolved.model.provider, judged_at) or rates


def answer_of(ended: Completion | ProviderFailed) -> Completion | None:
    """Return the answer whose usage is billed: also one that the provider ended with an error."""
    if isinstance(ended, FailedAnswer):
        return ended.completion
    return ended if isinstance(ended, Completion) else None


def is_unknown(ended: Completion | ProviderFailed) -> bool:
    """Whether the call was sent, and its usage is not known."""
    if (answer := answer_of(ended)) is not None:
        return answer.usage is None
    return isinstance(ended, ProviderFailed) and not ended.nothing_billed


@frozen
class SeenCost:
    """The most that an answer can have cost by what was seen of it."""

    nanoeur: int
    input_tokens: int
    output_tokens: int


async def seen_cost(held: HeldCall, ended: Completion | ProviderFailed) -> SeenCost | None:
    """Return the most that an answer of unknown usage can have cost; None if nothing was seen.

    Input is what the provider reported, else as it is counted; after each use of a tool at the
    provider the whole context is read once more, as often as the request allows.
    """
    priced = held.bounded.priced
    if not is_unknown(ended) or not held.seen.has_begun or not priced.rates:
        return None
    try:
        return await _seen_cost(held, priced.rates, priced.outgoing.output or OutputLimits())
    except Exception:
        logger.exception(
            "request %s: what was seen of it cannot be priced; its hold is charged",
            held.ask.request_id,
        )
        return None


async def _seen_cost(held: HeldCall, rates: Rates, output: OutputLimits) -> SeenCost | None:
    seen, priced = held.seen, held.bounded.priced
    resolved, now_s = held.bounded.resolved, time.monotonic()
    text = await text_tokens(held.bounded, seen, seen.text.kept)
    thoughts = await text_tokens(held.bounded, seen, seen.thoughts.kept)
    produced = seen.output_tokens_at_most(
        text=text,
        thoughts=thoughts,
        tokens_per_s=bounds.tokens_per_s(resolved.model, resolved.usage_bound.service_tier),
        now_s=now_s,
    )
    reported = placed(seen.usage, held) or Usage(input_uncached=await _input_at_most(held))
    read_again = _read_again(held, reported.input_tokens)
    most = priced.ceiling(input_tokens=reported.input_tokens + read_again)
    if seen.usage is None:
        produced += output.predicted_tokens * output.choices
    output_tokens = max(reported.output_tokens, min(most.output_tokens, produced))
    begun = seen.searches + 1 if seen.shows_tools else COUNT_MAX
    searches = min(most.web_searches, begun)
    previews = min(most.web_search_previews, begun)
    most = replace(
        most,
        output_tokens=output_tokens,
        web_searches=searches,
        web_search_previews=previews,
    )
    price = bound_of(most, rates)
    if seen.usage is not None:
        price = price_of(
            replace(
                reported,
                input_uncached=reported.input_uncached + read_again,
                output_text=reported.output_text + output_tokens - reported.output_tokens,
                web_searches=max(reported.web_searches, searches),
            ),
            rates,
        )
    if price.unpriced or not 0 <= price.nanoeur <= MAX_NANOEUR:
        return None
    return SeenCost(
        nanoeur=min(price.nanoeur, held.bounded.whole_nanoeur),
        input_tokens=most.input_tokens,
        output_tokens=output_tokens,
    )


def _read_again(held: HeldCall, tokens: int) -> int:
    """Return the input that the uses of tools which were seen have added."""
    seen, uses, model = held.seen, held.bounded.priced.uses, held.bounded.resolved.model
    # Where a stream neither shows its searches nor has reported them, all of them may have been.
    if seen.shows_tools or seen.usage is not None:
        uses = uses.first(seen.tool_uses)
    return bounds.input_with_uses(uses, model, tokens=tokens) - tokens


async def _input_at_most(held: HeldCall) -> int:
    """Return the most input of the request itself, as often as its context may be read."""
    resolved, counted = held.bounded.resolved, held.bounded.capped.counted_text
    if context_reads := resolved.usage_bound.context_reads:
        return context_reads * resolved.model.context_tokens
    if counted is None:
        caller = held.bounded.requested.organization.id
        counted = await count_tokens_async(resolved.usage_bound, resolved.model, caller=caller)
    return bounds.counted_tokens(resolved.usage_bound, resolved.model, counted=counted)
