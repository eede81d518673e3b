"""From a request's body to the pipeline and back to a response, whatever the API."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponseBase, UnreadablePostError

from gateway import pipeline
from gateway.answers import EventStream, Pieces, Wording
from gateway.callers import JSON_TYPE, not_json
from gateway.core.calls import Call, Principal, Unread
from gateway.core.demand import NOTHING
from gateway.core.errors import GatewayError, Refused
from gateway.core.request_body import invalid
from gateway.exchange import Answered, Exchange
from gateway.headers import header
from gateway.runtime import Gateway

# Longer than any length that is worth reading as a number.
LENGTH_MAX_DIGITS: Final = 12


async def serve(
    gateway: Gateway, principal: Principal, call: Call, wording: Wording, request_id: UUID
) -> HttpResponseBase:
    """Send the call down the pipeline and answer with what comes of it."""
    started: list[Exchange] = []

    async def at_home() -> HttpResponseBase:
        try:
            exchange = pipeline.start(gateway, principal, call, request_id=request_id)
        except Refused as exc:  # the process is stopping
            return wording.refusal(exc, request_id)
        started.append(exchange)
        return await _answer(gateway, call, exchange, wording)

    try:
        return await gateway.home.call(at_home())
    except asyncio.CancelledError:
        # The stream may be ready on its loop just when its client leaves: nobody would read it.
        gateway.home.tell(partial(_abandon, started))
        raise


def _abandon(started: list[Exchange]) -> None:
    for exchange in started:
        if not exchange.is_abandoned():
            exchange.abandon()


async def _answer(
    gateway: Gateway, call: Call, exchange: Exchange, wording: Wording
) -> HttpResponseBase:
    """Follow the call to its end, or to the first piece of its stream."""
    if call.stream:
        return await _streamed(gateway, exchange, wording)
    try:
        return wording.whole(await exchange.result())
    except GatewayError as exc:
        return wording.refusal(exc, exchange.request_id)


async def _streamed(gateway: Gateway, exchange: Exchange, wording: Wording) -> HttpResponseBase:
    # The status is known with the first event: a refusal is a refusal, not a stream.
    first = await exchange.next()
    if isinstance(first, GatewayError):
        return wording.refusal(first, exchange.request_id)
    if isinstance(first, Answered) and first.completion.body is not None:
        return wording.whole(first)  # a provider that does not stream
    pieces = Pieces(gateway, exchange, wording, first)
    return EventStream(pieces, exchange.request_id, headers=exchange.headers)


def unread(principal: Principal, refusal: Refused) -> Call:
    """Return the call of a request that nobody reads: it leaves its audit row and no more."""
    return Call(
        model="",
        form=Unread(),
        demand=NOTHING,
        dimensions=principal.fixed,
        refusal=refusal,
    )


def json_body(request: HttpRequest) -> bytes:
    """Return the body. Raises Refused for one that is not plain JSON or too large."""
    if request.content_type != JSON_TYPE:
        raise not_json()
    encoding = (header(request, "content-encoding") or "").strip().lower()
    if encoding not in ("", "identity"):
        raise invalid("Compressed bodies are not taken")
    if _declared_bytes(request) > settings.BODY_MAX_BYTES:
        raise _too_large()
    try:
        body = request.body
    except RequestDataTooBig as exc:
        raise _too_large() from exc
    except UnreadablePostError as exc:
        raise invalid("The body could not be read") from exc
    if len(body) > settings.BODY_MAX_BYTES:
        raise _too_large()
    return body


def _declared_bytes(request: HttpRequest) -> int:
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if not (declared.isascii() and declared.isdigit()):
        raise invalid("Content-Length is not a number")
    digits = declared.lstrip("0") or "0"
    if len(digits) > LENGTH_MAX_DIGITS:
        raise _too_large()
    return int(digits)


def _too_large() -> Refused:
    mebibytes = settings.BODY_MAX_BYTES // 2**20
    sentence = f"The body is larger than {mebibytes} MiB"
    return Refused("body_too_large", sentence, status=413)
