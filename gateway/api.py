"""`POST /api/ai/request` and `POST /api/ai/quote`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from gateway import pipeline
from gateway.answers import EventStream, Pieces, answer_body, error_response, json_response, only
from gateway.callers import JSON_TYPE, RoleNotAllowed, authenticate, not_json
from gateway.core.calls import Call, Principal
from gateway.core.errors import GatewayError, Refused
from gateway.core.request_body import call_from, invalid
from gateway.exchange import Exchange
from gateway.quote import quote
from gateway.runtime import Gateway, current
from orgs.fields import new_id

# Longer than any length that is worth reading as a number.
LENGTH_MAX_DIGITS: Final = 12


@csrf_exempt  # the token is checked where it matters: for callers with a session
@only("POST")
async def ai_request(request: HttpRequest) -> HttpResponseBase:
    """Send one request through the gateway."""
    gateway = current()
    try:
        principal = await authenticate(gateway, request, channel="api")
        call = read_call(request, principal)
    except RoleNotAllowed as exc:
        principal, call = exc.principal, unread(exc.principal, exc)
    except GatewayError as exc:
        return error_response(exc, new_id(), has_organization=False)
    started: list[Exchange] = []
    try:
        return await gateway.home.call(_answer(gateway, principal, call, started))
    except asyncio.CancelledError:
        # The stream may be ready at home just when its client leaves: nobody would read it.
        gateway.home.tell(partial(_abandon, started))
        raise


def _abandon(started: list[Exchange]) -> None:
    for exchange in started:
        if not exchange.is_abandoned():
            exchange.abandon()


async def _answer(
    gateway: Gateway, principal: Principal, call: Call, started: list[Exchange]
) -> HttpResponseBase:
    """Follow the call at home: to its end, or to the first piece of its stream."""
    try:
        exchange = pipeline.start(gateway, principal, call)
    except Refused as exc:
        return error_response(exc, new_id())
    started.append(exchange)
    if call.stream:
        return await _streamed(gateway, exchange)
    try:
        answer = await exchange.result()
        return json_response(answer_body(answer), answer.request_id)
    except GatewayError as exc:
        return error_response(exc, exchange.request_id)


async def _streamed(gateway: Gateway, exchange: Exchange) -> HttpResponseBase:
    # The status is known with the first event: a refusal is a refusal, not a stream.
    first = await exchange.next()
    if isinstance(first, GatewayError):
        return error_response(first, exchange.request_id)
    return EventStream(Pieces(gateway, exchange, first), exchange.request_id)


@csrf_exempt
@only("POST")
async def ai_quote(request: HttpRequest) -> HttpResponse:
    """Say what a request with this body would be allowed and cost; calls and writes nothing."""
    gateway, request_id = current(), new_id()
    try:
        principal = await authenticate(gateway, request, channel="api", reads=True)
    except GatewayError as exc:
        known = isinstance(exc, RoleNotAllowed)
        return error_response(exc, request_id, has_organization=known)
    try:
        call = read_call(request, principal)
        if call.refusal is not None:
            raise call.refusal
        return json_response(await quote(gateway, principal, call), request_id)
    except GatewayError as exc:
        return error_response(exc, request_id)


def read_call(request: HttpRequest, principal: Principal) -> Call:
    """Return the call that the body asks for; one that cannot be read carries its refusal."""
    try:
        return call_from(
            json_body(request),
            principal=principal,
            idempotency_key=request.headers.get("idempotency-key"),
        )
    except Refused as exc:
        return unread(principal, exc)


def unread(principal: Principal, refusal: Refused) -> Call:
    """Return the call of a request that nobody reads: it leaves its audit row and no more."""
    return Call(model="", messages=(), dimensions=principal.fixed, refusal=refusal)


def json_body(request: HttpRequest) -> bytes:
    """Return the body. Raises Refused for one that is not plain JSON or too large."""
    if request.content_type != JSON_TYPE:
        raise not_json()
    encoding = request.headers.get("content-encoding", "").strip().lower()
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
