"""`POST /api/ai/request` and `POST /api/ai/quote`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from gateway import pipeline
from gateway.answers import answer_response, error_response, stream_response
from gateway.callers import authenticate
from gateway.core.calls import Call, Principal
from gateway.core.errors import GatewayError, Refused
from gateway.core.request_body import call_from, invalid
from gateway.exchange import Exchange
from gateway.quote import quote
from gateway.runtime import Gateway, current
from orgs.fields import new_id

JSON_TYPE: Final = "application/json"


@csrf_exempt  # the token is checked where it matters: for callers with a session
async def ai_request(request: HttpRequest) -> HttpResponseBase:
    """Send one request through the gateway."""
    gateway = current()
    try:
        only(request, "POST")
        principal = await authenticate(gateway, request, channel="api")
    except GatewayError as exc:
        return error_response(exc, new_id(), has_organization=False)
    call = read_call(request, principal)
    return await gateway.home.call(_answer(gateway, principal, call))


async def _answer(gateway: Gateway, principal: Principal, call: Call) -> HttpResponseBase:
    """Follow the call at home: to its end, or to the first piece of its stream."""
    try:
        exchange = pipeline.start(gateway, principal, call)
    except Refused as exc:
        return error_response(exc, new_id())
    if call.stream:
        return await _streamed(gateway, exchange)
    try:
        return answer_response(await exchange.result())
    except GatewayError as exc:
        return error_response(exc, exchange.request_id)


async def _streamed(gateway: Gateway, exchange: Exchange) -> HttpResponseBase:
    # The status is known with the first event: a refusal is a refusal, not a stream.
    first = await exchange.next()
    if isinstance(first, GatewayError):
        return error_response(first, exchange.request_id)
    return stream_response(gateway, exchange, first)


@csrf_exempt
async def ai_quote(request: HttpRequest) -> HttpResponse:
    """Say what a request with this body would be allowed and cost; calls and writes nothing."""
    gateway, request_id = current(), new_id()
    try:
        only(request, "POST")
        principal = await authenticate(gateway, request, channel="api", reads=True)
    except GatewayError as exc:
        return error_response(exc, request_id, has_organization=False)
    try:
        call = read_call(request, principal)
        if call.refusal is not None:
            raise call.refusal
        return await quote(gateway, principal, call, request_id=request_id)
    except GatewayError as exc:
        return error_response(exc, request_id)


def only(request: HttpRequest, *methods: str) -> None:
    """Raise Refused (405) unless the request's method is one of these."""
    if request.method not in methods:
        sentence = f"{request.method} is not allowed here; use {' or '.join(methods)}"
        raise Refused("method_not_allowed", sentence, status=405)


def read_call(request: HttpRequest, principal: Principal) -> Call:
    """Return the call that the body asks for; one that cannot be read carries its refusal."""
    try:
        return call_from(
            json_body(request),
            principal=principal,
            idempotency_key=request.headers.get("idempotency-key"),
        )
    except Refused as exc:
        nobody = Call(model="", messages=(), dimensions=principal.fixed)
        return replace(nobody, refusal=exc)


def json_body(request: HttpRequest) -> bytes:
    """Return the body. Raises Refused for one that is not plain JSON or too large."""
    if request.content_type != JSON_TYPE:
        sentence = f"The body is {JSON_TYPE}"
        raise Refused("unsupported_media_type", sentence, status=415)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise invalid("Compressed bodies are not taken")
    if int(request.META.get("CONTENT_LENGTH") or 0) > settings.BODY_MAX_BYTES:
        raise _too_large()
    try:
        body = request.body
    except RequestDataTooBig as exc:
        raise _too_large() from exc
    if len(body) > settings.BODY_MAX_BYTES:
        raise _too_large()
    return body


def _too_large() -> Refused:
    mebibytes = settings.BODY_MAX_BYTES // 2**20
    sentence = f"The body is larger than {mebibytes} MiB"
    return Refused("body_too_large", sentence, status=413)
