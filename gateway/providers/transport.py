"""One road to every vendor: aiohttp under the SDKs' httpx2, which knows exactly what was sent.

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

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import httpx2
from yarl import URL

CONNECT_TIMEOUT_S: Final = 10.0
CONNECTIONS_MAX: Final = 10_000
# Below the idle timeouts of the vendors' load balancers: a connection that they close while we
# write to it leaves the outcome unknown.
KEEPALIVE_S: Final = 30.0
ANSWER_MAX_BYTES: Final = 32 * 1024 * 1024
# An event costs some 300 bytes for each token.
STREAM_MAX_BYTES: Final = 128 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024

HEADERS_SENT: Final = frozenset(
    {"accept", "anthropic-version", "content-type", "user-agent", "x-server-timeout"}
)
_HOP_HEADERS: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})

# aiohttp raises these only while it gets a connection, so nothing of the request went out.
UNSENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)


@dataclass(slots=True)
class Traffic:
    """What went over the wire for one call of ours, whatever an SDK makes of it."""

    was_sent: bool = False
    answers: list[aiohttp.ClientResponse] = field(default_factory=list)

    def close(self) -> None:
        """Close the answers: back to the pool those that were read to their end.

        Closing google-genai's own stream closes nothing: its response is in a reference cycle and
        waits for the garbage collector, while the vendor goes on writing.
        """
        for answer in self.answers:
            answer.release()


_traffic: ContextVar[Traffic | None] = ContextVar("traffic", default=None)


class Transport(httpx2.AsyncBaseTransport):
    """Sends httpx2 requests over aiohttp; belongs to the event loop of its first request.

    Raises httpx2.ConnectError when nothing was sent, httpx2.ReadTimeout and httpx2.ReadError when
    the outcome is unknown.
    """

    def __init__(self, credentials: Mapping[str, str]) -> None:
        self._credentials = dict(credentials)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, once."""
        headers = {
            name: value for name, value in request.headers.items() if name in HEADERS_SENT
        } | self._credentials
        traffic = _traffic.get() or Traffic()
        with _known_outcome(traffic):
            response = await self._opened_session().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=headers,
                data=request.content or None,
                allow_redirects=False,
                timeout=_timeout(request),
            )
        traffic.answers.append(response)
        return httpx2.Response(
            response.status,
            headers=[pair for pair in response.raw_headers if pair[0].lower() not in _HOP_HEADERS],
            stream=_Body(response),
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()

    def _opened_session(self) -> aiohttp.ClientSession:
        # Made on first use because aiohttp binds a session to the running loop.
        if self._session is None:
            self._session = open_session()
        return self._session


def open_session() -> aiohttp.ClientSession:
    """Return a new session of connections to vendors, on the running loop."""
    connector = aiohttp.TCPConnector(
        limit=CONNECTIONS_MAX,
        keepalive_timeout=KEEPALIVE_S,
        ssl=httpx2.create_ssl_context(trust_env=False),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # What a vendor reads is decided here, and compression would delay a stream's events.
        skip_auto_headers=("user-agent",),
        headers={"accept-encoding": "identity"},
    )


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

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        is_stream = response.content_type == "text/event-stream"
        self._max_bytes = STREAM_MAX_BYTES if is_stream else ANSWER_MAX_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._max_bytes
        with _known_failures():
            async for chunk in self._response.content.iter_chunked(CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise httpx2.ReadError(f"the answer is above {self._max_bytes} bytes")
                yield chunk

    async def aclose(self) -> None:
        self._response.release()


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
    except UNSENT as exc:
        raise httpx2.ConnectError(str(exc)) from exc
    except TimeoutError as exc:
        raise httpx2.ReadTimeout(str(exc)) from exc
    except (aiohttp.ClientError, OSError) as exc:
        raise httpx2.ReadError(str(exc)) from exc


def _timeout(request: httpx2.Request) -> aiohttp.ClientTimeout:
    read_s = request.extensions["timeout"]["read"]
    # Below the call's own timeout, so that a connection never made is known as such before it.
    connect_s = CONNECT_TIMEOUT_S if read_s is None else min(CONNECT_TIMEOUT_S, read_s * 0.8)
    return aiohttp.ClientTimeout(connect=connect_s, sock_connect=connect_s, sock_read=read_s)
