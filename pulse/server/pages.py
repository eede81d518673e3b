"""Bodies of pages: received within their limits before Django sees the request.

Django's own handler would write a body of any size to the temporary folder, from anyone, for any
path, for as long as the client takes.
"""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse

from gateway.call.runtime import current
from gateway.core.body_budget import ADDRESS_MAX_BYTES, BODY_MAX_S, PAGES_MAX_BYTES
from gateway.core.errors import Refused
from gateway.http.answers import with_error_headers
from gateway.http.bodies import ClientDisconnected, IncomingBody, Receive
from pulse.server.api_handler import Scope, Send, send_whole
from pulse.server.page_turns import Application, before

BODY_MAX_BYTES: Final = 1024 * 1024


async def handle(
    application: Application,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    body_max_s: float = BODY_MAX_S,
) -> None:
    """Receive the body and pass the request on; 413, 408 or 503 when it is refused."""
    incoming = IncomingBody(scope, receive, max_s=body_max_s)
    try:
        if incoming.is_complete:
            await application(scope, receive, send)
            return
        async with incoming.received(
            max_bytes=BODY_MAX_BYTES,
            budget=current().bodies,
            shares={"pages": PAGES_MAX_BYTES, incoming.address: ADDRESS_MAX_BYTES},
        ) as body:
            whole = {"type": "http.request", "body": body, "more_body": False}
            await application(scope, before(whole, receive), send)
    except Refused as exc:
        await send_whole(_sentence(exc), incoming, send)
    except ClientDisconnected:
        return


def _sentence(refusal: Refused) -> HttpResponse:
    response = HttpResponse(
        f"{refusal.message}.\n",
        content_type="text/plain; charset=utf-8",
        status=refusal.status,
    )
    response["X-Content-Type-Options"] = "nosniff"
    return with_error_headers(response, refusal)
