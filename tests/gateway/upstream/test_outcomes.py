"""Failed requests: nothing was sent, or the outcome is unknown."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.core.providers import USUAL, TimeLimits
from gateway.upstream.http_client import BrokenOff, HttpClient, NotSent, address, is_not_sent
from gateway.upstream.network import Network
from tests.fake_provider import closed_port
from tests.gateway.upstream.raw_server import (
    HELLO,
    HOST,
    LARGE_BYTES,
    WAIT_MAX_S,
    RawServer,
    answered,
    raw_server,
    read,
    send,
)


async def _is_not_sent(client: HttpClient, url: str, limits: TimeLimits = USUAL) -> None:
    async with asyncio.timeout(WAIT_MAX_S):
        with pytest.raises(NotSent):
            await client.send(address(url), headers={}, body=b"{}", limits=limits)


# --- nothing was sent -------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_refused_connection_sends_nothing(client: HttpClient, scheme: str) -> None:
    await _is_not_sent(client, f"{scheme}://{HOST}:{closed_port()}/v1")


@pytest.mark.parametrize("host", ["nothing.invalid", "a..b", "x" * 64])
async def test_unknown_name_sends_nothing(client: HttpClient, host: str) -> None:
    await _is_not_sent(client, f"http://{host}/v1")


async def test_silent_tls_handshake_sends_nothing(client: HttpClient, server: RawServer) -> None:
    await _is_not_sent(client, f"https://{HOST}:{server.port}/v1", TimeLimits(connect_s=0.1))
    await server.visits[0].ended()


async def test_tls_to_plain_server_sends_nothing(client: HttpClient) -> None:
    async def speaks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(speaks, HOST, 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        await _is_not_sent(client, f"https://{HOST}:{port}/v1")


async def test_pool_timeout_sends_nothing(server: RawServer) -> None:
    client = HttpClient(Network(connections_per_origin=1))
    try:
        answer = await answered(client, server, HELLO[:-1])
        await _is_not_sent(client, str(server.url), TimeLimits(connect_s=0.1))
        answer.release()
        assert [len(visit.requests) for visit in server.visits] == [1]
    finally:
        await client.aclose()


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
async def test_header_with_line_break_is_not_sent(
    client: HttpClient, server: RawServer, headers: dict[str, str]
) -> None:
    assert await read(await answered(client, server, HELLO)) == b"hello"
    with pytest.raises(NotSent):
        await client.send(server.url, headers=headers, body=b"{}")
    assert await read(await answered(client, server, HELLO)) == b"hello"
    assert [len(visit.requests) for visit in server.visits] == [2]


@pytest.mark.parametrize("path", ["a b", "a\r\nb", "a\nb", "a\rb", "a\tb", "a\0b", "ä", "a\x7f"])
def test_unencoded_url_is_refused(path: str) -> None:
    for text in (f"http://host/{path}", f"http://host/?{path}", f"http://{path}/", f"{path}"):
        with pytest.raises(NotSent):
            address(text)


@pytest.mark.parametrize(
    "text", ["", "/v1", "ftp://host/", "http:///v1", "http://host:0/", "http://host:70000/"]
)
def test_invalid_server_url_is_refused(text: str) -> None:
    with pytest.raises(NotSent):
        address(text)


# --- cancelled --------------------------------------------------------------------------------


async def _cancelled(task: asyncio.Task[object]) -> BaseException:
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    return cancelled.value


async def test_cancelled_wait_for_connection_counts_as_unsent(
    server: RawServer,
) -> None:
    client = HttpClient(Network(connections_per_origin=1))
    try:
        answer = await answered(client, server, HELLO[:-1])
        waiting = asyncio.create_task(send(client, server))
        await asyncio.sleep(0.01)
        assert is_not_sent(await _cancelled(waiting))
        answer.release()
        assert await read(await answered(client, server, HELLO)) == b"hello"
    finally:
        await client.aclose()


async def test_cancelled_connect_counts_as_unsent(client: HttpClient, server: RawServer) -> None:
    url = address(f"https://{HOST}:{server.port}/v1")
    connecting = asyncio.create_task(client.send(url, headers={}, body=b"{}"))
    await asyncio.sleep(0.01)
    assert is_not_sent(await _cancelled(connecting))


@pytest.mark.parametrize("came", [b"", HELLO[:20]], ids=["nothing", "half a head"])
async def test_cancelled_wait_for_answer_is_unknown_and_closes_connection(
    client: HttpClient, server: RawServer, came: bytes
) -> None:
    sending = asyncio.create_task(send(client, server))
    visit = await server.asked()
    await visit.say(came)
    assert not is_not_sent(await _cancelled(sending))
    await visit.ended()


# --- the outcome is unknown -------------------------------------------------------------------


@pytest.mark.parametrize("is_reset", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize("is_kept", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_broken_connection_is_unknown_and_not_resent(
    client: HttpClient, server: RawServer, method: str, is_kept: bool, is_reset: bool
) -> None:
    if is_kept:
        assert await read(await answered(client, server, HELLO)) == b"hello"
    body = b"{}" if method == "POST" else b""
    sending = asyncio.create_task(client.send(server.url, method=method, headers={}, body=body))
    visit = await server.asked()
    visit.reset() if is_reset else visit.end()
    with pytest.raises(BrokenOff):
        await sending
    await asyncio.sleep(0.01)
    assert [len(each.requests) for each in server.visits] == [2 if is_kept else 1]


async def test_connection_closed_during_request_is_unknown(
    client: HttpClient,
) -> None:
    async with raw_server(bodies=False) as server:
        body = b"x" * LARGE_BYTES
        sending = asyncio.create_task(client.send(server.url, headers={}, body=body))
        (await server.asked()).reset()
        with pytest.raises(BrokenOff):
            await sending


async def test_half_closed_server_without_answer_is_unknown(
    client: HttpClient, server: RawServer
) -> None:
    sending = asyncio.create_task(send(client, server))
    visit = await server.asked()
    visit.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenOff):
        await sending
