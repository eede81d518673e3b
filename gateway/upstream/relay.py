"""Relay requests: the body is sent as bytes and the response is returned as bytes.

For clients that already use the provider's format: no field is lost, no SDK is imported, and a
streamed chunk costs microseconds. The `RelayRequest` defines what is sent and how the response is
parsed; this module only sends, reads and classifies failures.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

import orjson

from costs.core.usage import Usage
from gateway.core.calls import Completion, RelayRequest
from gateway.core.errors import Broken, ProviderFailed
from gateway.upstream import untrusted_json
from gateway.upstream.failures import Peer, answered_with, broken_off, unreachable
from gateway.upstream.http_client import BrokenOff, HttpClient, NotSent, UpstreamResponse
from gateway.upstream.returned_headers import HEADER_VALUE, returned
from gateway.upstream.sending import sent
from gateway.upstream.transport import ANSWER_MAX_BYTES, ERROR_MAX_BYTES, STREAM_MAX_BYTES
from gateway.upstream.untrusted_json import ErrorAnswer
from gateway.upstream.upstreams import Upstream

# A finished answer waits no longer for its count.
COUNT_TIMEOUT_S: Final = 5.0

logger = logging.getLogger("pulse.gateway")


@dataclass(frozen=True, slots=True)
class Relay:
    """Send relayed requests through the HTTP client of an event loop."""

    _http: HttpClient

    async def whole(self, upstream: Upstream, request: RelayRequest) -> Completion:
        """Request a plain response and read it. Raises ProviderFailed."""
        answer = await self._sent(upstream, request)
        try:
            await _check(answer, upstream.peer, request.dialect)
            completion = await _whole(answer, upstream.peer, request)
        finally:
            answer.release()
        if completion.usage is not None or request.count is None:
            return completion
        return replace(completion, usage=await self._counted(upstream, request.count))

    async def _counted(self, upstream: Upstream, count: RelayRequest) -> Usage | None:
        """Request the count; if that fails the usage stays unknown."""
        try:
            async with asyncio.timeout(COUNT_TIMEOUT_S):
                return (await self.whole(upstream, count)).usage
        except (ProviderFailed, TimeoutError) as exc:
            logger.info("%s: counting a request failed: %s", upstream.peer.title, exc)
            return None

    @asynccontextmanager
    async def stream(
        self, upstream: Upstream, request: RelayRequest
    ) -> AsyncIterator[Stream | Completion]:
        """Request a streamed response; one that is not streamed yields its Completion.

        Leaving early closes the connection, which stops the provider. Raises ProviderFailed.
        """
        answer = await self._sent(upstream, request)
        try:
            await _check(answer, upstream.peer, request.dialect)
            if answer.content_type in request.streamed_as:
                yield Stream(answer, upstream.peer)
            else:
                yield await _whole(answer, upstream.peer, request)
        finally:
            answer.release()  # returned to the pool if read to its end, otherwise closed

    async def _sent(self, upstream: Upstream, request: RelayRequest) -> UpstreamResponse:
        """Send the request, once, and wait for the response's head. Raises ProviderFailed."""
        try:
            return await sent(
                self._http,
                upstream.config,
                upstream.address(request),
                headers=request.headers,
                body=request.body,
                method=request.method,
            )
        except NotSent as exc:
            raise unreachable(exc, peer=upstream.peer) from exc
        except BrokenOff as exc:
            raise broken_off(exc, peer=upstream.peer) from exc


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
        kind = given if HEADER_VALUE.fullmatch(given) else self._answer.content_type
        return {**returned(self._answer.headers, self._peer.hidden), "content-type": kind}

    async def next(self) -> bytes:
        """Wait for and return the next bytes; empty at the end."""
        try:
            chunk = await self._answer.next()
        except BrokenOff as exc:
            raise broken_off(exc, peer=self._peer, status=self._answer.status) from exc
        self._bytes += len(chunk)
        if self._bytes > STREAM_MAX_BYTES:
            raise Broken(f'Provider "{self._peer.title}" sent an answer above the size limit')
        return chunk


async def _whole(answer: UpstreamResponse, peer: Peer, request: RelayRequest) -> Completion:
    body = await _body(answer, peer)
    try:
        completion = _read(request, body)
    except ErrorAnswer as exc:
        sentence = peer.broke_off(str(exc))
        raise Broken(sentence, provider_status=answer.status, usage=exc.usage) from exc
    except orjson.JSONDecodeError as exc:
        raise Broken(peer.broke_off(""), provider_status=answer.status) from exc
    return replace(
        completion, body=peer.without_secret(body), headers=returned(answer.headers, peer.hidden)
    )


def _read(request: RelayRequest, body: bytes) -> Completion:
    try:
        return request.whole(body)
    except orjson.JSONDecodeError:
        return request.whole(untrusted_json.strict(body))


async def _check(answer: UpstreamResponse, peer: Peer, dialect: str) -> None:
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if answer.status < HTTPStatus.BAD_REQUEST:
        sentence = f'Provider "{peer.title}" answered with a redirect, which is not followed'
        raise Broken(sentence, provider_status=answer.status)
    raise answered_with(answer, await _error_body(answer), peer=peer, dialect=dialect)


async def _error_body(answer: UpstreamResponse) -> bytes:
    """Return the body of an error; empty if it breaks off or is too large: it proves nothing."""
    body = b""
    try:
        while (chunk := await answer.next()) and len(body) <= ERROR_MAX_BYTES:
            body += chunk
    except BrokenOff:
        return b""
    return body if len(body) <= ERROR_MAX_BYTES else b""


async def _body(answer: UpstreamResponse, peer: Peer) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        while chunk := await answer.next():
            size += len(chunk)
            if size > ANSWER_MAX_BYTES:
                raise Broken(f'Provider "{peer.title}" sent an answer above the size limit')
            pieces.append(chunk)
    except BrokenOff as exc:
        raise broken_off(exc, peer=peer, status=answer.status) from exc
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
