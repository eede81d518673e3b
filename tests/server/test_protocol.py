"""Everything that a connection can make the server keep has a limit."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any, Final

import pytest
from pytest_django import Settings

from pulse.environment import proxy_networks
from pulse.server.protocol import LINE_EXTRA_BYTES, ON_STOP, PIECE_BYTES, Limits
from tests.server.listening import HOST, Listening, eventually, listening, rest_of, status_of

NO_LIMIT: Final = 3600.0
LIMITS: Final = Limits(
    url_bytes=2048, fields=8, head_bytes=4096, head_s=NO_LIMIT, pipelined=3, unread_s=NO_LIMIT
)
SOON: Final = 1.0
CLOSING: Final = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
CHUNKED: Final = (
    b"POST / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the headers as they are after the body, and with its size."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    seen = {name.decode(): value.decode() for name, value in scope["headers"]}
    body = json.dumps({"headers": seen, "size": size}).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def seen_in(answer: bytes) -> Any:
    """Return what `echo` saw."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def head(*, url: bytes = b"/", fields: int = 1, value_bytes: int = 0) -> bytes:
    """Return a request whose last field has a value of this size."""
    names = [b"connection: close", *(b"a: b" for _ in range(fields - 2))]
    if value_bytes:
        names.append(b"x: " + b"v" * value_bytes)
    return b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (url, b"\r\n".join(names))


async def statuses_of(*requests: bytes) -> list[int]:
    """Return the status of each, on a connection of its own."""
    async with listening(echo, LIMITS) as server:
        return [status_of(await server.ask(request)) for request in requests]


# --- size and number ------------------------------------------------------------------------------


async def test_url_is_bounded() -> None:
    longest = b"/" + b"a" * (LIMITS.url_bytes - 1)
    assert await statuses_of(head(url=longest), head(url=longest + b"a")) == [200, 414]


async def test_number_of_headers_is_bounded() -> None:
    assert await statuses_of(
        head(fields=LIMITS.fields, value_bytes=1), head(fields=LIMITS.fields + 1, value_bytes=1)
    ) == [200, 431]


async def test_size_of_headers_is_bounded() -> None:
    others = len("/") + len("connectioncloseabx") + 3 * LINE_EXTRA_BYTES
    most = LIMITS.head_bytes - others
    assert await statuses_of(
        head(fields=3, value_bytes=most), head(fields=3, value_bytes=most + 1)
    ) == [200, 431]


async def test_header_without_end_is_refused() -> None:
    endless = b"GET / HTTP/1.1\r\nx: " + b"v" * (LIMITS.head_bytes + 2 * PIECE_BYTES)
    assert await statuses_of(endless) == [431]


# --- trailers -------------------------------------------------------------------------------------


async def test_trailers_are_dropped() -> None:
    async with listening(echo, LIMITS) as server:
        trailers = b"x-pulse-key: k\r\nx-forwarded-for: 192.0.2.1\r\n\r\n"
        answer = await server.ask(CHUNKED + trailers)
    assert seen_in(answer) == {
        "headers": {"connection": "close", "transfer-encoding": "chunked"},
        "size": 2,
    }


async def test_trailers_count_as_headers() -> None:
    left = LIMITS.fields - 2
    large = LIMITS.head_bytes // 2
    assert await statuses_of(
        CHUNKED + b"a: b\r\n" * left + b"\r\n",
        CHUNKED + b"a: b\r\n" * (left + 1) + b"\r\n",
        CHUNKED + 2 * (b"a: " + b"b" * large + b"\r\n") + b"\r\n",
    ) == [200, 431, 431]


async def test_trailer_without_end_is_refused() -> None:
    endless = b"x: " + b"v" * (LIMITS.head_bytes + 2 * PIECE_BYTES)
    assert await statuses_of(CHUNKED + endless) == [431]


async def test_chunks_are_no_head_however_they_are_cut() -> None:
    body = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    sent = CHUNKED.removesuffix(b"0\r\n") + 4 * body + b"0\r\n\r\n"
    for size in (6, 4096, PIECE_BYTES, len(sent)):
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        async with listening(echo, LIMITS) as server:
            assert seen_in(await server.ask(*pieces))["size"] == 2 + 4 * 0x4000


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nx: ",
        b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nx: ",
    ],
)
async def test_head_that_is_not_completed_in_time_ends_connection(begun: bytes) -> None:
    async with listening(echo, replace(LIMITS, head_s=SOON)) as server:
        await ends_although_it_sends(server, begun, b"v" if begun else b"\r\n")


async def test_line_breaks_do_not_prolong_idle_connection() -> None:
    async with listening(echo, replace(LIMITS, head_s=SOON)) as server:
        await ends_although_it_sends(server, b"GET / HTTP/1.1\r\n\r\n", b"\r\n")


async def ends_although_it_sends(server: Listening, begun: bytes, piece: bytes) -> None:
    """Send what is begun, and then a little again and again, until the server has enough."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(piece)
            await asyncio.sleep(0.1)

    async with server.connected() as (reader, writer):
        writer.write(begun)
        dripping = asyncio.create_task(drip(writer))
        await rest_of(reader)
        dripping.cancel()


async def test_idle_connection_ends() -> None:
    async with listening(echo, LIMITS, keep_alive_s=1) as server:
        assert status_of(await server.ask(b"GET / HTTP/1.1\r\n\r\n")) == 200


async def test_time_for_head_does_not_limit_answer() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3 * SOON)
        await echo(scope, receive, send)

    async with listening(slow, replace(LIMITS, head_s=SOON)) as server:
        assert status_of(await server.ask(CLOSING)) == 200


@pytest.mark.parametrize("is_closing", [False, True])
async def test_answer_that_is_not_read_ends_connection(is_closing: bool) -> None:
    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * 2**25})

    async with (
        listening(large, replace(LIMITS, unread_s=SOON)) as server,
        server.connected() as (_, writer),
    ):
        writer.write(CLOSING if is_closing else b"GET / HTTP/1.1\r\n\r\n")
        await eventually(lambda: server.state.connections)
        await eventually(lambda: not server.state.connections)


# --- number of requests and connections -----------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order_within_their_number() -> None:
    async with listening(echo, LIMITS) as server:
        waiting = b"GET / HTTP/1.1\r\nx-n: %d\r\n\r\n"
        few = b"".join(waiting % n for n in range(LIMITS.pipelined))
        answer = await server.ask(few + CLOSING)
    assert answer.count(b"HTTP/1.1 200") == LIMITS.pipelined + 1
    assert answer.index(b'"x-n": "0"') < answer.index(b'"x-n": "1"') < answer.index(b'"x-n": "2"')


async def test_too_many_pipelined_requests_end_connection_and_all_its_requests() -> None:
    begun, ended = [], []

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        begun.append(1)
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.append(1)

    async with listening(waiting, LIMITS) as server, server.connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await eventually(lambda: begun)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * (LIMITS.pipelined + 1))
        await rest_of(reader)
        await eventually(lambda: not server.state.tasks)
    assert ended == begun == [1]


async def test_connections_are_bounded() -> None:
    async with listening(echo, replace(LIMITS, connections=2)) as server:
        async with server.connected(), server.connected(source="127.0.0.2"):
            await eventually(lambda: len(server.state.connections) == 2)
            refused = await server.ask(source="127.0.0.3")
            assert status_of(refused) == 503
            assert b"retry-after: 1\r\n" in refused
        assert status_of(await server.ask(CLOSING)) == 200


async def test_connections_of_one_address_are_bounded() -> None:
    async with listening(echo, replace(LIMITS, connections_per_address=1)) as server:
        async with server.connected():
            assert status_of(await server.ask()) == 503
            assert status_of(await server.ask(CLOSING, source="127.0.0.2")) == 200
        assert server.by_address == {}
        assert status_of(await server.ask(CLOSING)) == 200


async def test_connections_of_trusted_proxy_are_not_bounded_by_its_address(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_PROXY_ADDRESSES", f"10.0.0.0/8, {HOST}")
    settings.PROXY_NETWORKS = proxy_networks()
    limits = replace(LIMITS, connections_per_address=1)
    async with listening(echo, limits) as server, server.connected():
        assert status_of(await server.ask(CLOSING)) == 200


# --- what no request came of ----------------------------------------------------------------------


async def test_garbage_is_400() -> None:
    assert await statuses_of(b"garbage\r\n\r\n") == [400]


async def test_refusal_does_not_come_into_running_answer() -> None:
    async def begun(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with listening(begun, LIMITS) as server, server.connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        came = await reader.readuntil(b"first\r\n")
        writer.write(b"garbage\r\n\r\n")
        came += await rest_of(reader)
    assert came.count(b"HTTP/1.1") == 1


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """Answer in pieces, without a length."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"one ", b"", b"two "):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"three"})


async def test_answer_to_http_1_0_has_no_chunks_and_ends_with_connection() -> None:
    async with listening(stream, LIMITS) as server:
        answer = await server.ask(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        chunked = await server.ask(CLOSING)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"one two three"
    assert b"transfer-encoding: chunked" in chunked


async def test_answer_with_length_to_http_1_0_keeps_it() -> None:
    async with listening(echo, LIMITS) as server:
        answer = await server.ask(b"POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}")
    assert b"content-length: " in answer
    assert seen_in(answer)["size"] == 2


async def test_application_is_notified_when_server_begins_to_stop() -> None:
    stops: list[bool] = []
    async with listening(echo, LIMITS) as server, server.connected():
        await eventually(lambda: server.state.connections)
        [connection] = server.state.connections
        connection.shutdown()  # as for an application that asked for nothing
    async with listening(echo, LIMITS) as server, server.connected():
        await eventually(lambda: server.state.connections)
        [connection] = server.state.connections
        connection.app_state[ON_STOP] = lambda: stops.append(True)
        connection.shutdown()
        await eventually(lambda: not server.state.connections)
    assert stops == [True]
