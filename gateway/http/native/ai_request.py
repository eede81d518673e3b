"""`POST /api/ai/request` and `POST /api/ai/quote`."""

from __future__ import annotations

from functools import partial

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from gateway.call.runtime import current
from gateway.core.calls import Call, Principal
from gateway.core.errors import GatewayError
from gateway.core.request_body import call_from
from gateway.http.answers import ApiWording, error_response, json_response
from gateway.http.bodies import parsed
from gateway.http.callers import NotAllowed, authenticate
from gateway.http.headers import header
from gateway.http.native.quote import quote
from gateway.http.outside import only
from gateway.http.queries import query_of
from gateway.http.serving import read_or_refuse, serve, unread
from orgs.core.permissions import Permission
from orgs.fields import new_id


@csrf_exempt  # the token is checked for callers with a session
@only("POST")
async def ai_request(request: HttpRequest) -> HttpResponseBase:
    """Send one request through the gateway."""
    gateway = current()
    try:
        principal = await authenticate(gateway, request, channel="api", needs=Permission.SEND)
        call = await read_call(request, principal)
    except NotAllowed as exc:
        principal, call = exc.principal, unread(exc.principal, exc)
    except GatewayError as exc:
        return error_response(exc, new_id(), has_organization=False)
    return await serve(gateway, principal, call, ApiWording(), new_id())


@csrf_exempt
@only("POST")
async def ai_quote(request: HttpRequest) -> HttpResponse:
    """Quote a request with this body: allowed or not, and its cost; calls and writes nothing."""
    gateway, request_id = current(), new_id()
    try:
        principal = await authenticate(gateway, request, channel="api", needs=Permission.QUOTE)
    except GatewayError as exc:
        known = isinstance(exc, NotAllowed)
        return error_response(exc, request_id, has_organization=known)
    try:
        call = await read_call(request, principal)
        if call.refusal is not None:
            raise call.refusal
        return json_response(await quote(gateway, principal, call), request_id)
    except GatewayError as exc:
        return error_response(exc, request_id)


async def read_call(request: HttpRequest, principal: Principal) -> Call:
    """Receive the body and parse it into a call; an invalid one carries its refusal."""

    async def read() -> Call:
        query_of(request)
        key = header(request, "idempotency-key")
        parse = partial(call_from, principal=principal, idempotency_key=key)
        return await parsed(request, principal, parse)

    return await read_or_refuse(principal, read)
