"""The path of one request.

    judge -> RESERVE (one transaction) -> call -> SETTLE (one transaction) -> answer

No call without a committed hold and audit row; no commit that could exceed a limit; nothing billed
that is not in the ledger. The path runs in its own task, which outlives the client's connection:
`start` returns the stream through which the client follows it.

An alias may have several models: if a provider refused before it billed anything, and nothing was
sent to the client, the next attempt takes the same path, with its own checks and its own hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import UUID

from costs.core.admission import (
    Admitted,
    InsufficientRoom,
    RateExceeded,
    Settled,
    Settlement,
    Stale,
    least_left_nanoeur,
)
from costs.core.holds import State
from costs.core.money import euros
from costs.ledger.writer import LedgerUnavailable
from gateway.call.call_stream import CallStream
from gateway.call.candidates import Candidate, candidate
from gateway.call.kept.keeping import KeptAnswer, kept_answer, with_known_ids
from gateway.call.records.entries import refusal_of
from gateway.call.records.journal import refused_attempt
from gateway.call.reservation import DRAIN_MAX_S, RunningCall, reserve
from gateway.call.rows import over_rows, record_end
from gateway.call.runtime import Gateway
from gateway.call.settlement.held_call import HeldCall, in_slices
from gateway.call.settlement.prices import seen_cost
from gateway.call.settlement.settle import attempt_of, last_event, settlement_of
from gateway.call.stages import BoundedCall, RequestedCall
from gateway.call.waiting.line import Waiter
from gateway.core.attempts import Trail
from gateway.core.calls import Call, Completion, Principal, ProviderCall, RelayRequest
from gateway.core.errors import (
    Broken,
    GatewayError,
    KeyNotAllowed,
    ProviderFailed,
    Refused,
    internal_error,
)
from gateway.core.seen import arrived
from gateway.guards.rates import rates_left
from gateway.upstream.http_client import is_not_sent

STALE_RETRIES_MAX: Final = 5
# An answer that has come is not kept back longer by a database that is away.
SETTLED_WITHIN_S: Final = 2.0

logger = logging.getLogger("pulse.gateway")


def start(gateway: Gateway, principal: Principal, call: Call, *, request_id: UUID) -> CallStream:
    """Start one request and return the stream through which its client follows it."""
    running = RunningCall(
        gateway=gateway,
        principal=principal,
        call=call,
        stream=CallStream(request_id=request_id),
        trail=Trail(started_s=time.monotonic()),
        waiter=Waiter(org_id=principal.org_id, key=principal.caller, request_id=request_id),
    )
    gateway.run(_run(running), principal, stream=running.stream, body_bytes=call.body_bytes)
    return running.stream


async def _run(running: RunningCall) -> None:
    """Run the request from admission to settlement. Every outcome is an event for the client."""
    stream, trail, task = running.stream, running.trail, asyncio.current_task()
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                held = await _held(running)
            finally:
                running.gateway.waiting_room.leave(running.waiter)
            running.gateway.has_hold(task)
            began_s = time.monotonic()
            ended = await _call_provider(running, held)
            record_end(running, held, ended, took_s=time.monotonic() - began_s)
            failure = ended if isinstance(ended, ProviderFailed) else None
            step = trail.next_step(failure) if _may_go_on(running, held) else None
            seen = await seen_cost(held, ended)
            settlement = settlement_of(held, ended, is_last=step is None, seen=seen)
            late = loop.call_later(SETTLED_WITHIN_S, _end_unsettled, stream, settlement, ended)
            if step is not None:
                late.cancel()  # the next attempt has its own hold, so it waits for the database
            settled = await _settle(running, held, settlement)
            late.cancel()
            # A reaper may have charged the hold meanwhile, if this process was suspended too long.
            if step is None or failure is None or settled.state is not State.RELEASED:
                stream.end(last_event(settlement, settled, ended))
                return
            trail.take(step, failure, attempt_of(held, failure))
            await _pause(stream, step.wait_s)
    except GatewayError as exc:
        # A refused fallback leaves the request with the result of the previous attempt.
        stream.end(trail.failure or exc)
    except Exception:  # a bug: the reaper settles the remaining hold as unknown
        logger.exception("request %s failed with an internal error", stream.request_id)
        stream.end(GatewayError("Internal gateway error; the request was recorded"))
    finally:
        running.gateway.health.leave(stream.request_id)


def _end_unsettled(
    stream: CallStream, settlement: Settlement, ended: Completion | ProviderFailed
) -> None:
    """Give the client its answer without its cost, if it has none yet: the database is away."""
    if not stream.has_ended:
        stream.end(last_event(settlement, None, ended))


def _may_go_on(running: RunningCall, held: HeldCall) -> bool:
    """Whether another attempt is possible: nothing was sent and the client is still waiting.

    All attempts before it together took no longer than the last one's provider may take, without
    the wait for room.
    """
    stream = running.stream
    total_s = held.provider.limits.total_s
    took_s = time.monotonic() - running.trail.started_s - running.waiter.waited_s
    is_in_time = took_s < total_s
    return is_in_time and not (stream.has_begun or stream.is_cut())


async def _pause(stream: CallStream, wait_s: float) -> None:
    """Wait before the next attempt, or until the client disconnects or the process stops."""
    is_cut = asyncio.Event()
    stream.on_cut = is_cut.set
    if stream.is_cut():
        is_cut.set()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(is_cut.wait(), wait_s)
    stream.on_cut = None


# --- judge and RESERVE ------------------------------------------------------------------------


async def _held(running: RunningCall) -> HeldCall:
    """Admit the call.

    A defect before its hold leaves an audit row too, as an error, and so does a key that lost its
    permission since it was authenticated.
    """
    try:
        return await _admit(running)
    except KeyNotAllowed as exc:
        refusal: GatewayError = exc
    except GatewayError:
        raise
    except Exception:
        logger.exception("request %s could not be checked", running.stream.request_id)
        refusal = internal_error()
    principal = replace(running.principal, needs=None)
    return await _admit(replace(running, call=running.call.unread(refusal), principal=principal))


async def _admit(running: RunningCall) -> HeldCall:
    """Check the call and hold its bound. Raises the refusal, whose audit row is then committed.

    The checks use a snapshot; if RESERVE reports it as stale, they are repeated, and so they are
    after a wait for room. A fallback that cannot be called is skipped, also for lack of room.
    """
    trail, times_stale = running.trail, 0
    while times_stale < STALE_RETRIES_MAX:
        started_s = time.monotonic()
        reserved = await reserve(running, await _chosen(running))
        if reserved is None:
            times_stale = 0
            continue
        chosen, ask, answer = reserved
        if isinstance(answer, Stale):
            times_stale += 1
            await running.gateway.reload(running.principal, answer)
            continue
        refusal = refusal_of(answer, ask.entry, bound_nanoeur=ask.amount_nanoeur)
        bounded = chosen.judged
        if isinstance(answer, Admitted | InsufficientRoom | RateExceeded):
            running.stream.left_nanoeur = least_left_nanoeur(answer, ask.amount_nanoeur or 0)
        if isinstance(answer, Admitted | RateExceeded):
            running.stream.rates = rates_left(answer, tokens=ask.tokens)
        if refusal is None and isinstance(answer, Admitted) and isinstance(bounded, BoundedCall):
            trail.admit(chosen.alias, chosen.place, ask.entry.past)
            running.stream.output_cap = bounded.priced.sent_cap
            held = HeldCall(ask=ask, admitted=answer, bounded=bounded, started_s=started_s)
            return in_slices(held, running.stream, running.gateway.writer.grow)
        if isinstance(answer, InsufficientRoom | RateExceeded) and trail.failure is not None:
            trail.admit(chosen.alias, chosen.place, ask.entry.past)
            if trail.pass_over(refused_attempt(ask, answer, at=answer.now)):
                continue
        raise refusal or AssertionError("a call is either refused or admitted")
    sentence = "The organization's configuration changed too often; nothing was sent"
    raise Refused("ledger_unavailable", sentence, status=503, retry_after_s=1)


async def _chosen(running: RunningCall) -> Candidate:
    """Check the call on the current snapshot, for the trail's next model."""
    gateway, call, trail = running.gateway, running.call, running.trail
    organization = await gateway.organization_of(running.principal)
    providers = await gateway.providers_of(organization)
    requested = RequestedCall(
        call=await with_known_ids(call, organization, providers.by_name),
        principal=running.principal,
        organization=organization,
        prices=await gateway.directory.prices(),
        judged_at=datetime.now(UTC),
        providers=providers,
        request_id=running.stream.request_id,
    )
    return await candidate(
        gateway,
        requested,
        alias=trail.alias or await over_rows(gateway, requested, organization.alias(call.model)),
        place=trail.place,
        is_first_attempt=trail.failure is None,
    )


# --- call -------------------------------------------------------------------------------------


async def _call_provider(running: RunningCall, held: HeldCall) -> Completion | ProviderFailed:
    """Call the provider and forward its pieces. Return the completion or the failure.

    If the client disconnects, what has arrived from the provider is read, so that it is charged,
    and the provider is stopped; it is read to the end if the organization chose exact charges and
    the process does not stop.
    """
    stream = running.stream
    total_s = held.provider.limits.total_s
    if stream.is_cut():
        return stream.cut_off(total_s, was_sent=False)
    was_sent = True
    reading: list[asyncio.Task[None]] = []
    output = held.bounded.priced.outgoing.output
    held.seen.send(
        time.monotonic(),
        choices=output.choices if output else 1,
        take=partial(running.gateway.take_for_call, running.principal),
    )
    try:
        async with asyncio.timeout(total_s) as limit:

            def cut() -> None:
                reading.append(asyncio.create_task(_stop_reading(stream, held, limit)))

            stream.on_cut = cut
            reading += held.growing(limit)
            try:
                return held.counted(await _answered(running, held))
            except asyncio.CancelledError as exc:
                was_sent = not is_not_sent(exc)
                raise
    except TimeoutError:
        return held.cut() or stream.cut_off(total_s, was_sent=was_sent)
    except ProviderFailed as exc:
        if isinstance(exc, Broken) and exc.usage is not None:
            held.seen.take_whole(exc.usage, time.monotonic())
        return exc
    except Exception:  # a bug in reading the answer: it was sent, and is charged as unknown
        logger.exception("request %s: failed to read the provider's answer", stream.request_id)
        return Broken("The provider's answer could not be read")
    finally:
        stream.on_cut = None
        for task in reading:
            task.cancel()


async def _stop_reading(stream: CallStream, held: HeldCall, limit: asyncio.Timeout) -> None:
    """End a call that is cut, once what is to be read of the answer is read."""
    loop = asyncio.get_running_loop()
    wait_s = 0.0
    if held.bounded.requested.organization.drains and not stream.is_stopped():
        wait_s = DRAIN_MAX_S
    elif held.seen.has_begun:
        await arrived(held.seen)
    if not limit.expired():
        limit.reschedule(min(limit.when() or 0, loop.time() + wait_s))


async def _answered(running: RunningCall, held: HeldCall) -> Completion:
    """Send the call: relayed if the client uses the provider's format, else through its SDK."""
    outgoing = held.bounded.priced.outgoing
    if isinstance(outgoing, RelayRequest):
        async with kept_answer(held, outgoing.keeping) as kept:
            completion = await _relayed(running, held, outgoing, kept)
            await kept.finish(completion)
            return completion
    return await _called(running, held, outgoing)


async def _called(running: RunningCall, held: HeldCall, call: ProviderCall) -> Completion:
    """Call the provider through the vendor's SDK."""
    provider = await running.gateway.providers.get(held.provider)
    if not running.call.stream:
        return await provider.complete(call)
    running.stream.awaits()
    put = held.passing(running.stream)
    async with contextlib.aclosing(provider.stream(call, held.seen)) as events:
        async for event in events:
            if isinstance(event, Completion):
                return event
            await put(event)
    raise AssertionError("a provider's stream ends with a completion or an error")


async def _relayed(
    running: RunningCall, held: HeldCall, request: RelayRequest, kept: KeptAnswer
) -> Completion:
    """Relay bytes to the provider and back, reading the usage from them.

    Clients disconnect right after the last event, and connections break: with the final usage,
    everything is known.
    """
    gateway, stream = running.gateway, running.stream
    upstream, relay = gateway.providers.upstream(held.provider), gateway.providers.relay()
    if not running.call.stream:
        return await relay.whole(upstream, request)
    peer = upstream.peer
    reading = request.reading(peer.hidden_in, held.seen)
    put = held.passing(stream, reading)
    async with relay.stream(upstream, request) as answer:
        if isinstance(answer, Completion):
            return answer
        stream.headers = answer.headers
        if "event-stream" in stream.headers["content-type"]:  # an error could not begin an array
            await stream.put(b"")  # the client gets them at once
        try:
            while chunk := await answer.next():
                if passed := reading.take(chunk):
                    await kept.follow(held.seen)
                    await put(peer.without_secret(passed))
                if gateway.loop_lag.rest_s:
                    await asyncio.sleep(gateway.loop_lag.rest_s)
        except (asyncio.CancelledError, ProviderFailed):
            if not held.seen.is_final:
                raise
        if passed := reading.rest():
            await kept.follow(held.seen)
            await stream.put(peer.without_secret(passed))
    return replace(upstream.finished(reading), headers=stream.headers)


# --- SETTLE -----------------------------------------------------------------------------------


async def _settle(running: RunningCall, held: HeldCall, settlement: Settlement) -> Settled:
    """Charge the call.

    If its charge cannot be written, the client still gets the answer that the provider was paid
    for, and the reaper charges the hold.
    """
    try:
        settled = await running.gateway.writer.settle(settlement)
        running.gateway.waiting_room.settled(settlement.org_id)
    except LedgerUnavailable:
        logger.exception("request %s could not be settled", settlement.request_id)
        return Settled(
            changed=False,
            state=State.HELD,
            charged_nanoeur=held.amount_nanoeur,
            overrun_nanoeur=0,
        )
    if settled.overrun_nanoeur:
        logger.warning(
            "request %s was billed %s EUR above its hold",
            settlement.request_id,
            euros(settled.overrun_nanoeur),
        )
    return settled
