"""How the wire reaches a vendor, and that nothing was sent where it says so."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohappyeyeballs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.providers import wire as wire_module
from gateway.providers.connection import BrokenOff
from gateway.providers.wire import NotSent, Target, Wire
from tests.fake_provider import closed_port
from tests.gateway.http.raw_server import (
    HOST,
    WAIT_MAX_S,
    RawServer,
    answered,
    ask,
    raw_server,
    read,
)

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key, and the certificate for localhost that it signed itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address(HOST)),
    ]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(pem))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What a server with that certificate uses."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def known_authority(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(wire_module, "_ssl_context", lambda: context)


def _target(port: int, *, scheme: str = "http", host: str = "localhost") -> Target:
    return Target.of(f"{scheme}://{host}:{port}/v1")


async def _is_not_sent(wire: Wire, target: Target, *, within_s: float = WAIT_MAX_S) -> None:
    with pytest.raises(NotSent):
        await wire.ask(target, headers={}, body=b"", connect_timeout_s=within_s)


async def test_where_nothing_listens_nothing_was_sent(wire: Wire) -> None:
    await _is_not_sent(wire, _target(closed_port(), host=HOST))
    await _is_not_sent(wire, _target(closed_port(), scheme="https", host=HOST))


@pytest.mark.parametrize("host", ["nothing.invalid", "a..b", "x" * 64])
async def test_to_a_name_that_does_not_exist_nothing_was_sent(wire: Wire, host: str) -> None:
    await _is_not_sent(wire, _target(80, host=host))


async def test_nothing_was_sent_over_a_connection_that_is_not_made_in_time(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", never)
    await _is_not_sent(wire, _target(80, host=HOST), within_s=0.05)


async def test_nothing_was_sent_to_a_server_that_never_answers_to_tls(
    server: RawServer, wire: Wire
) -> None:
    await _is_not_sent(wire, _target(server.port, scheme="https"), within_s=0.1)
    await server.visits[0].ended()


async def test_nothing_was_sent_over_tls_to_a_server_that_speaks_plainly(wire: Wire) -> None:
    ended = asyncio.Event()

    async def speaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        while await reader.read(1000):
            pass
        writer.close()
        ended.set()

    async with await asyncio.start_server(speaks, HOST, 0) as listening:
        await _is_not_sent(wire, _target(listening.sockets[0].getsockname()[1], scheme="https"))
        await asyncio.wait_for(ended.wait(), WAIT_MAX_S)


async def test_nothing_was_sent_to_a_server_whose_authority_is_unknown(
    wire: Wire, tls: ssl.SSLContext
) -> None:
    async with raw_server(tls=tls) as server:
        await _is_not_sent(wire, server.target)
        assert [visit.requests for visit in server.visits if visit.requests] == []


@pytest.mark.usefixtures("known_authority")
async def test_nothing_was_sent_to_a_server_with_the_certificate_of_another(
    wire: Wire, tls: ssl.SSLContext
) -> None:
    async with raw_server(tls=tls) as server:
        await _is_not_sent(wire, _target(server.port, scheme="https", host="127.0.0.2"))


@pytest.mark.usefixtures("known_authority")
async def test_nothing_was_sent_over_a_connection_that_was_spoilt_before(
    wire: Wire, tls: ssl.SSLContext
) -> None:
    tls.maximum_version = ssl.TLSVersion.TLSv1_2  # where the server can speak first

    def welcome(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        writer.close()

    async with await asyncio.start_server(welcome, HOST, 0, ssl=tls) as listening:
        await _is_not_sent(wire, _target(listening.sockets[0].getsockname()[1], scheme="https"))


@pytest.mark.usefixtures("known_authority")
async def test_over_tls_answers_are_read_and_connections_kept_as_without(
    wire: Wire, tls: ssl.SSLContext
) -> None:
    async with raw_server(tls=tls) as server:
        for _ in range(2):
            assert await read(await answered(wire, server, HELLO[:9], HELLO[9:])) == b"hello"
        assert len(server.visits) == 1
        to_the_end = await answered(wire, server, OK + b"\r\nhello", ends=True)
        assert await read(to_the_end) == b"hello"
        with pytest.raises(BrokenOff):
            await read(await answered(wire, server, HELLO[:-1], ends=True))
        large = b"x" * 1_000_000  # above what may wait unread
        assert await read(await answered(wire, server, OK + b"\r\n", large, ends=True)) == large
        await server.visits[0].ended()


@pytest.mark.parametrize(
    "headers",
    [
        {"a": "b\r\nc: d"},
        {"a": "b\nc"},
        {"a": "b\rc"},
        {"a\r\nb": "c"},
        {"a": "\0"},
        {"a": "\ud800"},
    ],
)
async def test_a_header_with_a_line_break_is_not_sent(
    server: RawServer, wire: Wire, headers: dict[str, str]
) -> None:
    with pytest.raises(NotSent):
        await wire.ask(server.target, headers=headers, body=b"")
    await asyncio.sleep(0.01)
    assert server.visits == []
    assert await read(await answered(wire, server, HELLO)) == b"hello"
    with pytest.raises(NotSent):
        await wire.ask(server.target, headers=headers, body=b"")
    assert len(server.visits[0].requests) == 1


@pytest.mark.parametrize("path", ["a b", "a\r\nb", "a\nb", "a\rb", "a\tb", "a\0b", "ä", "a\x7f"])
def test_an_address_that_is_not_of_one_plain_word_is_none(path: str) -> None:
    for address in (f"http://host/{path}", f"http://host/?{path}", f"http://{path}/", f"{path}"):
        with pytest.raises(NotSent):
            Target.of(address)


@pytest.mark.parametrize(
    "address", ["", "/v1", "ftp://host/", "http:///v1", "http://host:0/", "http://host:70000/"]
)
def test_what_is_no_address_of_a_server_is_none(address: str) -> None:
    with pytest.raises(NotSent):
        Target.of(address)


def _looked_up(monkeypatch: pytest.MonkeyPatch, look_up: Callable[[int], Any]) -> list[int]:
    """Answer look-ups, the first one with 0, by what `look_up` awaits to; return their numbers."""
    asked: list[int] = []

    async def getaddrinfo(_: object, host: str, port: int, **__: object) -> Any:
        asked.append(len(asked))
        await look_up(asked[-1])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_is_looked_up_once_for_all_who_come_at_the_same_time(
    server: RawServer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = asyncio.Event()
    asked = _looked_up(monkeypatch, lambda _: found.wait())
    asking = [asyncio.create_task(ask(wire, server)) for _ in range(5)]
    await asyncio.sleep(0.01)
    asking.pop(0).cancel()  # who leaves takes nothing from the others
    await asyncio.sleep(0)
    found.set()
    for _ in asking:
        await (await server.asked()).say(HELLO)
    assert [await read(await task) for task in asking] == [b"hello"] * 4
    assert asked == [0]
    monkeypatch.setattr(wire_module, "ADDRESSES_KEPT_S", -1.0)
    await wire.aclose()
    for _ in range(2):
        assert await read(await answered(wire, server, OK + b"\r\nhello", ends=True)) == b"hello"
    assert asked == [0, 1, 2]


async def test_a_look_up_that_failed_is_not_kept(
    server: RawServer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails_first(number: int) -> None:
        if number == 0:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")

    asked = _looked_up(monkeypatch, fails_first)
    for expected in ([0], [0, 1], [0, 1]):
        if expected == [0]:
            await _is_not_sent(wire, server.target)
        else:
            answer = await answered(wire, server, OK + b"\r\nhello", ends=True)
            assert await read(answer) == b"hello"
        assert asked == expected


async def test_a_look_up_that_fails_when_nobody_waits_any_more_is_no_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    late = asyncio.Event()

    async def fails_late(_: int) -> None:
        await late.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    _looked_up(monkeypatch, fails_late)
    wire = Wire()
    await _is_not_sent(wire, _target(80), within_s=0.02)
    late.set()
    await asyncio.sleep(0.01)
    await wire.aclose()
    del wire
    assert "never retrieved" not in caplog.text
