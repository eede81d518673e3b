"""Responses of the JSON API: every answer and every error."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, Self, TypeVar
from uuid import UUID

import orjson
from django.conf import settings
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from costs.core.money import euros
from gateway.call.call_stream import SILENCE, CallStream, Event, Piece
from gateway.call.runtime import Gateway
from gateway.core.calls import BEGUN, CallResult, Delta
from gateway.core.errors import AlreadyDone, GatewayError, Refused
from orgs.fields import new_id

REQUEST_ID_HEADER: Final = "x-pulse-request-id"
# What is left in the tightest limit on money, once the call is held.
LEFT_HEADER: Final = "x-pulse-budget-remaining-eur"
# Carries our code for APIs whose errors have no field for it.
CODE_HEADER: Final = "x-pulse-error-code"
# The output cap in the provider's request.
OUTPUT_CAP_HEADER: Final = "x-pulse-output-cap"
# Under these names the vendors' libraries read and show the id: OpenAI's and Mistral's clients the
# first, Anthropic's the second.
VENDORS_ID_HEADERS: Final = ("x-request-id", "request-id")
CLIENTS_PATHS: Final = ("/v1/", "/v1beta/")
# The Retry-After of a 429 without one from the provider.
RETRY_AFTER_S: Final = 1

# Statuses of refusals that leave no audit row.
_NOT_RECORDED: Final = (401, 503)
JSON_TYPE: Final = "application/json"
# A comment, which clients ignore.
_PING: Final = b": ping\n\n"
EVENTS_TYPE: Final = "text/event-stream; charset=utf-8"

R = TypeVar("R", bound=HttpResponseBase)


def answer_body(answer: CallResult) -> dict[str, Any]:
    """Return the JSON object of a finished call."""
    total = None
    if answer.input_tokens is not None and answer.output_tokens is not None:
        total = answer.input_tokens + answer.output_tokens
    return {
        "success": True,
        "requestId": str(answer.request_id),
        "provider": answer.provider,
        "model": answer.model,
        "content": answer.completion.content,
        "finishReason": answer.completion.finish_reason,
        "inputTokens": answer.input_tokens,
        "outputTokens": answer.output_tokens,
        "totalTokens": total,
        "estimatedCostEur": None if answer.cost_eur is None else float(answer.cost_eur),
        "latencyMs": answer.latency_ms,
    }


def error_body(error: GatewayError, request_id: UUID) -> dict[str, Any]:
    """Return the JSON object of a refusal or a failure."""
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
    error: GatewayError, request_id: UUID, *, has_organization: bool = True, has_row: bool = False
) -> HttpResponse:
    """Return the error as JSON, with a request id header if the organization is known."""
    # A key that was just revoked is detected late, and must look like any invalid one.
    shown_id = request_id if has_organization and error.status != 401 else None
    link = link_to_request(error, shown_id if has_row else None)
    body = {**error_body(error, request_id), **link}
    return with_error_headers(json_response(body, shown_id, status=error.status), error)


def link_to_request(error: GatewayError, request_id: UUID | None) -> dict[str, str]:
    """Return the address of the request's page for an error's JSON, if both are known.

    A call that this process could not take, or not record, has no row.
    """
    has_row = not isinstance(error, Refused) or error.status not in _NOT_RECORDED
    if request_id is None or not has_row or not settings.PULSE_URL:
        return {}
    shown_id = error.request_id if isinstance(error, AlreadyDone) else request_id
    return {"requestUrl": f"{settings.PULSE_URL}/r/{shown_id}"}


def with_error_headers(response: HttpResponse, error: GatewayError) -> HttpResponse:
    """Return an error's response with the headers that its status requires."""
    if error.retry_after_s is not None or response.status_code == 429:
        response["Retry-After"] = str(error.retry_after_s or RETRY_AFTER_S)
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="pulse"'
    return response


def json_response(
    body: dict[str, Any], request_id: UUID | None, *, status: int = 200
) -> HttpResponse:
    """Return a body as JSON; `request_id` is None if no organization is known."""
    response = HttpResponse(encoded(body), content_type=JSON_TYPE, status=status)
    return finished(response, request_id)


def encoded(body: dict[str, Any]) -> bytes:
    """Return a body as JSON. A provider's text may contain half of a surrogate pair."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body).encode()


def finished(response: R, request_id: UUID | None) -> R:
    """Add the headers that all responses of the API have."""
    if request_id is not None:
        response[REQUEST_ID_HEADER] = str(request_id)
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def with_vendors_ids(response: R) -> R:
    """Add the vendors' headers of the id to an answer for their clients.

    Each of these has an id, also one without an audit row.
    """
    shown_id = response.get(REQUEST_ID_HEADER) or str(new_id())
    for name in (REQUEST_ID_HEADER, *VENDORS_ID_HEADERS):
        response[name] = shown_id
    return response


class Wording(Protocol):
    """Format the answers of one API. Holds the state of a stream: one instance per answer."""

    def whole(self, answer: CallResult) -> HttpResponse:
        """Return the whole answer."""
        ...

    def piece(self, delta: Delta) -> bytes:
        """Return a streamed delta as bytes."""
        ...

    def last(self, answer: CallResult) -> bytes:
        """Return the end of a stream."""
        ...

    def refusal(self, error: GatewayError, request_id: UUID | None) -> HttpResponse:
        """Return an error instead of an answer; the id is None if no organization is known."""
        ...

    def broken(self, error: GatewayError, request_id: UUID) -> bytes:
        """Return an error that ends a stream."""
        ...


class ApiWording:
    """The Wording of `/api/ai/request`."""

    def whole(self, answer: CallResult) -> HttpResponse:
        """Return the JSON object of a finished call."""
        return json_response(answer_body(answer), answer.request_id)

    def piece(self, delta: Delta) -> bytes:
        """Return a `delta` event."""
        return _event("delta", {"content": delta.content})

    def last(self, answer: CallResult) -> bytes:
        """Return the `done` event."""
        done = answer_body(answer)
        del done["content"]
        return _event("done", done)

    def refusal(self, error: GatewayError, request_id: UUID | None) -> HttpResponse:
        """Return the JSON error."""
        known = request_id is not None
        return error_response(error, request_id or new_id(), has_organization=known, has_row=known)

    def broken(self, error: GatewayError, request_id: UUID) -> bytes:
        """Return the `error` event."""
        return _event("error", error_body(error, request_id))


class Pieces:
    """A running call as the bytes of a stream. Closing it before its end abandons the call.

    A relayed provider's stream is passed on unchanged, and its end is the end of this one.
    """

    def __init__(
        self, gateway: Gateway, stream: CallStream, wording: Wording, first: Piece | CallResult
    ) -> None:
        self._gateway = gateway
        self._stream = stream
        self._wording = wording
        self._first: Piece | CallResult | None = first
        self._is_relayed = False
        self._is_ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_ended:
            raise StopAsyncIteration
        event: Event | None = self._first
        self._first = None
        if event is None:
            event = await self._gateway.call_loop.call(self._stream.next())
        if isinstance(event, bytes | Delta):
            return self._bytes_of(event)
        if last := self._last(event):
            return last
        raise StopAsyncIteration

    async def pass_on(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send every piece up to the end."""
        first = self._first
        if not self._gateway.call_loop.is_current() or isinstance(first, CallResult):
            async for piece in self:
                await send(piece)
            return
        self._first = None

        def sink(piece: Piece) -> Awaitable[None]:
            return send(self._bytes_of(piece))

        if first is not None:
            await sink(first)
        if last := self._last(await self._stream.pour(sink)):
            await send(last)

    def _bytes_of(self, piece: Piece) -> bytes:
        if isinstance(piece, bytes):
            self._is_relayed = True
            return piece
        if piece is BEGUN:
            return b""  # the client gets the head
        return _PING if piece is SILENCE else self._wording.piece(piece)

    def _last(self, end: CallResult | GatewayError) -> bytes:
        """Return the end of the stream: nothing more after a relayed one."""
        self._is_ended = True
        if isinstance(end, CallResult) and end.completion.body is not None:
            end = GatewayError("The provider answered without a stream")
        if isinstance(end, GatewayError):
            return self._wording.broken(end, self._stream.request_id)
        return b"" if self._is_relayed else self._wording.last(end)

    def close(self) -> None:
        """Abandon the call if it has not ended."""
        if not self._is_ended and not self._stream.is_abandoned():
            self._is_ended = True
            self._gateway.call_loop.call_soon(self._stream.abandon)


class EventStream(StreamingHttpResponse):
    """A streamed call. The sender of `pieces` must close them immediately, in every case."""

    def __init__(self, pieces: Pieces, request_id: UUID, *, headers: Mapping[str, str]) -> None:
        super().__init__(pieces, headers={"Content-Type": EVENTS_TYPE, **headers})
        self.pieces = pieces
        self["X-Accel-Buffering"] = "no"  # a proxy that buffers would defeat the stream
        finished(self, request_id)


def _event(name: str, data: dict[str, Any]) -> bytes:
    # JSON has no raw line breaks, so one data line carries it.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode(errors="replace")
