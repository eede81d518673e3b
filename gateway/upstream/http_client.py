"""HTTP/1.1 to the providers with aiohttp: one session per event loop, no request sent twice.

A failure proves one of two things, which decide whether a call is charged: `NotSent` is raised if
no connection was opened or reused for the request, so that nothing was sent; any other failure is
`BrokenOff`, and the provider may have processed and billed the request.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from gateway.core.providers import USUAL, Reach, TimeLimits
from gateway.upstream.network import Network, ssl_context
from gateway.upstream.reach import AddressRefused, CheckedResolver, fault_of_target

# Below the idle timeouts of the providers' load balancers: if they close a connection while we
# write to it, the outcome is unknown.
KEEPALIVE_S: Final = 30.0
ADDRESSES_KEPT_S: Final = 10
# All origins together may have this many times the connections of one: one that hangs leaves room.
ORIGINS_MAX: Final = 4
# Backpressure starts when twice this many bytes are unread.
READ_BUFFER_BYTES: Final = 64 * 1024
HEADER_MAX_BYTES: Final = 16 * 1024
HEADERS_MAX: Final = 128
NOT_ALLOWED: Final = "the address is not allowed"
# Of final answers; those above are no HTTP: https://www.rfc-editor.org/rfc/rfc9110#section-15
_STATUSES: Final = range(200, 600)

_FORBIDDEN_IN_HEADERS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class NotSent(Exception):
    """No connection was made for the request: nothing was sent.

    `obstacle` says in a few words what was in the way, without a host or an address.
    """

    def __init__(self, message: str, *, obstacle: str = "") -> None:
        super().__init__(message)
        self.obstacle = obstacle


class BrokenOff(Exception):
    """The connection ended, or the answer is not HTTP: the outcome is unknown."""


class Silent(BrokenOff):
    """No byte came within a time limit; the message says within which, after "the provider"."""


def is_not_sent(exc: BaseException) -> bool:
    """Return whether a failure, or the cancellation of a request, proves that nothing was sent."""
    return any(isinstance(link, NotSent) for link in causes_of(exc))


def causes_of(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes.

    Only causes: the context may be an earlier call's failure, which proves nothing here.
    """
    link: BaseException | None = exc
    while link is not None:
        yield link
        link = link.__cause__


def address(text: str) -> URL:
    """Parse a URL whose path is already encoded. Raises NotSent."""
    try:
        url = URL(text, encoded=True)
        is_complete = url.scheme in {"http", "https"} and url.raw_host and url.port
    except ValueError as exc:
        raise NotSent(f"{_without_query(text)!r} is not a valid URL: {exc}") from exc
    # Check the original text: yarl removes line breaks.
    if not is_complete or not text.isascii() or not text.isprintable() or " " in text:
        raise NotSent(f"{_without_query(text)!r} is not an HTTP URL")
    return url.with_user(None)


def _without_query(text: str) -> str:
    """Return a URL without its query, which may have a key."""
    return text.partition("?")[0]


class UpstreamResponse:
    """A provider's response: its head, and its body as it arrives. Raises BrokenOff.

    Time in which a full buffer is not read, so that the provider has to wait, is not its silence.
    """

    __slots__ = ("_headers", "_idle_s", "_response", "raw_headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, *, idle_s: float) -> None:
        self.status = response.status
        self.raw_headers = [(name.lower(), value) for name, value in response.raw_headers]
        self._response: aiohttp.ClientResponse | None = response
        self._headers: dict[str, str] | None = None
        self._idle_s = idle_s
        connection = response.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = idle_s
            connection.protocol.start_timeout()

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by lower-case name; the first value of a repeated one."""
        if self._headers is None:
            self._headers = {
                name.decode("latin-1"): value.decode(errors="replace")
                for name, value in reversed(self.raw_headers)
            }
        return self._headers

    @property
    def content_type(self) -> str:
        """The media type, in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def next(self) -> bytes:
        """Wait for and return the next bytes of the body; empty at the end."""
        if self._response is None:
            raise BrokenOff("the response was released")
        content = self._response.content
        # Bytes before a failure may have been billed; aiohttp would raise the failure first.
        if content.exception() is not None and (rest := content._read_nowait(-1)):
            return rest
        try:
            return await content.readany()
        except aiohttp.SocketTimeoutError as exc:
            raise Silent(f"sent nothing for {self._idle_s:g} s") from exc
        except (aiohttp.ClientError, OSError, RuntimeError) as exc:
            raise BrokenOff(f"the response broke off: {exc}") from exc

    def release(self) -> None:
        """Abort the connection if the response was not read to its end; else return it to the pool.

        Aborting it stops the provider. Idempotent.
        """
        response, self._response = self._response, None
        if response is not None:
            if response.connection is not None:
                _end(response.connection.transport)
            response.close()


class _Unusable(aiohttp.ClientConnectionError):
    """A connection is no longer usable; nothing of the request was sent over it."""


class _Request(aiohttp.ClientRequest):
    """A request that records the transport over which it may have been sent, even in part."""

    transport: asyncio.Transport | None = None
    first_byte_s: float = 0.0

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        # Data that came before the request is not its answer; aiohttp would treat it as one.
        if conn.closed or conn.protocol is None or conn.protocol.should_close:
            conn.close()
            raise _Unusable("the connection was closed or invalid")
        self.transport = conn.transport
        self.first_byte_s = conn.protocol.read_timeout or 0.0
        # aiohttp starts it when the body is sent: a server that reads nothing would take for ever.
        conn.protocol.start_timeout()
        return await super().send(conn)


class _Connection(ResponseHandler):
    """aiohttp's connection, which fails a waiting reader if the data is no longer valid HTTP.

    Without this, a reader that waits when the chunks become invalid would wait forever.
    """

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            is_silence = isinstance(exc, aiohttp.SocketTimeoutError)
            body.set_exception(exc if is_silence else aiohttp.ClientPayloadError(str(exc)))


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request and classify its failures. Raises NotSent and BrokenOff.

    aiohttp resends some requests when their connection breaks, but not after these two errors.
    """
    sent = cast("_Request", request)
    try:
        try:
            return await handler(request)
        except _Unusable:
            return await handler(request)  # over another connection
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        if sent.transport is None:
            where = f"{request.url.raw_host}:{request.url.port}"
            # A proxy's error contains the request to it in its representation, with our password.
            cause = None if isinstance(exc, aiohttp.ClientResponseError) else exc
            obstacle = _obstacle(exc, request)
            raise NotSent(f"{where} cannot be reached: {exc}", obstacle=obstacle) from cause
        _end(sent.transport)
        if isinstance(exc, aiohttp.SocketTimeoutError):
            raise Silent(f"did not begin to answer within {sent.first_byte_s:g} s") from exc
        raise BrokenOff(f"no response was received: {exc}") from exc
    except asyncio.CancelledError as exc:
        if sent.transport is None:
            obstacle = "no connection was made in time"
            raise exc from NotSent(
                "the request was cancelled before it was sent", obstacle=obstacle
            )
        _end(sent.transport)
        raise


def _obstacle(exc: Exception, request: aiohttp.ClientRequest) -> str:
    """Name what kept a connection from being made."""
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        return f"the proxy refused the connection with status {exc.status}"
    if isinstance(exc, TimeoutError):
        return "no connection was made in time"
    is_of_target = getattr(exc, "host", None) == request.url.raw_host
    if request.proxy is not None and not (is_of_target and isinstance(exc, aiohttp.ClientSSLError)):
        return "the proxy could not be reached or made no connection"
    if isinstance(getattr(exc, "os_error", None), AddressRefused):
        return NOT_ALLOWED
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return "the host name could not be resolved"
    if isinstance(exc, aiohttp.ClientSSLError):
        return "the TLS handshake failed"
    if isinstance(getattr(exc, "os_error", None), ConnectionRefusedError):
        return "the connection was refused"
    return "the connection failed"


def _end(transport: asyncio.Transport | None) -> None:
    """Abort a connection: closing it would wait until all is sent, or for the TLS shutdown."""
    if transport is not None:
        transport.abort()


@dataclass(slots=True, eq=False)
class HttpClient:
    """Send requests from one event loop, over pooled connections.

    Each Reach has connections and resolved addresses of its own, so that none of a wider one is
    used. A proxy is the operator's: its address is not checked, and it resolves the names.
    """

    network: Network = field(default_factory=Network)
    _sessions: dict[Reach | None, aiohttp.ClientSession] = field(default_factory=dict)

    async def send(  # noqa: PLR0913  keyword-only; all that a request has
        self,
        url: URL,
        *,
        headers: Mapping[str, str],
        body: bytes,
        method: str = "POST",
        limits: TimeLimits = USUAL,
        reach: Reach | None = None,
    ) -> UpstreamResponse:
        """Send a request, once, and wait for the head of its response.

        `reach` None checks no address. Raises NotSent and BrokenOff. Cancelling aborts the
        connection; `is_not_sent` then tells whether that was before anything was sent.
        """
        _check(headers)
        if reach is not None and (fault := fault_of_target(url, reach)):
            raise NotSent(f"{url.raw_host}:{url.port} is refused: {fault}", obstacle=NOT_ALLOWED)
        proxy = self.network.proxy_for(url)
        to_proxy = (
            {"proxy-authorization": proxy.authorization} if proxy and proxy.authorization else {}
        )
        response = await self._session(None if proxy else reach).request(
            method,
            url,
            # aiohttp sends `proxy_headers` only to a proxy that makes a tunnel.
            headers=headers if url.scheme == "https" else {**headers, **to_proxy},
            proxy=proxy.url if proxy else None,
            proxy_headers=to_proxy,
            # Bytes would be written in one piece, regardless of their size.
            data=io.BytesIO(body) if body else None,
            allow_redirects=False,
            timeout=_timeout(limits),
        )
        answer = UpstreamResponse(response, idle_s=limits.idle_s)
        if answer.status not in _STATUSES:
            answer.release()
            raise BrokenOff(f"the response has status {answer.status}")
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def _session(self, reach: Reach | None) -> aiohttp.ClientSession:
        found = self._sessions.get(reach)
        if found is None:
            found = self._sessions[reach] = _opened(self.network, reach)
        return found


def _check(headers: Mapping[str, str]) -> None:
    """Raise NotSent for headers that would be parsed differently; aiohttp checks too late."""
    text = "".join([*headers, *headers.values()])
    if _FORBIDDEN_IN_HEADERS.search(text):
        raise NotSent("a header contains a line break or another control character")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise NotSent("a header cannot be encoded") from exc


@cache
def _timeout(limits: TimeLimits) -> aiohttp.ClientTimeout:
    """Return the limits up to the head of a response; the call's own deadline is the total."""
    return aiohttp.ClientTimeout(
        total=None, connect=limits.connect_s, sock_read=limits.first_byte_s
    )


def _opened(network: Network, reach: Reach | None) -> aiohttp.ClientSession:
    if reach is not None:
        # The certificate proves who this installation is: only to what its operator configured.
        network = replace(network, client_cert_file=None, client_key_file=None)
    connector = aiohttp.TCPConnector(
        resolver=None if reach is None else CheckedResolver(reach),
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
        request_class=_Request,
        middlewares=(_once,),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Only the given headers are sent; compression would delay a stream's events.
        skip_auto_headers=("accept", "content-type", "user-agent"),
        headers={"accept-encoding": "identity"},
        read_bufsize=READ_BUFFER_BYTES,
        max_field_size=HEADER_MAX_BYTES,
        max_headers=HEADERS_MAX,
    )
