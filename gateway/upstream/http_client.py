"""HTTP/1.1 to the providers, by aiohttp: one session for an event loop, no request sent twice.

A failure proves one of two things, on which it depends whether a call is charged: `NotSent` is
raised when no connection was made or taken for the request, so that nothing of it went out; any
other failure is `BrokenOff`, and the provider may have worked and billed.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from gateway.upstream.network import Network, ssl_context

# Below the idle timeouts of the providers' load balancers: a connection that they close while we
# write to it leaves the outcome unknown.
KEEPALIVE_S: Final = 30.0
ADDRESSES_KEPT_S: Final = 10
# All origins together may have so many times the connections of one: one that hangs leaves room.
ORIGINS_MAX: Final = 4
# What may wait unread before the provider is held back is twice this.
READ_BUFFER_BYTES: Final = 64 * 1024
HEADER_MAX_BYTES: Final = 16 * 1024
HEADERS_MAX: Final = 128

_FORBIDDEN_IN_HEADERS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class NotSent(Exception):
    """No connection was made for the request: nothing of it went out."""


class BrokenOff(Exception):
    """The connection ended, or what came is not HTTP: the outcome is unknown."""


def is_not_sent(exc: BaseException) -> bool:
    """Return whether a failure, or the cancellation of a request, proves that nothing went out."""
    return any(isinstance(link, NotSent) for link in causes_of(exc))


def causes_of(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes.

    Causes only: the context may be an earlier call's failure, and proves nothing for this one.
    """
    link: BaseException | None = exc
    while link is not None:
        yield link
        link = link.__cause__


def address(text: str) -> URL:
    """Read an address whose path is encoded already. Raises NotSent."""
    try:
        url = URL(text, encoded=True)
        is_complete = url.scheme in {"http", "https"} and url.raw_host and url.port
    except ValueError as exc:
        raise NotSent(f"{text!r} is not an address: {exc}") from exc
    # Of the text as it was given: yarl takes line breaks out of it.
    if not is_complete or not text.isascii() or not text.isprintable() or " " in text:
        raise NotSent(f"{text!r} is not the address of an HTTP server")
    return url.with_user(None)


class UpstreamResponse:
    """A provider's answer: its head, and its body as it arrives. Raises BrokenOff."""

    __slots__ = ("_headers", "_response", "raw_headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.raw_headers = [(name.lower(), value) for name, value in response.raw_headers]
        self._response: aiohttp.ClientResponse | None = response
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by their names in lower case; the first one where a name is repeated."""
        if self._headers is None:
            self._headers = {
                name.decode("latin-1"): value.decode(errors="replace")
                for name, value in reversed(self.raw_headers)
            }
        return self._headers

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def next(self) -> bytes:
        """Return what has arrived of the body, waiting for it; nothing is the end."""
        if self._response is None:
            raise BrokenOff("the answer was released")
        content = self._response.content
        # What came before a failure may have been billed; aiohttp would raise the failure first.
        if content.exception() is not None and (rest := content._read_nowait(-1)):
            return rest
        try:
            return await content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError) as exc:
            raise BrokenOff(f"the answer broke off: {exc}") from exc

    def release(self) -> None:
        """End the connection if the answer was not read to its end; else it is kept for others.

        Ending it stops the provider. Releasing again does nothing.
        """
        response, self._response = self._response, None
        if response is not None:
            if response.connection is not None:
                _end(response.connection.transport)
            response.close()


class _Spoilt(aiohttp.ClientConnectionError):
    """A connection cannot be used any more; nothing of the request went over it."""


class _Request(aiohttp.ClientRequest):
    """A request that knows where it, or a part of it, may have gone out."""

    transport: asyncio.Transport | None = None

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        # What came before a request is no answer to it; aiohttp would take it for that.
        if conn.closed or conn.protocol is None or conn.protocol.should_close:
            conn.close()
            raise _Spoilt("the connection was ended or spoilt before")
        self.transport = conn.transport
        return await super().send(conn)


class _Connection(ResponseHandler):
    """aiohttp's connection; one who reads an answer is told when what comes is no longer HTTP.

    Without that a reader that waits when the chunks turn to garbage would wait for ever.
    """

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError(str(exc)))


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request and tell its failures apart. Raises NotSent and BrokenOff.

    aiohttp sends some requests again when their connection breaks, but not after these two.
    """
    sent = cast("_Request", request)
    try:
        try:
            return await handler(request)
        except _Spoilt:
            return await handler(request)  # over another one
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        if sent.transport is None:
            where = f"{request.url.raw_host}:{request.url.port}"
            # What a proxy answers has the request to it in its representation, with our password.
            cause = None if isinstance(exc, aiohttp.ClientResponseError) else exc
            raise NotSent(f"{where} cannot be reached: {exc}") from cause
        _end(sent.transport)
        raise BrokenOff(f"no answer came: {exc}") from exc
    except asyncio.CancelledError as exc:
        if sent.transport is None:
            raise exc from NotSent("the request was given up before it went out")
        _end(sent.transport)
        raise


def _end(transport: asyncio.Transport | None) -> None:
    """End a connection at once: closing it would wait until all is sent, or for TLS's goodbye."""
    if transport is not None:
        transport.abort()


@dataclass(slots=True, eq=False)
class HttpClient:
    """Sends requests from one event loop, over connections that are kept for the next ones."""

    network: Network = field(default_factory=Network)
    _session: aiohttp.ClientSession | None = None

    async def send(
        self, url: URL, *, headers: Mapping[str, str], body: bytes, method: str = "POST"
    ) -> UpstreamResponse:
        """Send a request, once, and wait for the head of its answer.

        Raises NotSent and BrokenOff. Being cancelled ends the connection; `is_not_sent` then tells
        whether it was before anything went out.
        """
        _check(headers)
        if self._session is None:
            self._session = _opened(self.network)
        proxy = self.network.proxy_for(url)
        to_proxy = (
            {"proxy-authorization": proxy.authorization} if proxy and proxy.authorization else {}
        )
        response = await self._session.request(
            method,
            url,
            # aiohttp hands `proxy_headers` to a proxy that makes a tunnel, and to no other.
            headers=headers if url.scheme == "https" else {**headers, **to_proxy},
            proxy=proxy.url if proxy else None,
            proxy_headers=to_proxy,
            # Bytes would be written in one piece, whatever their size.
            data=io.BytesIO(body) if body else None,
            allow_redirects=False,
        )
        answer = UpstreamResponse(response)
        if answer.status < HTTPStatus.OK:
            answer.release()
            raise BrokenOff(f"the answer has status {answer.status}")
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _check(headers: Mapping[str, str]) -> None:
    """Raise NotSent for headers that would become others on their way; aiohttp looks too late."""
    text = "".join([*headers, *headers.values()])
    if _FORBIDDEN_IN_HEADERS.search(text):
        raise NotSent("a header has a line break or another control character in it")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise NotSent("a header is no text") from exc


def _opened(network: Network) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        ssl=ssl_context(network),
        limit=network.connections_per_origin * ORIGINS_MAX,
        limit_per_host=network.connections_per_origin,
        keepalive_timeout=KEEPALIVE_S,
        ttl_dns_cache=ADDRESSES_KEPT_S,
    )
    connection = partial(_Connection, loop=asyncio.get_running_loop())
    connector._factory = connection  # type: ignore[assignment]  # a partial is invariant
    return aiohttp.ClientSession(
        connector=connector,
        # No limit on the whole: a call's own time ends it.
        timeout=aiohttp.ClientTimeout(total=None, connect=network.connect_timeout_s),
        request_class=_Request,
        middlewares=(_once,),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Nothing but what is given goes out; compression would delay a stream's events.
        skip_auto_headers=("accept", "content-type", "user-agent"),
        headers={"accept-encoding": "identity"},
        read_bufsize=READ_BUFFER_BYTES,
        max_field_size=HEADER_MAX_BYTES,
        max_headers=HEADERS_MAX,
    )
