"""Providers behind a company network: proxies, a private certificate authority, client keys."""

from __future__ import annotations

import asyncio
import base64
import ssl
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from yarl import URL

from gateway.core.providers import USUAL, TimeLimits
from gateway.upstream import http_client
from gateway.upstream.http_client import BrokenOff, HttpClient, NotSent, is_not_sent
from gateway.upstream.network import Network
from tests.fake_provider import closed_port
from tests.gateway.upstream.certificates import Certificates
from tests.gateway.upstream.proxy_server import ProxyServer, proxy_server
from tests.gateway.upstream.raw_server import (
    HELLO,
    HOST,
    OK,
    WAIT_MAX_S,
    RawServer,
    answered,
    raw_server,
    read,
    send,
)

USER, PASSWORD = "user", "canary:p@ss"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SIGNED_IN = f"{USER}:canary%3Ap%40ss@"


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[ProxyServer]:
    async with proxy_server() as made:
        yield made


@pytest_asyncio.fixture
async def tls_server(certificates: Certificates) -> AsyncIterator[RawServer]:
    async with raw_server(tls=certificates.server_context()) as made:
        yield made


async def _answers_hello(network: Network, server: RawServer, *, times: int = 1) -> None:
    client = HttpClient(network)
    try:
        for _ in range(times):
            assert await read(await answered(client, server, HELLO)) == b"hello"
    finally:
        await client.aclose()


async def _failed(network: Network, server: RawServer, limits: TimeLimits = USUAL) -> Exception:
    client = HttpClient(network)
    try:
        async with asyncio.timeout(WAIT_MAX_S):
            with pytest.raises((NotSent, BrokenOff)) as failed:
                await client.send(server.url, headers={"x-key": "k"}, body=b"{}", limits=limits)
    finally:
        await client.aclose()
    return failed.value


def _through(proxy: ProxyServer, certificates: Certificates, *, user: str = "") -> Network:
    url = proxy.url.replace("://", f"://{user}")
    return Network(http_proxy=url, https_proxy=url, ca_file=str(certificates.authority))


# --- proxies ----------------------------------------------------------------------------------


async def test_tls_tunnel_is_reused(
    proxy: ProxyServer, tls_server: RawServer, certificates: Certificates
) -> None:
    await _answers_hello(_through(proxy, certificates), tls_server, times=2)
    (visit,) = tls_server.visits
    assert len(visit.requests) == 2
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{tls_server.port} HTTP/1.1\r\n")
    assert "x-key" not in head
    assert b"roxy" not in b"".join(visit.requests)


async def test_plain_http_is_forwarded_by_proxy(
    proxy: ProxyServer, server: RawServer, certificates: Certificates
) -> None:
    await _answers_hello(_through(proxy, certificates), server)
    (head,) = proxy.heads
    assert head.startswith(f"POST http://{HOST}:{server.port}/v1/chat HTTP/1.1\r\n")


@pytest.mark.parametrize("is_tls", [True, False], ids=["tunnel", "plain"])
async def test_proxy_password_is_taken_from_url(
    proxy: ProxyServer,
    server: RawServer,
    tls_server: RawServer,
    certificates: Certificates,
    is_tls: bool,
) -> None:
    proxy.authorization = BASIC
    reached = tls_server if is_tls else server
    await _answers_hello(_through(proxy, certificates, user=SIGNED_IN), reached)
    assert len(proxy.heads) == 1
    if is_tls:
        assert b"asic" not in b"".join(reached.visits[0].requests)


REFUSALS = {
    "wrong password": b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    "forbidden": b"HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\nforbid",
    "unavailable": b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
    "moved": b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.example.org\r\n\r\n",
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "an answer of its own": OK + b"content-length: 5\r\n\r\nhello",
    "closed": b"",
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_failed_tunnel_sends_nothing_and_hides_password(
    proxy: ProxyServer,
    tls_server: RawServer,
    certificates: Certificates,
    refusal: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy.refusal = refusal
    network = _through(proxy, certificates, user=SIGNED_IN)
    failure = await _failed(network, tls_server)
    assert isinstance(failure, NotSent)
    assert failure.obstacle.startswith("the proxy ")
    assert tls_server.visits == []
    shown = f"{network!r}{failure!r}{''.join(traceback.format_exception(failure))}{caplog.text}"
    shown += "".join(map(repr, http_client.causes_of(failure)))
    for secret in ("canary", BASIC):
        assert secret not in shown
    assert BASIC in proxy.heads[0]


async def test_unreachable_proxy_sends_nothing(tls_server: RawServer, server: RawServer) -> None:
    url = f"http://{SIGNED_IN}{HOST}:{closed_port()}"
    for reached in (tls_server, server):
        failure = await _failed(Network(http_proxy=url, https_proxy=url), reached)
        assert isinstance(failure, NotSent)
        assert failure.obstacle == "the proxy could not be reached or made no connection"
        assert "canary" not in "".join(traceback.format_exception(failure))


async def test_unknown_proxy_name_is_not_providers(tls_server: RawServer) -> None:
    failure = await _failed(Network(https_proxy="http://proxy.invalid:3128"), tls_server)
    assert isinstance(failure, NotSent)
    assert failure.obstacle == "the proxy could not be reached or made no connection"


async def test_silent_proxy_sends_nothing(server: RawServer, tls_server: RawServer) -> None:
    silent = Network(https_proxy=f"http://{HOST}:{server.port}")
    assert isinstance(await _failed(silent, tls_server, TimeLimits(connect_s=0.1)), NotSent)
    await server.visits[0].ended()


async def test_cancelled_wait_for_tunnel_counts_as_unsent(
    server: RawServer, tls_server: RawServer
) -> None:
    client = HttpClient(Network(https_proxy=f"http://{HOST}:{server.port}"))
    sending = asyncio.create_task(send(client, tls_server))
    await server.asked()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await sending
    assert is_not_sent(cancelled.value)
    await server.visits[0].ended()
    await client.aclose()


async def test_broken_connection_behind_proxy_is_unknown(
    proxy: ProxyServer, tls_server: RawServer, certificates: Certificates
) -> None:
    client = HttpClient(_through(proxy, certificates))
    sending = asyncio.create_task(send(client, tls_server))
    (await tls_server.asked()).reset()
    with pytest.raises(BrokenOff):
        await sending
    await client.aclose()


async def test_early_exit_closes_connection_behind_proxy(
    proxy: ProxyServer, tls_server: RawServer, certificates: Certificates
) -> None:
    client = HttpClient(_through(proxy, certificates))
    answer = await answered(client, tls_server, HELLO[:-1])
    answer.release()
    await tls_server.visits[0].ended()
    await client.aclose()


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        ("", "https://api.example.org/v1", False),
        ("*", "https://api.example.org/v1", True),
        ("example.org", "https://api.example.org/v1", True),
        (".example.org", "https://api.example.org/v1", True),
        ("other.org, API.example.org", "https://api.example.org/v1", True),
        ("example.org", "https://notexample.org/v1", False),
        ("api.example.org:8443", "https://api.example.org/v1", False),
        ("api.example.org:8443", "https://api.example.org:8443/v1", True),
        ("127.0.0.1", "https://127.0.0.1:8443/v1", True),
        ("", "https://127.0.0.1/v1", False),
        ("::1", "https://[::1]:8443/v1", True),
        ("", "http://api.example.org/v1", True),
    ],
)
def test_no_proxy_hosts_and_other_schemes_are_direct(
    no_proxy: str, url: str, is_direct: bool
) -> None:
    network = Network(https_proxy="http://proxy.example.org:3128", no_proxy=no_proxy)
    assert (network.proxy_for(URL(url)) is None) == is_direct


# --- certificates -----------------------------------------------------------------------------


async def test_unknown_authority_sends_nothing(tls_server: RawServer) -> None:
    failure = await _failed(Network(), tls_server)
    assert isinstance(failure, NotSent)
    assert failure.obstacle == "the TLS handshake failed"
    assert [visit.requests for visit in tls_server.visits if visit.requests] == []


async def test_certificate_of_another_host_sends_nothing(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.client)  # it has the name "gateway", not "localhost"
    async with raw_server(tls=context) as server:
        failure = await _failed(Network(ca_file=str(certificates.authority)), server)
        assert isinstance(failure, NotSent)
        assert failure.obstacle == "the TLS handshake failed"


async def test_unknown_authority_behind_proxy_is_tls_failure(
    proxy: ProxyServer, tls_server: RawServer
) -> None:
    failure = await _failed(Network(https_proxy=proxy.url), tls_server)
    assert isinstance(failure, NotSent)
    assert failure.obstacle == "the TLS handshake failed"


async def test_answer_over_tls_is_read_as_without(
    tls_server: RawServer, certificates: Certificates
) -> None:
    client = HttpClient(Network(ca_file=str(certificates.authority)))
    for _ in range(2):
        assert await read(await answered(client, tls_server, HELLO[:9], HELLO[9:])) == b"hello"
    assert len(tls_server.visits) == 1
    large = b"x" * 1_000_000  # more than may wait unread
    assert await read(await answered(client, tls_server, OK + b"\r\n", large, ends=True)) == large
    with pytest.raises(BrokenOff):
        await read(await answered(client, tls_server, HELLO[:-1], ends=True))
    await client.aclose()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_client_certificate_is_sent_on_request(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = certificates.server_context(asks_client=True)
    context.maximum_version = version
    unknown = Network(ca_file=str(certificates.authority))
    known = replace(unknown, client_cert_file=str(certificates.client))
    async with raw_server(tls=context) as server:
        await _answers_hello(known, server)
        failure = await _failed(unknown, server)
        # TLS 1.3 has the client speak before the server has refused it.
        expected = NotSent if version == ssl.TLSVersion.TLSv1_2 else BrokenOff
        assert type(failure) is expected
        assert [len(visit.requests) for visit in server.visits if visit.requests] == [1]
