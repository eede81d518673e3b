"""The path of one request, from top to bottom.

    judge -> RESERVE (one transaction) -> call -> SETTLE (one transaction) -> answer

No call without a committed hold and audit row; no commit that could pass a limit; nothing billed
that is not in the ledger. The path runs in a task of its own, which does not end with the client:
`start` returns the Exchange by which the client follows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import Final

from costs.core.admission import Admitted, Answer, Ask, Full, Stale
from costs.core.money import euros
from costs.writer import LedgerUnavailable
from gateway.core.calls import Call, Completion, Delta, Principal, ProviderCall
from gateway.core.errors import (
    Broken,
    ClientGone,
    GatewayError,
    NeverSent,
    NotConfigured,
    ProviderFailed,
    Refused,
    TimedOut,
)
from gateway.core.models import NAME_MAX_CHARS
from gateway.exchange import Answered, Exchange
from gateway.fingerprints import prompt_hash, repeat_of
from gateway.journal import Opening, refusal_of
from gateway.judgement import Judgement, judge, tightened
from gateway.providers.base import Provider
from gateway.runtime import Gateway
from gateway.settlement import Held, settlement_of
from orgs.fields import new_id

JUDGED_ANEW_MAX: Final = 5
# After a disconnect, where the organization chose exactness: how long an answer is read on.
DRAIN_MAX_S: Final = 60.0
# A hold outlives its call by this much, so that the reaper never takes one that still runs.
DEADLINE_MARGIN_S: Final = 30.0

logger = logging.getLogger("pulse.gateway")


def start(gateway: Gateway, principal: Principal, call: Call) -> Exchange:
    """Send one request down the path and return the channel by which its client follows it."""
    exchange = Exchange(request_id=new_id())
    gateway.run(_travel(gateway, principal, call, exchange))
    return exchange


async def _travel(gateway: Gateway, principal: Principal, call: Call, exchange: Exchange) -> None:
    """Go the whole way. Every end of it is an event for the client."""
    try:
        held = await _admit(gateway, principal, call, exchange)
        completion, failure = await _converse(gateway, call, exchange, held)
        exchange.end(await _settle(gateway, call, held, completion, failure))
    except GatewayError as exc:
        exchange.end(exc)
    except Exception:  # a defect of ours: a hold that is left is the reaper's, as unknown
        logger.exception("request %s met a defect of the gateway", exchange.request_id)
        exchange.end(GatewayError("The gateway failed; the request is recorded"))


# --- judge and RESERVE ------------------------------------------------------------------------


async def _admit(gateway: Gateway, principal: Principal, call: Call, exchange: Exchange) -> Held:
    """Judge the call and hold its bound. Raises the refusal, whose audit row is then committed.

    Judged on a snapshot; RESERVE says when that is stale, and the call is judged anew.
    """
    started_s = time.monotonic()
    for _ in range(JUDGED_ANEW_MAX):
        found, provider = await _judged(gateway, principal, call)
        ask = _ask(gateway, principal, call, exchange, found, started_s)
        answer = await _reserved(gateway, ask)
        if isinstance(answer, Full) and not ask.record_if_full:
            found = await tightened(found, call)
            ask = _ask(gateway, principal, call, exchange, found, started_s)
            answer = await _reserved(gateway, ask)
        if isinstance(answer, Stale):
            await gateway.reload(principal)
            continue
        refusal = refusal_of(answer, ask.entry, bound_nanoeur=ask.amount_nanoeur)
        if refusal is not None:
            raise refusal
        if not isinstance(answer, Admitted) or provider is None:
            raise AssertionError("what is not refused is admitted")
        return Held(
            ask=ask, admitted=answer, judgement=found, provider=provider, started_s=started_s
        )
    sentence = "The organization's configuration keeps changing; nothing was sent"
    raise Refused("ledger_unavailable", sentence, status=503, retry_after_s=1)


async def _judged(
    gateway: Gateway, principal: Principal, call: Call
) -> tuple[Judgement, Provider | None]:
    """Judge the call on the snapshot at hand, and find who will answer it."""
    found = await judge(
        call,
        organization=await gateway.organization_of(principal),
        prices=await gateway.directory.prices(),
        catalog=gateway.catalog,
    )
    if found.refusal is not None or found.model is None:
        return found, None
    try:
        return found, await gateway.providers.get(found.model.provider)
    except NotConfigured as exc:
        return replace(found, refusal=exc), None


def _ask(  # noqa: PLR0913  everything that is known by now goes into the hold
    gateway: Gateway,
    principal: Principal,
    call: Call,
    exchange: Exchange,
    found: Judgement,
    started_s: float,
) -> Ask:
    """Put the question to the ledger: the hold, or only the audit row of a refusal."""
    model, organization = found.model, found.organization
    is_refused = found.refusal is not None
    model_id = model.id if model else call.model[:NAME_MAX_CHARS]
    provider = model.provider if model else None
    return Ask(
        id=new_id(),
        request_id=exchange.request_id,
        org_id=organization.id,
        config_version=organization.config_version,
        prices_version=found.prices.version,
        amount_nanoeur=None if is_refused else found.bound_nanoeur,
        limit_nanoeur=organization.limit_nanoeur,
        deadline_s=gateway.timeout_s + DRAIN_MAX_S + DEADLINE_MARGIN_S,
        charge_to={
            "model": model_id,
            "provider": provider,
            **call.dimensions.as_dict(),
            "key_id": str(principal.key_id) if principal.key_id else None,
        },
        rates=found.rates.to_json() if found.rates else "{}",
        repeat=None if is_refused else repeat_of(principal, call),
        record_if_full=not found.can_be_tightened,
        entry=Opening(
            principal=principal,
            call=call,
            model=model_id,
            provider=provider,
            prompt_hash=prompt_hash(organization.prompt_hash_key, call),
            daily_rule=organization.daily_rule,
            refusal=found.refusal,
            trace=found.trace(call),
            started_s=started_s,
        ),
    )


async def _reserved(gateway: Gateway, ask: Ask) -> Answer:
    try:
        return await gateway.writer.reserve(ask)
    except LedgerUnavailable as exc:
        sentence = "The ledger is not available; nothing was sent"
        raise Refused("ledger_unavailable", sentence, status=503, retry_after_s=1) from exc


# --- call -------------------------------------------------------------------------------------


async def _converse(
    gateway: Gateway, call: Call, exchange: Exchange, held: Held
) -> tuple[Completion | None, ProviderFailed | None]:
    """Ask the provider and pass its pieces on. Returns the completion or why there is none.

    When the client leaves, the provider is stopped at once, or read to the end where the
    organization chose exactness.
    """
    if exchange.is_abandoned():
        return None, NeverSent("The client left before the request was sent")
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    try:
        async with asyncio.timeout(gateway.timeout_s) as limit:

            def client_left() -> None:
                if not held.judgement.organization.drains and task is not None:
                    task.cancel()
                elif limit.when() is not None and not limit.expired():
                    limit.reschedule(min(limit.when() or 0, loop.time() + DRAIN_MAX_S))

            exchange.on_abandon = client_left
            return await _provider_answer(gateway, call, exchange, held), None
    except TimeoutError:
        return None, TimedOut(f"No answer from the provider within {gateway.timeout_s:g} s")
    except ProviderFailed as exc:
        return None, exc
    except asyncio.CancelledError:
        if not exchange.is_abandoned() or task is None:
            raise
        task.uncancel()
        return None, ClientGone("The client left before the answer was complete")
    except Exception:  # a defect in reading the answer: it was sent, and is charged as unknown
        logger.exception("request %s: the provider's answer met a defect", exchange.request_id)
        return None, Broken("The provider's answer could not be read")
    finally:
        exchange.on_abandon = None


async def _provider_answer(
    gateway: Gateway, call: Call, exchange: Exchange, held: Held
) -> Completion:
    model, cap = held.judgement.model, held.judgement.cap
    if model is None or cap is None:
        raise AssertionError("what is admitted has a model and a cap")
    asked = ProviderCall(
        model=model.id,
        messages=call.messages,
        max_output_tokens=cap.tokens if cap.is_written else None,
        temperature=call.temperature,
        timeout_s=gateway.timeout_s,
    )
    if not call.stream:
        return await held.provider.complete(asked)
    async with contextlib.aclosing(held.provider.stream(asked)) as events:
        async for event in events:
            if isinstance(event, Delta):
                await exchange.put(event)
            else:
                return event
    raise AssertionError("a provider's stream ends with a completion or an error")


# --- SETTLE -----------------------------------------------------------------------------------


async def _settle(
    gateway: Gateway,
    call: Call,
    held: Held,
    completion: Completion | None,
    failure: ProviderFailed | None,
) -> Answered | GatewayError:
    """Charge the call by what is known, and return the last event for its client."""
    settlement = settlement_of(held, call, completion, failure)
    settled = await gateway.writer.settle(settlement)
    if settled.overrun_nanoeur:
        logger.warning(
            "request %s was billed %s EUR above its hold",
            held.ask.request_id,
            euros(settled.overrun_nanoeur),
        )
    if completion is None:
        return failure or GatewayError("The call ended without an answer")
    usage = settlement.usage
    return Answered(
        request_id=held.ask.request_id,
        provider=str(settlement.charge_to["provider"]),
        model=str(settlement.charge_to["model"]),
        content=completion.content,
        finish_reason=completion.finish_reason,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_eur=euros(settled.charged_nanoeur),
        latency_ms=settlement.entry.latency_ms,
    )
