"""Server-side request forgery: webhooks and rows of providers reach nothing inside."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio

from gateway.alerts.delivery.webhook import post
from gateway.core.calls import RelayRequest
from gateway.core.errors import Unreachable
from gateway.core.providers import ProviderConfig, Reach
from gateway.upstream import http_client, transport
from gateway.upstream.http_client import NOT_ALLOWED, HttpClient, NotSent, address
from gateway.upstream.network import Network
from gateway.upstream.relay import Relay
from gateway.upstream.upstreams import Upstream
from tests.gateway.receiver import Receiver
from tests.gateway.upstream.proxy_server import ProxyServer, proxy_server
from tests.gateway.upstream.raw_server import HELLO, HOST, OK, WAIT_MAX_S, RawServer, read

PUBLIC_ONLY: Final = Reach()
EVERYTHING: Final = Reach(loopback=True, private=True)
REFUSALS: Final = ("is not a public address", "address that is not public", "Not a valid URL")
# Reserved for documentation, so that nothing ever answers there.
NAME: Final = "row.example.org"
PROXY: Final = "proxy.example.org"
METADATA: Final = "169.254.169.254"


@dataclass(slots=True, eq=False)
class FakeNames:
    """A name server: of each name the answers to the next queries, the last one for ever."""

    answers: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def getaddrinfo(self, _: object, host: str, port: int, **__: Any) -> list[Any]:
        """Answer as an event loop does."""
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        left = self.answers[host]
        texts = left.pop(0) if len(left) > 1 else left[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (text, port, 0, 0))
            if ":" in text
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))
            for text in texts
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> FakeNames:
    made = FakeNames()

    async def getaddrinfo(*args: Any, **options: Any) -> list[Any]:
        return await made.getaddrinfo(*args, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def _by_webhook(url: str, reach: Reach) -> str:
    outcome = post(url, b"{}", {}, reach)
    if any(refusal in outcome.detail for refusal in REFUSALS):
        assert not outcome.may_pass
        return "refused"
    return outcome.detail[:3]


def _by_provider(url: str, reach: Reach) -> str:
    async def sent() -> str:
        client = HttpClient()
        try:
            answer = await client.send(address(url), headers={}, body=b"{}", reach=reach)
            answer.release()
        finally:
            await client.aclose()
        return f"{answer.status}"

    try:
        return asyncio.run(sent())
    except NotSent as exc:
        return "refused" if exc.obstacle == NOT_ALLOWED else exc.obstacle


# Sends a request, and returns the status of its answer, "refused", or what else was in the way.
Sending = Callable[[str, Reach], str]
both_senders = pytest.mark.parametrize("by", [_by_webhook, _by_provider], ids=["webhook", "row"])


# --- addresses in URLs ------------------------------------------------------------------------


@both_senders
@pytest.mark.parametrize(
    "where",
    [
        *("127.0.0.1", "127.0.0.1:6379", "127.0.0.1:65535", "127.255.255.254", "127.0.0.1."),
        *("127.1", "2130706433", "2130706433:22", "0x7f000001", "0x7f.1", "0177.0.0.1"),
        *("017700000001", "0.0.0.0", "0", "127.0.0%2e1"),  # noqa: S104
        *("localhost", "LOCALHOST", "localhost.", "localhost..", "a.localhost"),
        *("[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::1%25lo]", "[::ffff:127.0.0.1]"),
        *("[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]"),
        *("[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:a00:1::]"),
        *("[2606:4700::5efe:7f00:1]", "[2606:4700::200:5efe:a00:1]"),
        *("10.0.0.1", "0xa000001", "012.0.0.1", "192.168.1.1", "172.16.0.1", "[fd12:3456::1]"),
        *(METADATA, "2852039166", "0xa9fea9fe", "[fe80::1]", "[fe80::1%251]"),
        *("[fd00:ec2::254]", "100.100.100.200", "168.63.129.16"),
    ],
)
def test_inside_address_is_refused_however_it_is_written(
    names: FakeNames, by: Sending, where: str
) -> None:
    assert by(f"https://{where}/", PUBLIC_ONLY) == "refused"
    assert names.asked == []


@both_senders
@pytest.mark.parametrize(
    "where",
    [
        *(METADATA, "2852039166", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[fe80::1%251]"),
        *("[fd00:ec2::254]", "100.100.100.200", "168.63.129.16", "0.0.0.0", "[::]", "224.0.0.1"),  # noqa: S104
        *("[2002:7f00:1::]", "[fd12::5efe:a9fe:a9fe]", "[::127.0.0.1]"),
    ],
)
def test_link_local_and_metadata_are_refused_with_every_allowance(
    names: FakeNames, by: Sending, where: str
) -> None:
    assert by(f"http://{where}/", EVERYTHING) == "refused"


def test_host_is_what_follows_user() -> None:
    assert _by_provider("https://example.org@127.0.0.1/", PUBLIC_ONLY) == "refused"
    assert _by_provider("https://example.org:443@127.0.0.1:80/", PUBLIC_ONLY) == "refused"


@both_senders
def test_loopback_is_reached_where_it_is_allowed(receiver: Receiver, by: Sending) -> None:
    assert by(receiver.url, Reach(loopback=True)) == "200"
    assert by(receiver.url, Reach(private=True)) == "refused"
    assert len(receiver.received) == 1


def test_plain_http_is_sent_to_loopback_or_private_hosts_only(names: FakeNames) -> None:
    assert _by_provider(f"http://{NAME}/", Reach(loopback=True)) == "refused"
    assert _by_provider("http://93.184.216.34/", PUBLIC_ONLY) == "refused"
    assert names.asked == []


# --- names ------------------------------------------------------------------------------------


@both_senders
@pytest.mark.parametrize(
    "answer",
    [
        *(("127.0.0.1",), ("10.0.0.1",), (METADATA,), ("0.0.0.0",), ("::1",)),  # noqa: S104
        *(("::ffff:127.0.0.1",), ("64:ff9b::a00:1",), ("2002:7f00:1::",), ("fe80::1%1",)),
        *(("93.184.216.34", "10.0.0.1"), ("10.0.0.1", "93.184.216.34")),
        ("93.184.216.34", "2606:4700:4700::1111", "::1"),
    ],
    ids=" ".join,
)
def test_name_with_inside_address_is_refused(
    names: FakeNames, by: Sending, answer: tuple[str, ...]
) -> None:
    names.answers = {NAME: [answer]}
    assert by(f"https://{NAME}/", PUBLIC_ONLY) == "refused"
    assert names.asked == [NAME]


@both_senders
def test_checked_address_is_called_when_name_changes(
    names: FakeNames, receiver: Receiver, by: Sending
) -> None:
    names.answers = {NAME: [("127.0.0.1",), (METADATA,)]}
    url = receiver.url.replace(HOST, NAME)
    assert by(url, EVERYTHING) == "200"
    assert names.asked == [NAME]
    assert by(url, EVERYTHING) == "refused"
    assert len(receiver.received) == 1


def test_refusal_of_webhook_names_no_inside_address(names: FakeNames) -> None:
    names.answers = {NAME: [("10.1.2.3",)]}
    assert "10.1.2.3" not in post(f"https://{NAME}/", b"{}", {}, PUBLIC_ONLY).detail


# --- redirects --------------------------------------------------------------------------------


@both_senders
@pytest.mark.parametrize("status", [301, 307])
def test_redirect_is_not_followed(receiver: Receiver, by: Sending, status: int) -> None:
    with Receiver() as inside:
        receiver.statuses, receiver.location = [status], inside.url
        assert by(receiver.url, EVERYTHING) == f"{status}"
        assert inside.received == []


# --- connections that are kept ----------------------------------------------------------------


async def _hello(client: HttpClient, server: RawServer, reach: Reach | None, raw: bytes) -> None:
    url = address(f"http://{NAME}:{server.port}/")
    sending = asyncio.create_task(client.send(url, headers={}, body=b"", reach=reach))
    async with asyncio.timeout(WAIT_MAX_S):
        await (await server.asked()).say(raw)
        assert await read(await sending) == b"hello"


async def _is_refused(client: HttpClient, url: str, reach: Reach) -> None:
    with pytest.raises(NotSent) as failed:
        async with asyncio.timeout(WAIT_MAX_S):
            await client.send(address(url), headers={}, body=b"", reach=reach)
    assert failed.value.obstacle == NOT_ALLOWED


@pytest.mark.parametrize("wide", [None, EVERYTHING], ids=["unchecked", "everything"])
async def test_connection_of_wider_reach_is_not_used(
    names: FakeNames, client: HttpClient, server: RawServer, wide: Reach | None
) -> None:
    names.answers = {NAME: [(HOST,)]}
    await _hello(client, server, wide, HELLO)
    await _is_refused(client, f"http://{NAME}:{server.port}/", Reach(private=True))
    await _hello(client, server, wide, HELLO)
    (visit,) = server.visits
    assert len(visit.requests) == 2
    await client.aclose()
    await visit.ended()


async def test_name_is_checked_again_when_it_is_resolved_again(
    names: FakeNames, client: HttpClient, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "ADDRESSES_KEPT_S", 0)
    names.answers = {NAME: [(HOST,), (METADATA,)]}
    closing = OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello"
    await _hello(client, server, EVERYTHING, closing)
    await _is_refused(client, f"http://{NAME}:{server.port}/", EVERYTHING)


async def test_resolved_address_serves_its_reach_only(
    names: FakeNames, client: HttpClient, server: RawServer
) -> None:
    names.answers = {NAME: [(HOST,), (METADATA,)]}
    closing = OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello"
    for _ in range(2):
        await _hello(client, server, None, closing)  # from the cache
    assert names.asked == [NAME]
    await _is_refused(client, f"http://{NAME}:{server.port}/", EVERYTHING)


# --- a proxy on the way -----------------------------------------------------------------------


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[ProxyServer]:
    async with proxy_server() as made:
        yield made


@pytest_asyncio.fixture
async def behind(proxy: ProxyServer) -> AsyncIterator[HttpClient]:
    """A client behind the proxy."""
    proxy.refusal = b"HTTP/1.1 403 Forbidden\r\n\r\n"
    made = HttpClient(Network(https_proxy=proxy.url.replace(HOST, PROXY)))
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "where",
    ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "a.localhost.", METADATA, "[::1]", "10.1"],
)
async def test_inside_address_does_not_come_to_proxy(
    proxy: ProxyServer, behind: HttpClient, names: FakeNames, where: str
) -> None:
    await _is_refused(behind, f"https://{where}/", PUBLIC_ONLY)
    assert (proxy.heads, names.asked) == ([], [])


async def test_address_of_proxy_is_not_checked_and_it_resolves_names(
    proxy: ProxyServer, behind: HttpClient, names: FakeNames
) -> None:
    names.answers = {PROXY: [(HOST,)]}
    with pytest.raises(NotSent) as failed:
        await behind.send(address(f"https://{NAME}/"), headers={}, body=b"", reach=PUBLIC_ONLY)
    assert "403" in failed.value.obstacle
    assert proxy.heads[0].startswith(f"CONNECT {NAME}:443 ")
    assert names.asked == [PROXY]


async def test_name_that_bypasses_proxy_is_checked(proxy: ProxyServer, names: FakeNames) -> None:
    names.answers = {NAME: [("10.0.0.1",)]}
    direct = HttpClient(Network(https_proxy=proxy.url, no_proxy=".example.org"))
    await _is_refused(direct, f"https://{NAME}/", PUBLIC_ONLY)
    assert proxy.heads == []
    await direct.aclose()


# --- from a row to the client -----------------------------------------------------------------


async def test_relay_refuses_what_its_row_may_not_reach(
    client: HttpClient, names: FakeNames, caplog: pytest.LogCaptureFixture
) -> None:
    names.answers = {NAME: [("10.1.2.3",)]}
    row = Upstream.of(_row(f"https://{NAME}"))
    request = RelayRequest(
        dialect="chat",
        path="/v1",
        body=b"{}",
        output=None,
        headers={},
        whole=_unused,
        reading=_unused,
    )
    with pytest.raises(Unreachable) as failed:
        await Relay(client).whole(row, request)
    sentence = f'Provider "Row" could not be reached: {NOT_ALLOWED}; nothing was sent'
    assert str(failed.value) == sentence
    assert "10.1.2.3" in caplog.text  # which is the operator's


async def test_sdk_refuses_what_its_row_may_not_reach(client: HttpClient) -> None:
    async with transport.client(client, _row("https://127.0.0.1")) as sdk:
        with pytest.raises(httpx2.ConnectError, match="is not a public address"):
            await sdk.post("https://127.0.0.1/v1")


def _row(base_url: str) -> ProviderConfig:
    return ProviderConfig(
        name="row", title="Row", base_url=base_url, auth="none", reach=PUBLIC_ONLY
    )


def _unused(*_: object) -> Any:
    raise AssertionError
