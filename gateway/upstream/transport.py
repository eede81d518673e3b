"""The httpx2 transport under the SDKs, which knows exactly what was sent.

All four SDKs accept an httpx2 client, so all four use this transport instead of their own:

- Whether a request was sent decides whether it is charged. The aiohttp transports of the OpenAI
  and Anthropic SDKs report a connection that the vendor closed after reading the request as
  `httpx2.ConnectTimeout`, and google-genai silently resends the request. Here ConnectError
  means that no connection was made; everything else may have been billed.
- Responses and waits are bounded, and connections, proxies and certificates are those of all
  other calls.
- Only listed headers of the SDKs are sent, and the credential is set last: the SDKs read
  variables like OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS on their own.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx2

from gateway.core.providers import ProviderConfig
from gateway.upstream.http_client import (
    BrokenOff,
    HttpClient,
    NotSent,
    Silent,
    UpstreamResponse,
    address,
    is_not_sent,
)
from gateway.upstream.sending import sent

ANSWER_MAX_BYTES: Final = 32 * 1024 * 1024
# An event takes about 300 bytes per token.
STREAM_MAX_BYTES: Final = 128 * 1024 * 1024
ERROR_MAX_BYTES: Final = 1024 * 1024

# The SDKs demand a key, and send none: the credential is the transport's.
NO_KEY: Final = "set-by-transport"
# Not x-server-timeout: Google refuses one of less than 10 s.
# https://github.com/livekit/agents/issues/3723
HEADERS_SENT: Final = frozenset({"accept", "anthropic-version", "content-type", "user-agent"})
# Connection-specific: the client decompresses and joins.
_COMMENT: Final = re.compile(rb"^:.*\n", re.MULTILINE)
_HOP_HEADERS: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


@dataclass(slots=True)
class Traffic:
    """The requests and responses of one call, independent of the SDK.

    `error` is the body of the last response if that is an error, as far as it was read.
    """

    was_sent: bool = False
    answers: list[UpstreamResponse] = field(default_factory=list)
    error: bytes = b""

    def close(self) -> None:
        """Close the responses; those read to their end return to the pool.

        Closing google-genai's own stream closes nothing: its response is in a reference cycle and
        waits for the garbage collector, while the vendor keeps sending.
        """
        for answer in self.answers:
            answer.release()


_traffic: ContextVar[Traffic | None] = ContextVar("traffic", default=None)


class Transport(httpx2.AsyncBaseTransport):
    """Send httpx2 requests through the HTTP client of an event loop.

    Raises httpx2.ConnectError when nothing was sent, httpx2.ReadTimeout and httpx2.ReadError when
    the outcome is unknown.
    """

    def __init__(self, http: HttpClient, config: ProviderConfig) -> None:
        self._http = http
        self._config = config

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, once."""
        passed = {name: each for name, each in request.headers.items() if name in HEADERS_SENT}
        traffic = _traffic.get() or Traffic()
        with _known_failures(traffic), _noted_outcome(traffic):
            answer = await sent(
                self._http,
                self._config,
                address(self._config.with_query(str(request.url))),
                method=request.method,
                headers=passed,
                body=request.content,
            )
        traffic.answers.append(answer)
        traffic.error = b""
        return httpx2.Response(
            answer.status,
            headers=[pair for pair in answer.raw_headers if pair[0] not in _HOP_HEADERS],
            stream=_Body(answer, traffic),
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )


def client(http: HttpClient, config: ProviderConfig) -> httpx2.AsyncClient:
    """Return the client for an SDK that calls a provider; the SDKs' own timeouts have no effect."""
    return httpx2.AsyncClient(
        transport=Transport(http, config), trust_env=False, follow_redirects=False
    )


@contextmanager
def noting(traffic: Traffic) -> Iterator[None]:
    """Record in `traffic` what is sent and answered inside the block."""
    token = _traffic.set(traffic)
    try:
        yield
    finally:
        _traffic.reset(token)


class _Body(httpx2.AsyncByteStream):
    """A response's bytes, counted; those of events without comments.

    Providers and proxies keep a stream alive by comments, which Google's SDK takes for JSON.
    """

    def __init__(self, answer: UpstreamResponse, traffic: Traffic) -> None:
        self._answer = answer
        self._traffic = traffic
        self._is_stream = answer.content_type == "text/event-stream"
        self._max_bytes = STREAM_MAX_BYTES if self._is_stream else ANSWER_MAX_BYTES
        if answer.status >= HTTPStatus.BAD_REQUEST:
            self._max_bytes = ERROR_MAX_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left, half = self._max_bytes, b""
        while chunk := await self._next():
            left -= len(chunk)
            if left < 0:
                raise httpx2.ReadError(f"the response is above {self._max_bytes} bytes")
            if self._answer.status >= HTTPStatus.BAD_REQUEST:
                self._traffic.error += chunk
            if self._is_stream:
                lines, end, half = (half + chunk).rpartition(b"\n")
                chunk = _COMMENT.sub(b"", lines + end)
            yield chunk
        if half:
            yield half

    async def _next(self) -> bytes:
        with _known_failures(self._traffic):
            return await self._answer.next()

    async def aclose(self) -> None:
        self._answer.release()


@contextmanager
def _noted_outcome(traffic: Traffic) -> Iterator[None]:
    """Record that a request was sent, unless its failure proves that it was not."""
    was_sent, traffic.was_sent = traffic.was_sent, True
    try:
        yield
    except BaseException as exc:
        traffic.was_sent = was_sent or not is_not_sent(exc)
        raise


@contextmanager
def _known_failures(traffic: Traffic) -> Iterator[None]:
    try:
        yield
    except (NotSent, BrokenOff) as exc:
        if not traffic.was_sent:
            raise httpx2.ConnectError(str(exc)) from exc
        if isinstance(exc, Silent):
            raise httpx2.ReadTimeout(str(exc)) from exc
        raise httpx2.ReadError(str(exc)) from exc
