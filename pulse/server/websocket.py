"""The ASGI handler of WebSockets: they are served at one path, to callers with a key.

Anyone who may not have one gets an HTTP answer in place of the upgrade. Browsers send cookies from
pages of any origin, so a session does not count here.
"""

from __future__ import annotations

from typing import Final

from django.core.exceptions import DisallowedHost
from django.http import HttpResponse, HttpResponseBase
from django.urls import Resolver404, resolve

from gateway.apis.responses.responses import PATH
from gateway.call.runtime import Gateway, current
from gateway.core.body_budget import (
    ARRIVING_OF_CALLER_MAX_BYTES,
    WEBSOCKETS_OF_CALLER_MAX,
    WEBSOCKETS_OF_ORGANIZATION_MAX,
    shares_of,
)
from gateway.core.calls import Principal
from gateway.core.errors import Refused
from gateway.core.request_body import invalid
from gateway.http.addresses import not_served
from gateway.http.answers import with_vendors_ids
from gateway.http.bodies import ApiRequest, IncomingBody, Receive
from gateway.http.compatible import caller_of, refused
from gateway.http.headers import header
from gateway.http.outside import error_outside
from gateway.http.websocket.connection import Connection, dialect_of
from pulse.server.api_handler import Scope, Send, headers_in
from pulse.server.websocket_protocol import COUNT_MESSAGES

_SCHEMES: Final = {"ws": "http", "wss": "https"}
_COOKIE: Final = b"cookie"


async def handle(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket, or refuse it."""
    gateway = current()
    request = _request_of(scope, receive)
    caller = await _caller_of(request)
    if isinstance(caller, HttpResponseBase):
        await _refuse(caller, send)
        return
    shares = shares_of(
        caller,
        organization=WEBSOCKETS_OF_ORGANIZATION_MAX,
        caller=WEBSOCKETS_OF_CALLER_MAX,
    )
    if not gateway.websockets.take(1, shares):
        sentence = "Too many WebSockets of this key or organization are open; use POST over HTTP"
        refusal = Refused("rate_limited", sentence, status=429, retry_after_s=1)
        await _refuse(refused(dialect_of(request), refusal), send)
        return
    try:
        await _serve(gateway, caller, request, receive, send)
    finally:
        gateway.websockets.give_back(1, shares)


def _request_of(scope: Scope, receive: Receive) -> ApiRequest:
    """Return the request for the upgrade, without cookies."""
    headers = [(name, value) for name, value in scope["headers"] if name != _COOKIE]
    http = {"type": "http", "method": "GET", "scheme": _SCHEMES[scope["scheme"]]}
    return ApiRequest({**scope, **http, "headers": headers}, IncomingBody(scope, receive))


async def _caller_of(request: ApiRequest) -> Principal | HttpResponseBase:
    """Return who is calling, or the answer to a request that gets no WebSocket."""
    try:
        request.get_host()
    except DisallowedHost:
        sentence = "The Host header must name a host that this gateway serves"
        return error_outside(request, invalid(sentence))
    if request.path_info != PATH:
        return error_outside(request, _not_here(request))
    if header(request, "idempotency-key") is not None:
        return refused(
            dialect_of(request), invalid("Idempotency-Key is not supported on a WebSocket")
        )
    return await caller_of(dialect_of(request), request)


def _not_here(request: ApiRequest) -> Refused:
    try:
        resolve(request.path_info)
    except Resolver404:
        return not_served(request)
    sentence = f"WebSockets are served at {PATH} only; use HTTP here"
    return Refused("not_found", sentence, status=404)


async def _serve(
    gateway: Gateway, caller: Principal, request: ApiRequest, receive: Receive, send: Send
) -> None:
    bodies, shares = gateway.bodies, shares_of(caller, caller=ARRIVING_OF_CALLER_MAX_BYTES)
    request.scope["state"][COUNT_MESSAGES](
        lambda n_bytes: bodies.take(n_bytes, shares),
        lambda n_bytes: bodies.give_back(n_bytes, shares),
    )
    if (await receive())["type"] == "websocket.connect":
        await send({"type": "websocket.accept"})
        await Connection(gateway, request, caller, send).serve(receive)


async def _refuse(response: HttpResponseBase, send: Send) -> None:
    answer: HttpResponse = with_vendors_ids(response)  # type: ignore[assignment]  # no stream
    start = {"status": answer.status_code, "headers": headers_in(answer)}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": answer.content})
