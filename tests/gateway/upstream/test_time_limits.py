"""How long a server may be silent: before its answer, and between any two bytes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from gateway.core.providers import TimeLimits
from gateway.upstream.http_client import HttpClient, Silent, UpstreamResponse
from gateway.upstream.network import Network
from tests.gateway.upstream.raw_server import (
    HELLO,
    LARGE_BYTES,
    OK,
    WAIT_MAX_S,
    RawServer,
    Visit,
    raw_server,
    read,
)

# Limits that no test reaches, so that each shows which one it was that ended a call.
FAR: Final = TimeLimits(connect_s=WAIT_MAX_S, first_byte_s=WAIT_MAX_S, idle_s=WAIT_MAX_S)
SHORT_S: Final = 0.3
# Of answers that are never silent for so long, on a busy machine either.
LIMIT_S: Final = 2.0
PIECE_S: Final = 0.2
CHUNKED: Final = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END: Final = b"0\r\n\r\n"


def limits(*, first_byte_s: float = WAIT_MAX_S, idle_s: float = WAIT_MAX_S) -> TimeLimits:
    return TimeLimits(connect_s=WAIT_MAX_S, first_byte_s=first_byte_s, idle_s=idle_s)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def send(client: HttpClient, server: RawServer, within: TimeLimits) -> UpstreamResponse:
    async with asyncio.timeout(WAIT_MAX_S):
        return await client.send(server.url, headers={}, body=b"{}", limits=within)


@asynccontextmanager
async def asked(
    client: HttpClient, server: RawServer, within: TimeLimits
) -> AsyncIterator[tuple[asyncio.Task[UpstreamResponse], Visit]]:
    """Send a request; the block answers it."""
    sending = asyncio.create_task(send(client, server, within))
    visit = await server.asked()
    yield sending, visit
    await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize("came", [b"", HELLO[:20]], ids=["nothing", "half a head"])
async def test_server_that_does_not_answer_is_noticed(
    client: HttpClient, server: RawServer, came: bytes
) -> None:
    began_at = time.monotonic()
    async with asked(client, server, limits(first_byte_s=SHORT_S)) as (sending, visit):
        await visit.say(came)
        with pytest.raises(Silent, match=r"^did not begin to answer within 0\.3 s$"):
            await sending
        assert time.monotonic() - began_at >= SHORT_S
        await visit.ended()
    assert [len(each.requests) for each in server.visits] == [1]


async def test_server_that_does_not_read_is_noticed(client: HttpClient) -> None:
    async with raw_server(bodies=False) as server:
        body = b"x" * LARGE_BYTES
        within = limits(first_byte_s=SHORT_S)
        async with asyncio.timeout(WAIT_MAX_S):
            with pytest.raises(Silent):
                await client.send(server.url, headers={}, body=body, limits=within)


async def test_wait_for_connection_is_not_wait_for_answer(server: RawServer) -> None:
    client = HttpClient(Network(connections_per_origin=1))
    try:
        async with asked(client, server, FAR) as (first, visit):
            waiting = asyncio.create_task(send(client, server, limits(first_byte_s=SHORT_S)))
            await asyncio.sleep(2 * SHORT_S)
            await visit.say(HELLO)
            await read(await first)
            await (await server.asked()).say(HELLO)
            assert await read(await waiting) == b"hello"
    finally:
        await client.aclose()


async def test_answer_with_any_bytes_in_time_is_read_to_its_end(
    client: HttpClient, server: RawServer
) -> None:
    """Its time before and between is longer than either limit allows for one wait."""
    within = limits(first_byte_s=LIMIT_S, idle_s=LIMIT_S)
    event, pings = chunk(b"data: {}\n\n"), [chunk(b": ping\n\n")] * 8
    pieces = (*pings, chunk(b":"), event[:5], event[5:], chunk(b"\n"), END)
    assert len(pieces) * PIECE_S > LIMIT_S
    async with asked(client, server, within) as (sending, visit):
        await asyncio.sleep(PIECE_S)
        await visit.say(CHUNKED)
        reading = asyncio.create_task(read(await sending))
        for piece in pieces:
            await asyncio.sleep(PIECE_S)
            await visit.say(piece)
        assert await reading == b": ping\n\n" * len(pings) + b":data: {}\n\n\n"


@pytest.mark.parametrize(
    ("came", "body"),
    [
        (CHUNKED, b""),
        (CHUNKED + chunk(b"data: 1\n\n"), b"data: 1\n\n"),
        (CHUNKED + b"fff\r\ndata: 2", b"data: 2"),
        (OK + b"Content-Length: 90\r\n\r\n", b""),
        (OK + b'Content-Length: 90\r\n\r\n{"half', b'{"half'),
        (OK + b'\r\n{"until the end', b'{"until the end'),
    ],
    ids=["a head", "an event", "half a chunk", "a head of a whole", "half a whole", "no length"],
)
async def test_silence_in_answer_is_noticed_after_what_came(
    client: HttpClient, server: RawServer, came: bytes, body: bytes
) -> None:
    async with asked(client, server, limits(idle_s=SHORT_S)) as (sending, visit):
        await visit.say(came)
        answer, seen = await sending, b""
        with pytest.raises(Silent, match=r"^sent nothing for 0\.3 s$"):
            while piece := await answer.next():
                seen += piece
        assert seen == body
        answer.release()
        await visit.ended()


async def test_reader_that_is_slow_does_not_make_server_silent(
    client: HttpClient, server: RawServer
) -> None:
    size = LARGE_BYTES
    async with asked(client, server, limits(idle_s=LIMIT_S)) as (sending, visit):
        await visit.say(OK + b"Content-Length: %d\r\n\r\n" % size)
        visit.writer.write(b"x" * size)
        answer = await sending
        await asyncio.sleep(1.5 * LIMIT_S)
        assert len(await read(answer)) == size


async def test_pause_between_answers_on_one_connection_is_not_silence(
    client: HttpClient, server: RawServer
) -> None:
    within = limits(first_byte_s=LIMIT_S, idle_s=LIMIT_S)
    for _ in range(2):
        async with asked(client, server, within) as (sending, visit):
            await visit.say(HELLO)
            assert await read(await sending) == b"hello"
        await asyncio.sleep(1.2 * LIMIT_S)
    assert [len(each.requests) for each in server.visits] == [2]
