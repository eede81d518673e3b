"""A lean ASGI handler for API paths: Django's request, URLconf and views, without the rest.

Django's own ASGI handler costs 1.4-2 ms of CPU a request under load (signals, a thread for each
request, a spooled file); this costs 0.03 ms. It does what the API needs of the middleware:
the host check, JSON errors, headers. A body is received when the view asks for it, which is when
the caller is known (`gateway/http/bodies.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import BadRequest, DisallowedHost, SuspiciousOperation
from django.http import Http404, HttpResponseBase
from django.urls import ResolverMatch, resolve

from gateway.core.body_budget import BODY_MAX_S
from gateway.core.errors import GatewayError
from gateway.core.request_body import invalid
from gateway.http.addresses import not_served
from gateway.http.answers import CLIENTS_PATHS, EventStream, error_response, with_vendors_ids
from gateway.http.bodies import (
    ApiRequest,
    ClientDisconnected,
    IncomingBody,
    Receive,
)
from gateway.http.outside import error_outside, is_preflight, preflight, with_cors
from orgs.fields import new_id

Scope = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

WATCHED_AFTER_S: Final = 0.25
PATHS_MAX: Final = 1000

# As Django's own middleware writes it.
_HSTS: Final = (
    f"max-age={settings.SECURE_HSTS_SECONDS}"
    + ("; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else "")
    + ("; preload" if settings.SECURE_HSTS_PRELOAD else "")
)

logger = logging.getLogger("pulse.api")


async def handle(
    scope: Scope, receive: Receive, send: Send, *, body_max_s: float = BODY_MAX_S
) -> None:
    """Answer one API request. When the client disconnects, the view is cancelled."""
    body = IncomingBody(scope, receive, max_s=body_max_s)
    watch = _Watch(receive, body)
    try:
        try:
            request = ApiRequest(dict(scope), body)
        except UnicodeDecodeError:
            refusal = error_response(
                invalid("The URL must be UTF-8"), new_id(), has_organization=False
            )
            if scope["path"].startswith(CLIENTS_PATHS):
                with_vendors_ids(refusal)
            await send_whole(refusal, body, send)
            return
        await _respond(await _response(request), request, send)
    except ClientDisconnected:
        return
    except asyncio.CancelledError:
        if not watch.has_left:
            raise
    finally:
        watch.end()


class _Watch:
    """Cancel the answering task when the client disconnects after its body is complete.

    It checks after a delay, since most answers take less: a task costs 20 us.
    """

    def __init__(self, receive: Receive, body: IncomingBody) -> None:
        self.has_left = False
        self._receive = receive
        self._body = body
        self._answering = asyncio.current_task()
        self._waiting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(WATCHED_AFTER_S, self._look)

    def end(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        if self._waiting is not None:
            self._waiting.cancel()

    def _look(self) -> None:
        if self._body.is_complete:
            self._waiting = self._loop.create_task(self._wait())
        else:
            self._timer = self._loop.call_later(WATCHED_AFTER_S, self._look)

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.has_left = True
        if self._answering is not None:
            self._answering.cancel()


async def _response(request: ApiRequest) -> HttpResponseBase:
    try:
        request.get_host()  # raises DisallowedHost
        if is_preflight(request):
            return preflight()
        match = _resolved(request.path_info)
        request.resolver_match = match
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
    except DisallowedHost:
        sentence = "The Host header must name a host that this gateway serves"
        return error_outside(request, invalid(sentence))
    except (BadRequest, SuspiciousOperation):
        return error_outside(request, invalid("The request could not be read"))
    except ClientDisconnected:
        raise
    except Http404:
        return error_outside(request, not_served(request))
    except Exception:  # a defect: answered as JSON, like every error here
        logger.exception("%s %s failed", request.method, request.path)
        return error_outside(request, GatewayError("Internal error of the gateway"))
    return response


@lru_cache(maxsize=PATHS_MAX)
def _resolved(path: str) -> ResolverMatch:
    """Return the view of a path and its arguments. Django takes 60 us to resolve it.

    Raises Http404, also for a page, whose view is not asynchronous.
    """
    match = resolve(path)
    if not iscoroutinefunction(match.func):
        raise Http404
    return match


async def _respond(response: HttpResponseBase, request: ApiRequest, send: Send) -> None:
    if settings.SECURE_HSTS_SECONDS and request.is_secure():
        response["Strict-Transport-Security"] = _HSTS
    with_cors(request, response)
    if request.path_info.startswith(CLIENTS_PATHS):
        with_vendors_ids(response)
    if isinstance(response, EventStream):
        await _send_pieces(response, send)
    else:
        is_head = request.method == "HEAD"
        await send_whole(response, request.incoming, send, is_head=is_head)


async def send_whole(
    response: HttpResponseBase, request_body: IncomingBody, send: Send, *, is_head: bool = False
) -> None:
    """Send a response; after it the connection ends if the request's body has not been read.

    It ends after any 401, so that a key that is found revoked later is answered like all others.
    """
    content: bytes = response.content  # type: ignore[attr-defined]  # streams are sent in chunks
    response["Content-Length"] = str(len(content))
    if is_head:
        content = b""
    if request_body.is_complete and response.status_code != HTTPStatus.UNAUTHORIZED:
        await send(_start(response))
        await send({"type": "http.response.body", "body": content})
        return
    response["Connection"] = "close"
    await send(_start(response))
    await send({"type": "http.response.body", "body": content, "more_body": True})
    await request_body.drop()
    await send({"type": "http.response.body"})


async def _send_pieces(response: EventStream, send: Send) -> None:
    try:
        await send(_start(response))
        await response.pieces.pass_on(
            lambda piece: send({"type": "http.response.body", "body": piece, "more_body": True})
        )
        await send({"type": "http.response.body", "body": b""})
    finally:
        response.pieces.close()  # this ends the call when the client has disconnected


def _start(response: HttpResponseBase) -> dict[str, Any]:
    headers = headers_in(response)
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


def headers_in(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    """Return a response's headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in response.items()]
