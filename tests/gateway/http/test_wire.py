"""How the wire reads a vendor's answer: whole, in any pieces, cut short, or not HTTP at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.providers import connection
from gateway.providers.connection import BrokenOff
from gateway.providers.wire import Wire
from tests.gateway.http.raw_server import RawServer, answered, ask, raw_server, read

OK = b"HTTP/1.1 200 OK\r\n"
BY_LENGTH = OK + b"X-Id: 7\r\nContent-Length: 5\r\n\r\nhello"
BY_CHUNKS = (
    OK + b"X-Id: 7\r\nTransfer-Encoding: chunked \r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
)
WITH_TRAILER = BY_CHUNKS.removesuffix(b"\r\n") + b"Retry-After: 3\r\n\r\n"
TO_THE_END = OK + b"X-Id: 7\r\n\r\nhello"
ANSWERS = {
    "by length": BY_LENGTH,
    "by chunks": BY_CHUNKS,
    "with a trailer": WITH_TRAILER,
    "to the end": TO_THE_END,
    "after interim ones": b"HTTP/1.1 100 Continue\r\nX-Id: 6\r\n\r\nHTTP/1.1 103 Early\r\n\r\n"
    + BY_LENGTH,
    "with bare line feeds": BY_LENGTH.replace(b"\r\n", b"\n"),
}
every_answer = pytest.mark.parametrize("raw", ANSWERS.values(), ids=ANSWERS)


async def _is_hello(wire: Wire, server: RawServer, pieces: Sequence[bytes]) -> None:
    ends = OK + b"X-Id: 7\r\n\r\n" in b"".join(pieces)
    answer = await answered(wire, server, *pieces, ends=ends)
    names = {"content-length", "transfer-encoding", "x-id"}
    assert (answer.status, answer.headers["x-id"]) == (200, "7")
    assert set(answer.headers) <= names
    assert await read(answer) == b"hello"
    assert {name.decode() for name, _ in answer.raw_headers} <= names


@every_answer
async def test_an_answer_is_read_to_its_end(server: RawServer, wire: Wire, raw: bytes) -> None:
    await _is_hello(wire, server, [raw])


@every_answer
async def test_an_answer_is_the_same_byte_by_byte(
    server: RawServer, wire: Wire, raw: bytes
) -> None:
    await _is_hello(wire, server, [bytes([byte]) for byte in raw])


@every_answer
async def test_an_answer_is_the_same_wherever_it_is_split(
    server: RawServer, wire: Wire, raw: bytes
) -> None:
    for at in range(1, len(raw)):
        await _is_hello(wire, server, [raw[:at], raw[at:]])


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.sets(st.integers(min_value=1, max_value=400), max_size=12),
)
@settings(max_examples=50, deadline=None)
def test_any_chunks_in_any_pieces_are_the_joined_body(chunks: list[bytes], cuts: set[int]) -> None:
    packed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    raw = OK + b"Transfer-Encoding: chunked\r\n\r\n" + packed
    places = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    pieces = [raw[start:stop] for start, stop in pairwise(places)]

    async def body() -> bytes:
        async with raw_server() as server:
            wire = Wire()
            try:
                return await read(await answered(wire, server, *pieces))
            finally:
                await wire.aclose()

    assert asyncio.run(body()) == b"".join(chunks)


async def test_a_piece_is_given_as_soon_as_it_came(server: RawServer, wire: Wire) -> None:
    answer = await answered(wire, server, OK + b"content-length: 4\r\n\r\n")
    for piece in (b"ab", b"cd"):
        await server.visits[0].say(piece)
        assert await answer.next() == piece
    assert await answer.next() == b""
    assert await answer.next() == b""  # also when it is asked again
    answer.release()
    with pytest.raises(BrokenOff, match="released"):
        await answer.next()


async def test_header_names_are_lower_case_and_the_first_of_repeated_ones_counts(
    server: RawServer, wire: Wire
) -> None:
    head = b"X-Twice: one\r\nx-twice: two\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"
    answer = await answered(wire, server, OK + head + b"X-No:\r\ncontent-length: 0\r\n\r\n")
    assert answer.headers["x-twice"] == "one"
    assert answer.headers["x-no"] == ""
    assert answer.content_type == "text/event-stream"
    assert answer.raw_headers[:2] == [(b"x-twice", b"one"), (b"x-twice", b"two")]
    assert await read(answer) == b""


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_is_over_with_its_head(
    server: RawServer, wire: Wire, status: int
) -> None:
    for _ in range(2):
        answer = await answered(wire, server, b"HTTP/1.1 %d -\r\nx-id: 7\r\n\r\n" % status)
        assert (answer.status, await read(answer)) == (status, b"")
    assert len(server.visits) == 1


@pytest.mark.parametrize("is_reset", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize(
    "raw",
    [
        BY_LENGTH[:-1],
        BY_CHUNKS.removesuffix(b"0\r\n\r\n"),
        BY_CHUNKS[:-1],
        OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
    ],
    ids=["length", "last chunk", "last byte", "unknown framing"],
)
async def test_an_answer_cut_short_is_broken_off_after_what_came(
    server: RawServer, wire: Wire, raw: bytes, is_reset: bool
) -> None:
    answer = await answered(wire, server, raw)
    visit = server.visits[0]
    visit.reset() if is_reset else visit.end()
    await asyncio.sleep(0.01)  # both are there before anything is read
    assert (await answer.next()).startswith(b"hell")
    for _ in range(2):
        with pytest.raises(BrokenOff):
            await answer.next()
    answer.release()


async def test_a_reset_is_not_the_end_of_an_answer_that_ends_with_the_connection(
    server: RawServer, wire: Wire
) -> None:
    answer = await answered(wire, server, TO_THE_END)
    server.visits[0].reset()
    with pytest.raises(BrokenOff):
        await read(answer)


async def test_releasing_an_answer_is_not_its_end_for_one_who_still_reads(
    server: RawServer, wire: Wire
) -> None:
    answer = await answered(wire, server, TO_THE_END)
    assert await answer.next() == b"hello"
    reading = asyncio.create_task(answer.next())
    await asyncio.sleep(0)
    answer.release()
    with pytest.raises(BrokenOff):
        await reading


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        BY_LENGTH[:4],
        BY_LENGTH[:30],
        SWITCHED + b"\r\n" + BY_LENGTH,
        SWITCHED + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ],
    ids=["nothing", "half a line", "half a head", "101", "101 to another protocol"],
)
async def test_a_connection_that_ends_before_the_head_did_is_broken_off(
    server: RawServer, wire: Wire, raw: bytes
) -> None:
    with pytest.raises(BrokenOff):
        await answered(wire, server, raw, ends=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"x: a\rset-cookie: b\r\n\r\n",
        SWITCHED + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_broken_off_and_the_connection_ended(
    server: RawServer, wire: Wire, raw: bytes
) -> None:
    with pytest.raises(BrokenOff, match="not HTTP"):
        await answered(wire, server, raw)
    await server.visits[0].ended()


async def test_chunks_that_turn_to_garbage_are_broken_off_after_what_came(
    server: RawServer, wire: Wire
) -> None:
    answer = await answered(wire, server, BY_CHUNKS.partition(b"0\r\n")[0] + b"garbage")
    assert await answer.next() == b"hello"
    with pytest.raises(BrokenOff, match="not HTTP"):
        await answer.next()
    await server.visits[0].ended()


@pytest.mark.parametrize("line", [b"x: y\r\n", b"x"], ids=["lines", "one line"])
async def test_a_head_without_end_is_broken_off(server: RawServer, wire: Wire, line: bytes) -> None:
    asking = asyncio.create_task(ask(wire, server))
    visit = await server.asked()
    await visit.say(OK, b"x: " + line * (2 * connection.HEAD_MAX_BYTES // len(line)))
    with pytest.raises(BrokenOff, match="too large"):
        await asking
    await visit.ended()


async def test_interim_answers_without_end_are_broken_off(server: RawServer, wire: Wire) -> None:
    asking = asyncio.create_task(ask(wire, server))
    interim = b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n"
    await (await server.asked()).say(interim * (2 * connection.HEAD_MAX_BYTES // len(interim)))
    with pytest.raises(BrokenOff, match="too large"):
        await asking
