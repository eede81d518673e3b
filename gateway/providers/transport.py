"""The SDKs' road to the vendors: the wire under their httpx2, which knows exactly what was sent.

All four SDKs take an httpx2 client, so all four get this transport instead of their own:

- Whether a request was sent decides whether it is charged. The aiohttp transports of the OpenAI
  and Anthropic SDKs report a connection that the vendor closed after reading the request as
  `httpx2.ConnectTimeout`, and google-genai silently sends the request again. Here ConnectError
  means that no connection was made; everything else may have been billed.
- Answers are bounded, cookies are not kept, no proxy is taken from the environment.
- Of the SDKs' headers only a list goes out, and the credential is set last: the SDKs read
  variables like OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS on their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

import httpx2

from gateway.providers.connection import BrokenOff
from gateway.providers.wire import CONNECT_TIMEOUT_S, Answer, NotSent, Target, Wire

ANSWER_MAX_BYTES: Final = 32 * 1024 * 1024
# An event costs some 300 bytes for each token.
STREAM_MAX_BYTES: Final = 128 * 1024 * 1024

HEADERS_SENT: Final = frozenset(
    {"accept", "anthropic-version", "content-type", "user-agent", "x-server-timeout"}
)
# Of the wire alone: what it unpacks and joins is plain.
_HOP_HEADERS: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


@dataclass(slots=True)
class Traffic:
    """What went over the wire for one call of ours, whatever an SDK makes of it."""

    was_sent: bool = False
    answers: list[Answer] = field(default_factory=list)

    def close(self) -> None:
        """Close the answers: back to the pool those that were read to their end.

        Closing google-genai's own stream closes nothing: its response is in a reference cycle and
        waits for the garbage collector, while the vendor goes on writing.
        """
        for answer in self.answers:
            answer.release()


_traffic: ContextVar[Traffic | None] = ContextVar("traffic", default=None)


class Transport(httpx2.AsyncBaseTransport):
    """Sends httpx2 requests over a wire; belongs to the event loop of its first request.

    Raises httpx2.ConnectError when nothing was sent, httpx2.ReadTimeout and httpx2.ReadError when
    the outcome is unknown.
    """

    def __init__(self, credentials: Mapping[str, str]) -> None:
        self._credentials = dict(credentials)
        self._wire = Wire()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, once."""
        headers = {
            name: value for name, value in request.headers.items() if name in HEADERS_SENT
        } | self._credentials
        traffic = _traffic.get() or Traffic()
        read_s = request.extensions["timeout"]["read"]
        # Below the call's own timeout, so that a connection never made is known as such before it.
        connect_s = CONNECT_TIMEOUT_S if read_s is None else min(CONNECT_TIMEOUT_S, read_s * 0.8)
        with _known_outcome(traffic):
            async with asyncio.timeout(read_s):
                answer = await self._wire.ask(
                    Target.of(str(request.url)),
                    method=request.method,
                    headers=headers,
                    body=request.content,
                    connect_timeout_s=connect_s,
                )
        traffic.answers.append(answer)
        return httpx2.Response(
            answer.status,
            headers=[pair for pair in answer.raw_headers if pair[0] not in _HOP_HEADERS],
            stream=_Body(answer, read_s),
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._wire.aclose()


def client(credentials: Mapping[str, str]) -> httpx2.AsyncClient:
    """Return the client that an SDK is given; `credentials` are the headers that prove us."""
    return httpx2.AsyncClient(
        transport=Transport(credentials), trust_env=False, follow_redirects=False
    )


@contextmanager
def noting(traffic: Traffic) -> Iterator[None]:
    """Note in `traffic` what is sent and answered inside the block."""
    token = _traffic.set(traffic)
    try:
        yield
    finally:
        _traffic.reset(token)


class _Body(httpx2.AsyncByteStream):
    """An answer's bytes, decompressed and counted."""

    def __init__(self, answer: Answer, read_s: float | None) -> None:
        self._answer = answer
        self._read_s = read_s
        is_stream = answer.content_type == "text/event-stream"
        self._max_bytes = STREAM_MAX_BYTES if is_stream else ANSWER_MAX_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._max_bytes
        while chunk := await self._next():
            left -= len(chunk)
            if left < 0:
                raise httpx2.ReadError(f"the answer is above {self._max_bytes} bytes")
            yield chunk

    async def _next(self) -> bytes:
        with _known_failures():
            async with asyncio.timeout(self._read_s):
                return await self._answer.next()

    async def aclose(self) -> None:
        self._answer.release()


@contextmanager
def _known_outcome(traffic: Traffic) -> Iterator[None]:
    traffic.was_sent = True
    try:
        with _known_failures():
            yield
    except httpx2.ConnectError:
        traffic.was_sent = False
        raise


@contextmanager
def _known_failures() -> Iterator[None]:
    try:
        yield
    except NotSent as exc:
        raise httpx2.ConnectError(str(exc)) from exc
    except TimeoutError as exc:
        raise httpx2.ReadTimeout(str(exc)) from exc
    except BrokenOff as exc:
        raise httpx2.ReadError(str(exc)) from exc
