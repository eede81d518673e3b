"""Relay requests: the body is sent as bytes and the response is returned as bytes.

For clients that already use the provider's format: no field is lost, no SDK is imported, and a
streamed chunk costs microseconds. The `RelayRequest` defines what is sent and how the response is
parsed; this module only sends, reads and classifies failures.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

import orjson

from gateway.core.calls import Completion, RelayRequest
from gateway.core.errors import Broken, Unreachable
from gateway.upstream.failures import Peer, answered_with
from gateway.upstream.http_client import (
    BrokenOff,
    HttpClient,
    NotSent,
    UpstreamResponse,
    is_not_sent,
)
from gateway.upstream.transport import ANSWER_MAX_BYTES, STREAM_MAX_BYTES
from gateway.upstream.untrusted_json import ErrorAnswer
from gateway.upstream.upstreams import Upstream

ERROR_MAX_BYTES: Final = 1024 * 1024
# The provider's headers that the client may see; none of them identifies the account.
HEADERS_RETURNED: Final = frozenset(
    {
        *(
            f"anthropic-ratelimit-{counted}-{figure}"
            for counted in ("requests", "tokens", "input-tokens", "output-tokens")
            for figure in ("limit", "remaining", "reset")
        ),
        *(
            f"x-ratelimit-{figure}-{counted}"
            for counted in ("requests", "tokens", "req-minute", "tokens-minute")
            for figure in ("limit", "remaining", "reset")
        ),
        "openai-processing-ms",
        "openai-version",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "server-timing",
        "x-request-id",
        "x-should-retry",
    }
)
# Anything else is not passed on: no server needs a control character or an essay in a header.
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Relay:
    """Send relayed requests through the HTTP client of an event loop."""

    _http: HttpClient

    async def whole(self, upstream: Upstream, request: RelayRequest) -> Completion:
        """Request a plain response and read it. Raises ProviderFailed."""
        answer = await self._sent(upstream, request)
        try:
            await _check(answer, upstream.peer)
            return await _whole(answer, upstream.peer, request)
        finally:
            answer.release()

    @asynccontextmanager
    async def stream(
        self, upstream: Upstream, request: RelayRequest
    ) -> AsyncIterator[Stream | Completion]:
        """Request a streamed response; one that is not streamed yields its Completion.

        Leaving early closes the connection, which stops the provider. Raises ProviderFailed.
        """
        answer = await self._sent(upstream, request)
        try:
            await _check(answer, upstream.peer)
            if answer.content_type in request.streamed_as:
                yield Stream(answer, upstream.peer)
            else:
                yield await _whole(answer, upstream.peer, request)
        finally:
            answer.release()  # returned to the pool if read to its end, otherwise closed

    async def _sent(self, upstream: Upstream, request: RelayRequest) -> UpstreamResponse:
        """Send the request, once, and wait for the response's head. Raises ProviderFailed.

        A cancellation before anything was sent has Unreachable as its cause.
        """
        unsent = f'Provider "{upstream.peer.title}" could not be reached; nothing was sent'
        try:
            return await self._http.send(
                upstream.address(request.path),
                headers={**request.headers, **upstream.headers},
                body=request.body,
            )
        except NotSent as exc:
            raise Unreachable(unsent) from exc
        except asyncio.CancelledError as exc:
            if is_not_sent(exc):
                raise exc from Unreachable(unsent)
            raise
        except BrokenOff as exc:
            raise Broken(upstream.peer.broke_off("")) from exc


@dataclass(slots=True, eq=False)
class Stream:
    """The chunks of a response as they arrive. Raises ProviderFailed if it breaks off."""

    _answer: UpstreamResponse
    _peer: Peer
    _bytes: int = 0

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers for the client, with the content type, which is one of a stream's."""
        given = self._answer.headers["content-type"]
        kind = given if _HEADER_VALUE.fullmatch(given) else self._answer.content_type
        return {**returned(self._answer, self._peer), "content-type": kind}

    async def next(self) -> bytes:
        """Wait for and return the next bytes; empty at the end."""
        try:
            chunk = await self._answer.next()
        except BrokenOff as exc:
            raise Broken(self._peer.broke_off(""), provider_status=self._answer.status) from exc
        self._bytes += len(chunk)
        if self._bytes > STREAM_MAX_BYTES:
            raise Broken(f'Provider "{self._peer.title}" sent an answer above the size limit')
        return chunk


def returned(answer: UpstreamResponse, peer: Peer) -> Mapping[str, str]:
    """Return the headers of a response that the client may see."""
    return {
        name: value
        for name, value in answer.headers.items()
        if name in HEADERS_RETURNED
        and _HEADER_VALUE.fullmatch(value)
        and peer.hidden(value) == value
    }


async def _whole(answer: UpstreamResponse, peer: Peer, request: RelayRequest) -> Completion:
    body = await _body(answer, peer, at_most=ANSWER_MAX_BYTES)
    try:
        completion = request.whole(body)
    except ErrorAnswer as exc:
        sentence = peer.broke_off(str(exc))
        raise Broken(sentence, provider_status=answer.status, usage=exc.usage) from exc
    except orjson.JSONDecodeError as exc:
        raise Broken(peer.broke_off(""), provider_status=answer.status) from exc
    return replace(completion, body=peer.without_secret(body), headers=returned(answer, peer))


async def _check(answer: UpstreamResponse, peer: Peer) -> None:
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if answer.status < HTTPStatus.BAD_REQUEST:
        sentence = f'Provider "{peer.title}" answered with a redirect, which is not followed'
        raise Broken(sentence, provider_status=answer.status)
    body = await _body(answer, peer, at_most=ERROR_MAX_BYTES)
    raise answered_with(answer.status, answer.headers, body, peer=peer)


async def _body(answer: UpstreamResponse, peer: Peer, *, at_most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        while chunk := await answer.next():
            size += len(chunk)
            if size > at_most:
                raise Broken(f'Provider "{peer.title}" sent an answer above the size limit')
            pieces.append(chunk)
    except BrokenOff as exc:
        raise Broken(peer.broke_off(""), provider_status=answer.status) from exc
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
