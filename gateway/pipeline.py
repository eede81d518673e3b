"""The path of one request, from top to bottom.

    judge -> RESERVE (one transaction) -> call -> SETTLE (one transaction) -> answer

No call without a committed hold and audit row; no commit that could pass a limit; nothing billed
that is not in the ledger. The path runs in a task of its own, which does not end with the client:
`start` returns the Exchange by which the client follows it.

An alias may name several models: when a provider refused before it billed anything, and nothing
has reached the client, the next attempt goes the same way, with a judgement and a hold of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Final
from uuid import UUID

from costs.core.admission import Admitted, Answer, Ask, Full, Settled, Settlement, Stale
from costs.core.holds import State
from costs.core.money import euros
from costs.core.pricing import FREE
from costs.writer import LedgerUnavailable
from gateway.candidates import Candidate, candidate
from gateway.core.attempts import Trail
from gateway.core.calls import Call, Completion, Principal, ProviderCall, RelayRequest
from gateway.core.errors import (
    Broken,
    ClientGone,
    GatewayError,
    NeverSent,
    ProviderFailed,
    Refused,
    TimedOut,
)
from gateway.core.models import NAME_MAX_CHARS
from gateway.exchange import Answered, Exchange
from gateway.fingerprints import prompt_hash, repeat_of
from gateway.journal import Opening, left_out_attempt, refusal_of
from gateway.judgement import Judgement, tighten
from gateway.runtime import Gateway
from gateway.settlement import Held, attempt_of, passed_over, settlement_of
from orgs.fields import new_id

JUDGED_ANEW_MAX: Final = 5
# After a disconnect, where the organization chose exactness: how long an answer is read on.
DRAIN_MAX_S: Final = 60.0
# A hold outlives its call by this much, so that the reaper never takes one that still runs.
DEADLINE_MARGIN_S: Final = 30.0

logger = logging.getLogger("pulse.gateway")


def start(gateway: Gateway, principal: Principal, call: Call, *, request_id: UUID) -> Exchange:
    """Send one request down the path and return the channel by which its client follows it."""
    exchange = Exchange(request_id=request_id)
    gateway.run(_travel(gateway, principal, call, exchange))
    return exchange


async def _travel(gateway: Gateway, principal: Principal, call: Call, exchange: Exchange) -> None:
    """Go the whole way. Every end of it is an event for the client."""
    trail = Trail(started_s=time.monotonic())
    try:
        while True:
            held = await _admit(gateway, principal, call, exchange, trail)
            completion, failure = await _converse(gateway, call, exchange, held)
            step = trail.next_step(failure) if _may_go_on(gateway, exchange, trail) else None
            settlement = settlement_of(held, call, completion, failure, is_last=step is None)
            settled = await _settle(gateway, settlement)
            # A reaper may have charged the hold meanwhile, when this process was stopped too long.
            if step is None or failure is None or settled.state is not State.RELEASED:
                exchange.end(_last_event(settlement, settled, completion, failure))
                return
            trail.take(step, failure, attempt_of(held, call, failure))
            await _pause(exchange, step.wait_s)
    except GatewayError as exc:
        # A fallback that may not go out leaves the request as the attempt before it ended.
        exchange.end(trail.failure or exc)
    except Exception:  # a defect of ours: a hold that is left is the reaper's, as unknown
        logger.exception("request %s met a defect of the gateway", exchange.request_id)
        exchange.end(GatewayError("The gateway failed; the request is recorded"))


def _may_go_on(gateway: Gateway, exchange: Exchange, trail: Trail) -> bool:
    """Whether another attempt could serve: nobody has seen anything, and somebody waits for it."""
    is_in_time = time.monotonic() - trail.started_s < gateway.timeout_s
    return is_in_time and not (exchange.has_begun or exchange.is_abandoned())


async def _pause(exchange: Exchange, wait_s: float) -> None:
    """Wait before the next attempt, no longer than the client does."""
    has_left = asyncio.Event()
    exchange.on_abandon = has_left.set
    if exchange.is_abandoned():
        has_left.set()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(has_left.wait(), wait_s)
    exchange.on_abandon = None


# --- judge and RESERVE ------------------------------------------------------------------------


async def _admit(
    gateway: Gateway, principal: Principal, call: Call, exchange: Exchange, trail: Trail
) -> Held:
    """Judge the call and hold its bound. Raises the refusal, whose audit row is then committed.

    Judged on a snapshot; RESERVE says when that is stale, and the call is judged anew. A fallback
    that may not be asked is passed over, also for want of room.
    """
    started_s, times_stale = time.monotonic(), 0
    while times_stale < JUDGED_ANEW_MAX:
        chosen = await _chosen(gateway, principal, call, trail)
        await _open(gateway, chosen)
        ask, answer = await _asked(gateway, principal, call, exchange, trail, chosen)
        if isinstance(answer, Stale):
            times_stale += 1
            await gateway.reload(principal)
            continue
        refusal = refusal_of(answer, ask.entry, bound_nanoeur=ask.amount_nanoeur)
        if refusal is None and isinstance(answer, Admitted):
            trail.admit(chosen.alias, chosen.place, ask.entry.past)
            return _held(ask, answer, chosen.found, started_s)
        if isinstance(answer, Full) and trail.failure is not None:
            trail.admit(chosen.alias, chosen.place, ask.entry.past)
            if trail.pass_over(left_out_attempt(ask, answer, at=answer.now)):
                continue
        raise refusal or AssertionError("what is not refused is admitted")
    sentence = "The organization's configuration keeps changing; nothing was sent"
    raise Refused("ledger_unavailable", sentence, status=503, retry_after_s=1)


async def _chosen(gateway: Gateway, principal: Principal, call: Call, trail: Trail) -> Candidate:
    """Judge the call on the snapshot at hand, for the model that the trail has come to."""
    organization = await gateway.organization_of(principal)
    return await candidate(
        gateway,
        call,
        organization=organization,
        prices=await gateway.directory.prices(),
        alias=trail.alias or organization.alias(call.model),
        place=trail.place,
        is_first_attempt=trail.failure is None,
    )


async def _open(gateway: Gateway, chosen: Candidate) -> None:
    """Import a vendor's SDK, which takes seconds, before money is held and the clock runs."""
    found = chosen.found
    if found.refusal is None and found.model and isinstance(found.outgoing, ProviderCall):
        await gateway.providers.get(found.model.provider)


async def _asked(  # noqa: PLR0913  everything that is known by now goes into the hold
    gateway: Gateway,
    principal: Principal,
    call: Call,
    exchange: Exchange,
    trail: Trail,
    chosen: Candidate,
) -> tuple[Ask, Answer]:
    """Ask the ledger for room; where there is none, once more with a closer bound."""
    ask = _ask(gateway, principal, call, exchange, trail, chosen)
    answer = await _reserved(gateway, ask)
    if isinstance(answer, Full) and not ask.record_if_full:
        await tighten(chosen.found, call)
        ask = _ask(gateway, principal, call, exchange, trail, chosen)
        answer = await _reserved(gateway, ask)
    return ask, answer


def _held(ask: Ask, admitted: Admitted, found: Judgement, started_s: float) -> Held:
    if found.outgoing is None:
        raise AssertionError("what is not refused goes out")
    return Held(
        ask=ask, admitted=admitted, judgement=found, outgoing=found.outgoing, started_s=started_s
    )


def _ask(  # noqa: PLR0913  everything that is known by now goes into the hold
    gateway: Gateway,
    principal: Principal,
    call: Call,
    exchange: Exchange,
    trail: Trail,
    chosen: Candidate,
) -> Ask:
    """Put the question to the ledger: the hold, or only the audit row of a refusal."""
    found = chosen.found
    model, organization = found.model, found.organization
    is_refused = found.refusal is not None
    model_id = model.id if model else chosen.name[:NAME_MAX_CHARS]
    provider = model.provider if model else None
    return Ask(
        id=new_id(),
        request_id=exchange.request_id,
        org_id=organization.id,
        config_version=organization.config_version,
        prices_version=found.prices.version,
        amount_nanoeur=None if is_refused else found.bound_nanoeur,
        limits=(organization.day, *(rule.limit for rule in found.budgets)),
        deadline_s=gateway.timeout_s + DRAIN_MAX_S + DEADLINE_MARGIN_S,
        charge_to={
            "model": model_id,
            "provider": provider,
            **call.dimensions.as_dict(),
            "key_id": str(principal.key_id) if principal.key_id else None,
        },
        rates=found.rates.card if found.rates else FREE,
        # A fallback has the key already, and gives it back where it may not go out.
        repeat=None if is_refused and trail.failure is None else repeat_of(principal, call),
        record_if_full=not found.can_be_tightened,
        entry=Opening(
            principal=principal,
            call=call,
            model=model_id,
            provider=provider,
            prompt_hash=prompt_hash(organization.prompt_mac, call),
            daily_rule=organization.daily_rule,
            budgets=found.budgets,
            refusal=found.refusal,
            trace=found.trace(call),
            rates=found.rates,
            started_s=trail.started_s,
            past=trail.past.passing(
                *(passed_over(judged, call, name) for name, judged in chosen.passed)
            ),
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
            return await _answered(gateway, call, exchange, held), None
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


async def _answered(gateway: Gateway, call: Call, exchange: Exchange, held: Held) -> Completion:
    """Take the road that leads to the provider: as bytes where the client speaks its format."""
    outgoing = held.outgoing
    if isinstance(outgoing, RelayRequest):
        return await _relayed(gateway, call, exchange, held, outgoing)
    return await _called(gateway, call, exchange, held, outgoing)


async def _called(
    gateway: Gateway, call: Call, exchange: Exchange, held: Held, asked: ProviderCall
) -> Completion:
    """Go the call road: through the vendor's SDK."""
    provider = await gateway.providers.get(held.provider)
    if not call.stream:
        return await provider.complete(asked)
    async with contextlib.aclosing(provider.stream(asked)) as events:
        async for event in events:
            if isinstance(event, Completion):
                return event
            await exchange.put(event)
    raise AssertionError("a provider's stream ends with a completion or an error")


async def _relayed(
    gateway: Gateway, call: Call, exchange: Exchange, held: Held, request: RelayRequest
) -> Completion:
    """Go the relay road: bytes out, bytes back, the usage read off them as they pass."""
    upstream, relay = gateway.providers.upstream(held.provider), gateway.providers.relay()
    if not call.stream:
        return await relay.whole(upstream, request)
    reading = request.reading()
    async with relay.stream(upstream, request) as answer:
        if isinstance(answer, Completion):
            return answer
        exchange.headers = answer.headers
        try:
            while chunk := await answer.next():
                if passed := reading.take(chunk):
                    await exchange.put(passed)
                if gateway.pace.rest_s:
                    await asyncio.sleep(gateway.pace.rest_s)
            if passed := reading.rest():
                await exchange.put(passed)
        except asyncio.CancelledError:
            # Clients leave as soon as they have read the last event: all is known then.
            task = asyncio.current_task()
            if task is None or not (exchange.is_abandoned() and reading.is_ended):
                raise
            task.uncancel()
    return upstream.finished(reading)


# --- SETTLE -----------------------------------------------------------------------------------


async def _settle(gateway: Gateway, settlement: Settlement) -> Settled:
    """Charge the call by what is known."""
    settled = await gateway.writer.settle(settlement)
    if settled.overrun_nanoeur:
        logger.warning(
            "request %s was billed %s EUR above its hold",
            settlement.request_id,
            euros(settled.overrun_nanoeur),
        )
    return settled


def _last_event(
    settlement: Settlement,
    settled: Settled,
    completion: Completion | None,
    failure: ProviderFailed | None,
) -> Answered | GatewayError:
    """Return how the call ended, for its client."""
    if completion is None:
        return failure or GatewayError("The call ended without an answer")
    usage = settlement.usage
    return Answered(
        request_id=settlement.request_id,
        provider=str(settlement.charge_to["provider"]),
        model=str(settlement.charge_to["model"]),
        completion=completion,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_eur=euros(settled.charged_nanoeur),
        latency_ms=settlement.entry.latency_ms,
    )
