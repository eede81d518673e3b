"""Reading a provider's answer: in any pieces, truncated, compressed, or not HTTP."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest

from gateway.upstream.http_client import (
    HEADER_MAX_BYTES,
    HEADERS_MAX,
    READ_BUFFER_BYTES,
    BrokenOff,
    HttpClient,
)
from tests.gateway.upstream.raw_server import (
    HELLO,
    LARGE_BYTES,
    OK,
    RawServer,
    answered,
    read,
    send,
)

BY_CHUNKS = OK + b"X-Id: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n"
LAST_CHUNK = b"0\r\n\r\n"
TO_THE_END = OK + b"X-Id: 7\r\n\r\nhello"
ANSWERS = {
    "by length": HELLO,
    "by chunks": BY_CHUNKS + LAST_CHUNK,
    "with a trailer": BY_CHUNKS + b"0\r\nRetry-After: 3\r\n\r\n",
    "to the end": TO_THE_END,
    "after interim ones": b"HTTP/1.1 100 Continue\r\nX-Id: 6\r\n\r\nHTTP/1.1 103 Early\r\n\r\n"
    + HELLO,
    "with bare line feeds": HELLO.replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("is_split", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("raw", ANSWERS.values(), ids=ANSWERS)
async def test_answer_is_read_completely(
    client: HttpClient, server: RawServer, raw: bytes, is_split: bool
) -> None:
    pieces = [bytes([byte]) for byte in raw] if is_split else [raw]
    answer = await answered(client, server, *pieces, ends=raw is TO_THE_END)
    assert (answer.status, answer.headers["x-id"]) == (200, "7")
    assert "retry-after" not in answer.headers
    assert await read(answer) == b"hello"


async def test_piece_is_passed_on_immediately(client: HttpClient, server: RawServer) -> None:
    answer = await answered(client, server, OK + b"transfer-encoding: chunked\r\n\r\n")
    for piece in (b"ab", b"cd"):
        await server.visits[0].say(b"2\r\n%b\r\n" % piece)
        assert await answer.next() == piece
    await server.visits[0].say(LAST_CHUNK)
    assert [await answer.next(), await answer.next()] == [b"", b""]
    answer.release()
    with pytest.raises(BrokenOff, match="released"):
        await answer.next()


async def test_header_names_are_lower_case_and_first_repeat_counts(
    client: HttpClient, server: RawServer
) -> None:
    head = b"X-Twice: one\r\nx-twice: two\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"
    answer = await answered(client, server, OK + head + b"X-No:\r\ncontent-length: 0\r\n\r\n")
    assert (answer.headers["x-twice"], answer.headers["x-no"]) == ("one", "")
    assert answer.content_type == "text/event-stream"
    assert answer.raw_headers[:2] == [(b"x-twice", b"one"), (b"x-twice", b"two")]
    assert await read(answer) == b""


async def test_cookies_and_redirects_are_ignored(client: HttpClient, server: RawServer) -> None:
    moved = b"HTTP/1.1 307 -\r\nlocation: /v2\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
    for _ in range(2):
        answer = await answered(client, server, moved)
        assert (answer.status, await read(answer)) == (307, b"")
    assert len(server.visits[0].requests) == 2
    assert b"ookie" not in server.visits[0].requests[1]


@pytest.mark.parametrize("status", [204, 304])
async def test_answer_without_body_ends_with_headers(
    client: HttpClient, server: RawServer, status: int
) -> None:
    for _ in range(2):
        answer = await answered(client, server, b"HTTP/1.1 %d -\r\nx-id: 7\r\n\r\n" % status)
        assert (answer.status, await read(answer)) == (status, b"")
    assert len(server.visits) == 1


@pytest.mark.parametrize("is_reset", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize(
    "raw", [HELLO[:-1], BY_CHUNKS, BY_CHUNKS + LAST_CHUNK[:-1]], ids=["length", "chunk", "byte"]
)
async def test_truncated_answer_raises_after_received_pieces(
    client: HttpClient, server: RawServer, raw: bytes, is_reset: bool
) -> None:
    answer = await answered(client, server, raw[:-1], raw[-1:])
    visit = server.visits[0]
    visit.reset() if is_reset else visit.end()
    await asyncio.sleep(0.01)  # both are there before anything is read
    assert (await answer.next()).startswith(b"hell")
    for _ in range(2):
        with pytest.raises(BrokenOff):
            await answer.next()
    answer.release()


async def test_release_does_not_end_active_reader(client: HttpClient, server: RawServer) -> None:
    answer = await answered(client, server, TO_THE_END)
    assert await answer.next() == b"hello"
    reading = asyncio.create_task(answer.next())
    await asyncio.sleep(0)
    answer.release()
    with pytest.raises(BrokenOff):
        await reading


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"x: a\rset-cookie: b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        OK + b"content-encoding: br\r\n\r\n",
        OK + b"x: " + b"y" * HEADER_MAX_BYTES,
        OK + b"x: y\r\n" * (HEADERS_MAX + 1) + b"\r\n",
        BY_CHUNKS + b"garbage\r\n",
    ],
)
async def test_non_http_answer_raises_and_closes_connection(
    client: HttpClient, server: RawServer, raw: bytes
) -> None:
    with pytest.raises(BrokenOff):
        await answered(client, server, raw)
    await server.visits[0].ended()


@pytest.mark.parametrize("is_waiting", [False, True])
async def test_invalid_chunk_raises_immediately(
    client: HttpClient, server: RawServer, is_waiting: bool
) -> None:
    answer = await answered(client, server, BY_CHUNKS)
    if is_waiting:
        assert await answer.next() == b"hello"
        reading = asyncio.create_task(answer.next())
        await asyncio.sleep(0)
    await server.visits[0].say(b"garbage\r\n")
    await server.visits[0].ended()
    if not is_waiting:
        assert await answer.next() == b"hello"
        reading = asyncio.create_task(answer.next())
    with pytest.raises(BrokenOff):
        await reading
    answer.release()


# --- compressed without being requested ----- -------------------------------------------------


def _packed_head(encoding: bytes, body: bytes) -> bytes:
    return OK + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (encoding, len(body))


@pytest.mark.parametrize(
    ("encoding", "pack"), [(b"GZip", gzip.compress), (b"deflate", zlib.compress)]
)
async def test_compressed_body_is_decompressed(
    client: HttpClient, server: RawServer, encoding: bytes, pack: Callable[[bytes], bytes]
) -> None:
    for plain in (b"hello", b"", b"x" * 300_001, bytes(range(256)) * 600):
        body = pack(plain)
        pieces = [_packed_head(encoding, body), body[:3], body[3:11], body[11:]]
        assert await read(await answered(client, server, *pieces)) == plain
    assert len(server.visits) == 1
    assert b"\r\naccept-encoding: identity\r\n" in server.visits[0].requests[0]


async def test_decompressed_pieces_are_bounded(client: HttpClient, server: RawServer) -> None:
    body = gzip.compress(b"0" * 20_000_000)
    answer = await answered(client, server, _packed_head(b"gzip", body), body)
    size = largest = 0
    while piece := await answer.next():
        size, largest = size + len(piece), max(largest, len(piece))
    answer.release()
    assert size == 20_000_000
    assert largest <= READ_BUFFER_BYTES * 4


async def test_broken_compression_breaks_off(client: HttpClient, server: RawServer) -> None:
    for body in (b"garbage", gzip.compress(b"a")[:-4] + b"\xff\0\0\0"):
        answer = await answered(client, server, _packed_head(b"gzip", body), body)
        with pytest.raises(BrokenOff):
            await read(answer)


async def test_cancellation_during_endless_interim_answers_closes_connection(
    client: HttpClient, server: RawServer
) -> None:
    sending = asyncio.create_task(send(client, server))
    visit = await server.asked()
    for _ in range(100):
        await visit.say(b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n" * 100)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await visit.ended()


# --- back-pressure ----------------------------------------------------------------------------


async def _pushed(server: RawServer, sent: list[int]) -> None:
    piece = b"x" * 65536
    writer = server.visits[0].writer
    for _ in range(LARGE_BYTES // len(piece)):
        writer.write(piece)
        await writer.drain()
        sent.append(len(piece))


async def _until_still(progress: list[int]) -> None:
    seen = -1
    while seen != len(progress):
        seen = len(progress)
        await asyncio.sleep(0.1)


async def test_slow_reader_applies_backpressure(client: HttpClient, server: RawServer) -> None:
    for _ in range(2):  # and the connection is as good as before
        sent: list[int] = []
        head = OK + b"content-length: %d\r\n\r\n" % LARGE_BYTES
        answer = await answered(client, server, head)
        pushing = asyncio.create_task(_pushed(server, sent))
        await _until_still(sent)
        assert sum(sent) < LARGE_BYTES / 2
        assert len(await answer.next()) <= READ_BUFFER_BYTES * 6
        await _until_still(sent)
        assert not pushing.done()
        assert len(await read(answer)) > LARGE_BYTES / 2
        await pushing
    assert len(server.visits) == 1
