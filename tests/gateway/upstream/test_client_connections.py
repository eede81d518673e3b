"""Connections: reuse, closing, limits, and the bytes sent over them."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from gateway.upstream import http_client
from gateway.upstream.http_client import BrokenOff, HttpClient
from gateway.upstream.network import Network
from tests.gateway.upstream.certificates import Certificates
from tests.gateway.upstream.raw_server import (
    HELLO,
    LARGE_BYTES,
    OK,
    WAIT_MAX_S,
    RawServer,
    answered,
    raw_server,
    read,
    send,
)

FORGED = OK + b"content-length: 6\r\n\r\nforged"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


async def _answers_hello(client: HttpClient, server: RawServer) -> None:
    assert await read(await answered(client, server, HELLO)) == b"hello"


async def test_request_is_sent_unchanged_and_connection_is_kept(
    client: HttpClient, server: RawServer
) -> None:
    for _ in range(3):
        await _answers_hello(client, server)
    (visit,) = server.visits
    request = (
        f"POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        "accept-encoding: identity\r\nx-key: k\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert visit.requests == [request.encode()] * 3


@pytest.mark.parametrize("path", ["/a%2Fb%3A?c=%20d&e", "/v1beta/models/x:streamGenerate?alt=sse"])
async def test_path_encoding_is_kept(client: HttpClient, server: RawServer, path: str) -> None:
    url = http_client.address(f"http://127.0.0.1:{server.port}{path}")
    sending = asyncio.create_task(client.send(url, method="GET", headers={}, body=b""))
    visit = await server.asked()
    await visit.say(HELLO)
    assert await read(await sending) == b"hello"
    assert visit.requests[0].startswith(f"GET {path} HTTP/1.1\r\n".encode())
    assert b"ontent" not in visit.requests[0]


async def test_user_in_url_is_not_sent(client: HttpClient, server: RawServer) -> None:
    url = http_client.address(f"http://user:secret@127.0.0.1:{server.port}/v1")
    sending = asyncio.create_task(client.send(url, headers={"authorization": "k"}, body=b""))
    visit = await server.asked()
    await visit.say(HELLO)
    await read(await sending)
    assert b"\r\nauthorization: k\r\n" in visit.requests[0]
    assert b"Content-Length: 0\r\n" in visit.requests[0]
    assert b"Basic" not in visit.requests[0]


async def test_large_body_arrives_whole(client: HttpClient, server: RawServer) -> None:
    body = bytes(range(256)) * 40_000
    sending = asyncio.create_task(client.send(server.url, headers={}, body=body))
    visit = await server.asked()
    await visit.say(HELLO)
    assert await read(await sending) == b"hello"
    assert visit.requests[0].endswith(b"\r\n\r\n" + body)


async def test_concurrent_requests_use_own_connections_and_both_are_kept(
    client: HttpClient, server: RawServer
) -> None:
    for _ in range(2):
        sending = [asyncio.create_task(send(client, server)) for _ in range(2)]
        visits = [await server.asked() for _ in range(2)]
        assert visits[0] is not visits[1]
        for visit in visits:
            await visit.say(HELLO)
        for task in sending:
            assert await read(await task) == b"hello"
    assert len(server.visits) == 2


# --- how many ---------------------------------------------------------------------------------


async def test_requests_beyond_connection_limit_wait_without_blocking_other_providers() -> None:
    client = HttpClient(Network(connections_per_origin=2))
    async with raw_server() as server, raw_server() as other:
        held = [await answered(client, server, HELLO[:-1]) for _ in range(2)]
        waiting = asyncio.create_task(send(client, server))
        await _answers_hello(client, other)
        assert len(server.visits) == 2
        held[0].release()
        await (await server.asked()).say(HELLO)
        assert await read(await waiting) == b"hello"
        held[1].release()
        await client.aclose()


def test_two_thousand_streams_fit_one_process() -> None:
    assert Network().connections_per_origin >= 2000


# --- which are not used again -----------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        HELLO + FORGED,
        HELLO + b"HTTP/1.1 100 Continue\r\n\r\n",
        CHUNKED + b"\r\n" + FORGED,
    ],
    ids=["close", "HTTP/1.0", "an answer", "an interim one", "chunked"],
)
async def test_connection_is_ended_after(client: HttpClient, server: RawServer, raw: bytes) -> None:
    assert await read(await answered(client, server, raw)) == b"hello"
    await server.visits[0].ended()
    await _answers_hello(client, server)
    assert len(server.visits) == 2


@pytest.mark.parametrize("raw", [FORGED, FORGED[:1], FORGED[:-1], b"\r\n", b"x"])
async def test_unsolicited_bytes_are_ignored(
    client: HttpClient, server: RawServer, raw: bytes
) -> None:
    await _answers_hello(client, server)
    await server.visits[0].say(raw)
    await _answers_hello(client, server)
    if raw.startswith(FORGED[:-1]):
        await server.visits[0].ended()


@pytest.mark.parametrize("is_reset", [False, True], ids=["ended", "reset"])
async def test_connection_closed_while_idle_is_not_used(
    client: HttpClient, server: RawServer, is_reset: bool
) -> None:
    await _answers_hello(client, server)
    visit = server.visits[0]
    visit.reset() if is_reset else visit.end()
    await visit.say(b"")
    await _answers_hello(client, server)
    assert len(server.visits) == 2


async def test_idle_connections_are_closed(
    client: HttpClient, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "KEEPALIVE_S", 0.05)
    for number in range(2):
        await _answers_hello(client, server)
        await server.visits[number].ended()


async def test_closing_client_closes_kept_connections(
    client: HttpClient, server: RawServer
) -> None:
    await _answers_hello(client, server)
    await client.aclose()
    await server.visits[0].ended()
    await client.aclose()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_client_whose_loop_has_closed_can_be_closed() -> None:
    client = HttpClient()

    async def use() -> None:
        async with raw_server() as server:
            await _answers_hello(client, server)

    asyncio.run(use())
    asyncio.run(client.aclose())
    gc.collect()


# --- leaving early stops the provider ---------------------------------------------------------


@pytest.mark.parametrize("leaves", ["release", "cancel", "cancel before the answer"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
async def test_early_exit_closes_connection(
    certificates: Certificates, is_tls: bool, leaves: str
) -> None:
    client = HttpClient(Network(ca_file=str(certificates.authority)))
    async with raw_server(tls=certificates.server_context() if is_tls else None) as server:
        sending = asyncio.create_task(send(client, server))
        visit = await server.asked()
        if leaves != "cancel before the answer":
            await visit.say(HELLO[:-1])
            answer = await sending
            assert await answer.next() == b"hell"
        if leaves == "release":
            answer.release()
            answer.release()
        elif leaves == "cancel":
            reading = asyncio.create_task(read(answer))
            await asyncio.sleep(0)
            reading.cancel()
        else:
            sending.cancel()
        await visit.ended()
        await _answers_hello(client, server)
        assert len(server.visits) == 2
        await client.aclose()


async def test_exit_before_request_is_sent_closes_connection(
    client: HttpClient,
) -> None:
    async with raw_server(bodies=False) as server:
        body = b"x" * LARGE_BYTES
        sending = asyncio.create_task(client.send(server.url, headers={}, body=body))
        visit = await server.asked()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        async with asyncio.timeout(WAIT_MAX_S):
            with pytest.raises(ConnectionError):
                while True:
                    visit.writer.write(b"x")
                    await visit.reader.read(LARGE_BYTES)


async def test_answer_before_request_end_is_read_and_connection_closed(
    client: HttpClient,
) -> None:
    async with raw_server(bodies=False) as server:
        body = b"x" * LARGE_BYTES
        sending = asyncio.create_task(client.send(server.url, headers={}, body=body))
        visit = await server.asked()
        await visit.say(HELLO)
        assert await read(await sending) == b"hello"
        await _answers_hello(client, server)
        assert len(server.visits) == 2


async def test_failed_requests_leave_nothing_behind(
    client: HttpClient, server: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
    caplog.clear()
    complaints = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    before = len(asyncio.all_tasks())
    for raw in (HELLO[:-1], FORGED + FORGED, b"garbage", OK + b"content-encoding: br\r\n\r\n"):
        try:
            (await answered(client, server, raw, ends=True)).release()
        except BrokenOff:
            continue
    await client.aclose()
    for visit in server.visits:
        await visit.ended()
    await asyncio.sleep(0)
    gc.collect()
    assert len(asyncio.all_tasks()) == before
    assert complaints == []
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []
