"""What the JSON API answers with: one place for every answer and every error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse

from costs.core.money import euros
from gateway.core.calls import Delta
from gateway.core.errors import AlreadyDone, GatewayError
from gateway.exchange import Answered, Event, Exchange
from gateway.runtime import Gateway

REQUEST_ID_HEADER: Final = "x-pulse-request-id"


def answer_body(answer: Answered) -> dict[str, Any]:
    """Return the contract's object for a finished call."""
    total = None
    if answer.input_tokens is not None and answer.output_tokens is not None:
        total = answer.input_tokens + answer.output_tokens
    return {
        "success": True,
        "requestId": str(answer.request_id),
        "provider": answer.provider,
        "model": answer.model,
        "content": answer.content,
        "finishReason": answer.finish_reason,
        "inputTokens": answer.input_tokens,
        "outputTokens": answer.output_tokens,
        "totalTokens": total,
        "estimatedCostEur": float(answer.cost_eur),
        "latencyMs": answer.latency_ms,
    }


def error_body(error: GatewayError, request_id: UUID) -> dict[str, Any]:
    """Return the contract's object for a refusal or a failure."""
    body: dict[str, Any] = {
        "success": False,
        "error": error.message,
        "code": error.code,
        "requestId": str(request_id),
    }
    if isinstance(error, AlreadyDone):
        body["requestId"] = str(error.request_id)
        body["estimatedCostEur"] = float(euros(error.cost_nanoeur))
    return body


def error_response(
    error: GatewayError, request_id: UUID, *, has_organization: bool = True
) -> HttpResponse:
    """Return the error as JSON; the request's id is in a header once it has an organization."""
    response = JsonResponse(error_body(error, request_id), status=error.status)
    if error.retry_after_s is not None:
        response["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="pulse"'
    return _finished(response, request_id if has_organization else None)


def answer_response(answer: Answered) -> HttpResponse:
    """Return a finished call as JSON."""
    return _finished(JsonResponse(answer_body(answer)), answer.request_id)


def stream_response(
    gateway: Gateway, exchange: Exchange, first: Delta | Answered
) -> StreamingHttpResponse:
    """Return the exchange as server-sent events, beginning with its first event."""
    response = StreamingHttpResponse(
        _server_sent(gateway, exchange, first), content_type="text/event-stream; charset=utf-8"
    )
    response["X-Accel-Buffering"] = "no"  # a proxy that waits for more would defeat the stream
    finished: StreamingHttpResponse = _finished(response, exchange.request_id)
    return finished


async def _server_sent(
    gateway: Gateway, exchange: Exchange, first: Delta | Answered
) -> AsyncIterator[bytes]:
    event: Event = first
    try:
        while isinstance(event, Delta):
            yield _event("delta", {"content": event.content})
            event = await gateway.home.call(exchange.next())
        if isinstance(event, Answered):
            done = answer_body(event)
            del done["content"]
            yield _event("done", done)
        else:
            yield _event("error", error_body(event, exchange.request_id))
    finally:
        if isinstance(event, Delta):  # the client left before the end
            gateway.home.tell(exchange.abandon)


def _event(name: str, data: dict[str, Any]) -> bytes:
    # JSON has no raw line breaks, so one data line carries it.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode(errors="replace")


def _finished(response: Any, request_id: UUID | None) -> Any:
    if request_id is not None:
        response[REQUEST_ID_HEADER] = str(request_id)
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
