"""The relay road: a request goes out as bytes and its answer comes back as bytes.

For clients that already speak the provider's format: no field is lost, no SDK is imported, and a
streamed chunk costs microseconds. What is sent, and what is read off the answer, says the
`RelayRequest`; this is only the wire, and what its failures mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
import orjson

from gateway.core.calls import Completion, RelayRequest
from gateway.core.errors import Broken, ProviderFailed, TimedOut, Unreachable
from gateway.providers.failures import Peer, answered_with
from gateway.providers.formats.hostile import ErrorAnswer
from gateway.providers.transport import (
    ANSWER_MAX_BYTES,
    CONNECT_TIMEOUT_S,
    STREAM_MAX_BYTES,
    UNSENT,
    open_session,
)
from gateway.providers.upstreams import Upstream

ERROR_MAX_BYTES: Final = 1024 * 1024
# What of a provider's headers its client may see; none of them names whose account it is.
HEADERS_RETURNED: Final = frozenset(
    {
        "content-type",
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
LIMIT_HEADERS: Final = ("x-ratelimit-", "anthropic-ratelimit-")
_TIMEOUT: Final = aiohttp.ClientTimeout(
    total=None, connect=CONNECT_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S
)


@dataclass(slots=True, eq=False)
class Relay:
    """Sends relayed requests over one session, which belongs to the loop of its first request."""

    _session: aiohttp.ClientSession | None = None

    async def whole(self, upstream: Upstream, request: RelayRequest) -> Completion:
        """Ask for a plain answer and read it. Raises ProviderFailed."""
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
        """Ask for an answer in chunks; one that comes whole all the same is its Completion.

        Leaving early closes the connection, and so stops the provider. Raises ProviderFailed.
        """
        answer = await self._sent(upstream, request)
        try:
            await _check(answer, upstream.peer)
            if answer.content_type in request.streamed_as:
                yield Stream(answer, upstream.peer)
            else:
                yield await _whole(answer, upstream.peer, request)
        finally:
            answer.release()  # back to the pool what was read to its end; else it is closed

    async def aclose(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()

    async def _sent(self, upstream: Upstream, request: RelayRequest) -> aiohttp.ClientResponse:
        """Send the request, once, and wait for the answer's head. Raises ProviderFailed."""
        if self._session is None:
            self._session = open_session()
        try:
            return await self._session.post(
                upstream.url(request.path),
                headers={**request.headers, **upstream.headers},
                data=request.body,
                allow_redirects=False,
                timeout=_TIMEOUT,
            )
        except (*UNSENT, TimeoutError, aiohttp.ClientError, OSError) as exc:
            raise _failure_from(exc, upstream.peer) from exc


@dataclass(slots=True, eq=False)
class Stream:
    """The chunks of an answer as they arrive. Raises ProviderFailed when it breaks off."""

    _answer: aiohttp.ClientResponse
    _peer: Peer
    _bytes: int = 0

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes to the client with it."""
        return returned(self._answer)

    async def next(self) -> bytes:
        """Return what has arrived, waiting for it; nothing is the end."""
        try:
            chunk = await self._answer.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            raise _failure_from(exc, self._peer, status=self._answer.status) from exc
        self._bytes += len(chunk)
        if self._bytes > STREAM_MAX_BYTES:
            raise Broken(f'Provider "{self._peer.title}" sent more than an answer may have')
        return chunk


def returned(answer: aiohttp.ClientResponse) -> Mapping[str, str]:
    """Return those headers of an answer that its client may see."""
    return {
        name: value
        for name, value in ((n.lower(), v) for n, v in answer.headers.items())
        if name in HEADERS_RETURNED or name.startswith(LIMIT_HEADERS)
    }


async def _whole(answer: aiohttp.ClientResponse, peer: Peer, request: RelayRequest) -> Completion:
    body = await _body(answer, peer, at_most=ANSWER_MAX_BYTES)
    try:
        completion = request.whole(body)
    except ErrorAnswer as exc:
        raise Broken(peer.broke_off(str(exc)), provider_status=answer.status) from exc
    except orjson.JSONDecodeError as exc:
        raise Broken(peer.broke_off(""), provider_status=answer.status) from exc
    return completion.relayed(body, returned(answer))


async def _check(answer: aiohttp.ClientResponse, peer: Peer) -> None:
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if answer.status < HTTPStatus.BAD_REQUEST:
        sentence = f'Provider "{peer.title}" sent the request on to another address'
        raise Broken(sentence, provider_status=answer.status)
    body = await _body(answer, peer, at_most=ERROR_MAX_BYTES)
    raise answered_with(answer.status, answer.headers, body, peer=peer)


async def _body(answer: aiohttp.ClientResponse, peer: Peer, *, at_most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        while chunk := await answer.content.readany():
            size += len(chunk)
            if size > at_most:
                raise Broken(f'Provider "{peer.title}" sent more than an answer may have')
            pieces.append(chunk)
    except (TimeoutError, aiohttp.ClientError, OSError) as exc:
        raise _failure_from(exc, peer, status=answer.status) from exc
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _failure_from(exc: Exception, peer: Peer, *, status: int | None = None) -> ProviderFailed:
    """Return what a failure of the wire means: what is not proven to be unsent is unknown."""
    if isinstance(exc, UNSENT):
        return Unreachable(f'Provider "{peer.title}" could not be reached; nothing was sent')
    if isinstance(exc, TimeoutError):
        sentence = f'Provider "{peer.title}" did not answer in time'
        return TimedOut(sentence, provider_status=status)
    return Broken(peer.broke_off(""), provider_status=status)
