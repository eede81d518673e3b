"""Run a call through the pipeline and build the response, for every API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

from django.http import HttpResponseBase

from costs.core.money import euros
from gateway.call import pipeline
from gateway.call.call_stream import CallStream
from gateway.call.runtime import Gateway
from gateway.core.calls import Call, CallResult, Principal, Unread
from gateway.core.errors import GatewayError, Refused, internal_error
from gateway.core.usage_bound import NOTHING
from gateway.http.answers import (
    LEFT_HEADER,
    OUTPUT_CAP_HEADER,
    EventStream,
    Pieces,
    Wording,
)
from gateway.http.bodies import ClientDisconnected
from gateway.http.headers import add_rates

logger = logging.getLogger("pulse.gateway")


async def serve(
    gateway: Gateway, principal: Principal, call: Call, wording: Wording, request_id: UUID
) -> HttpResponseBase:
    """Send the call through the pipeline and return its response."""
    started: list[CallStream] = []

    async def on_call_loop() -> HttpResponseBase:
        try:
            stream = pipeline.start(gateway, principal, call, request_id=request_id)
        except Refused as exc:  # the process stops or is full
            return wording.refusal(exc, request_id)
        started.append(stream)
        response = await _answer(gateway, call, stream, wording)
        if stream.output_cap is not None:
            response[OUTPUT_CAP_HEADER] = str(stream.output_cap)
        if stream.left_nanoeur is not None:
            response[LEFT_HEADER] = f"{euros(stream.left_nanoeur):f}"
        add_rates(response, stream.rates, channel=principal.channel)
        return response

    try:
        return await gateway.call_loop.call(on_call_loop())
    except asyncio.CancelledError:
        # The stream may be ready just when its client disconnects: it would never be read.
        gateway.call_loop.call_soon(partial(_abandon, started))
        raise


def _abandon(started: list[CallStream]) -> None:
    for stream in started:
        if not stream.is_abandoned():
            stream.abandon()


async def _answer(
    gateway: Gateway, call: Call, stream: CallStream, wording: Wording
) -> HttpResponseBase:
    """Follow the call to its end, or to the first piece of its stream."""
    if call.stream:
        return await _streamed(gateway, stream, wording)
    try:
        return wording.whole(await stream.result())
    except GatewayError as exc:
        return wording.refusal(exc, stream.request_id)


async def _streamed(gateway: Gateway, stream: CallStream, wording: Wording) -> HttpResponseBase:
    # The status is known with the first event: a refusal is a refusal, not a stream.
    first = await stream.next()
    if isinstance(first, GatewayError):
        return wording.refusal(first, stream.request_id)
    if isinstance(first, CallResult) and first.completion.body is not None:
        return wording.whole(first)  # a provider that does not stream
    pieces = Pieces(gateway, stream, wording, first)
    return EventStream(pieces, stream.request_id, headers=stream.headers)


async def read_or_refuse(principal: Principal, read: Callable[[], Awaitable[Call]]) -> Call:
    """Return the call that `read` parses; an invalid one carries its refusal.

    Whatever happens while a known caller's request is parsed, it leaves an audit row.
    """
    try:
        return await read()
    except ClientDisconnected:
        raise
    except Refused as exc:
        return unread(principal, exc)
    except Exception:  # a defect
        logger.exception("a request to %s could not be parsed", principal.channel)
        return unread(principal, internal_error())


def unread(principal: Principal, refusal: GatewayError) -> Call:
    """Return the call of an invalid request: it only leaves an audit row."""
    return Call(
        model="",
        body=Unread(),
        usage_bound=NOTHING,
        dimensions=principal.fixed,
        refusal=refusal,
    )
