"""Which connections the wire keeps, which it ends, and what they may not carry over."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from gateway.providers import wire as wire_module
from gateway.providers.connection import UNREAD_MAX_BYTES, BrokenOff
from gateway.providers.wire import Answer, Wire
from tests.gateway.http.raw_server import RawServer, answered, ask, raw_server, read

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
FORGED = OK + b"content-length: 6\r\n\r\nforged"
LARGE_BYTES = 32 * 1024 * 1024


async def _says_hello(wire: Wire, server: RawServer) -> None:
    answer = await answered(wire, server, HELLO)
    assert "x-late" not in answer.headers
    assert await read(answer) == b"hello"


async def test_the_next_request_goes_over_the_kept_connection(
    server: RawServer, wire: Wire
) -> None:
    for _ in range(3):
        await _says_hello(wire, server)
    (visit,) = server.visits
    request = (
        f"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n"
        "accept-encoding: identity\r\nx-key: k\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert visit.requests == [request.encode()] * 3


async def test_two_requests_at_once_use_two_connections_and_both_are_kept(
    server: RawServer, wire: Wire
) -> None:
    for _ in range(2):
        asking = [asyncio.create_task(ask(wire, server)) for _ in range(2)]
        visits = [await server.asked() for _ in range(2)]
        assert visits[0] is not visits[1]
        for visit in visits:
            await visit.say(HELLO)
        for task in asking:
            assert await read(await task) == b"hello"
    assert len(server.visits) == 2


async def test_nothing_of_a_trailer_or_an_interim_answer_is_left_for_the_next_one(
    server: RawServer, wire: Wire
) -> None:
    trailing = CHUNKED + b"x-late: 1\r\nx-later: 2\r\n\r\n"
    for raw in (trailing, b"HTTP/1.1 103 Early\r\nx-late: 1\r\n\r\n" + HELLO):
        assert await read(await answered(wire, server, raw)) == b"hello"
        await _says_hello(wire, server)
    assert len(server.visits) == 1


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        HELLO + b"x",
        HELLO + FORGED,
        HELLO + FORGED[:20],
        HELLO + b"HTTP/1.1 100 Continue\r\n\r\n",
        CHUNKED + b"\r\n" + FORGED,
    ],
    ids=["close", "HTTP/1.0", "a byte", "an answer", "half of one", "an interim one", "chunked"],
)
async def test_a_connection_is_ended_after(server: RawServer, wire: Wire, raw: bytes) -> None:
    assert await read(await answered(wire, server, raw)) == b"hello"
    await server.visits[0].ended()
    await _says_hello(wire, server)
    assert len(server.visits) == 2


async def test_a_connection_whose_answer_was_not_read_to_its_end_is_ended(
    server: RawServer, wire: Wire
) -> None:
    (await answered(wire, server, HELLO)).release()  # it is there, and nobody read it
    await server.visits[0].ended()
    answer = await answered(wire, server, HELLO[:-1])
    assert await answer.next() == b"hell"
    answer.release()
    answer.release()
    await server.visits[1].ended()
    await _says_hello(wire, server)
    assert len(server.visits) == 3


@pytest.mark.parametrize("raw", [FORGED, FORGED[:1], b"\r\n"], ids=["answer", "byte", "line"])
async def test_bytes_that_come_while_nothing_is_asked_are_never_an_answer(
    server: RawServer, wire: Wire, raw: bytes
) -> None:
    await _says_hello(wire, server)
    await server.visits[0].say(raw)
    await server.visits[0].ended()
    await _says_hello(wire, server)
    assert len(server.visits) == 2


@pytest.mark.parametrize("is_reset", [False, True], ids=["ended", "reset"])
async def test_a_connection_that_the_server_ended_while_idle_is_not_used(
    server: RawServer, wire: Wire, is_reset: bool
) -> None:
    await _says_hello(wire, server)
    visit = server.visits[0]
    visit.reset() if is_reset else visit.end()
    await visit.say(b"")
    await _says_hello(wire, server)
    assert len(server.visits) == 2


async def test_idle_connections_are_ended_after_a_while(
    server: RawServer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_module, "KEEPALIVE_S", 0.05)
    for number in range(2):
        await _says_hello(wire, server)
        await server.visits[number].ended()


async def test_a_connection_that_was_idle_for_too_long_is_not_used_before_it_is_ended(
    server: RawServer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _says_hello(wire, server)  # whose end is due in half a minute
    await asyncio.sleep(0.02)
    monkeypatch.setattr(wire_module, "KEEPALIVE_S", 0.01)
    await _says_hello(wire, server)
    assert len(server.visits) == 2
    await server.visits[0].ended()


async def test_closing_the_wire_ends_what_it_kept(server: RawServer) -> None:
    wire = Wire()
    await _says_hello(wire, server)
    await wire.aclose()
    await server.visits[0].ended()
    await wire.aclose()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_wire_whose_loop_has_closed_can_be_closed_all_the_same() -> None:
    wire = Wire()

    async def use() -> None:
        async with raw_server() as server:
            await _says_hello(wire, server)
            for kept in wire._idle.values():
                kept[0]._pause(is_paused=True)  # it does not see the server leave

    asyncio.run(use())
    asyncio.run(wire.aclose())
    gc.collect()


@pytest.mark.parametrize("came", [b"", HELLO[:20]], ids=["nothing", "half a head"])
async def test_cancelling_a_request_that_waits_for_its_answer_ends_the_connection(
    server: RawServer, wire: Wire, came: bytes
) -> None:
    asking = asyncio.create_task(ask(wire, server))
    visit = await server.asked()
    await visit.say(came)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await visit.ended()


async def test_cancelling_a_request_that_is_read_ends_the_connection(
    server: RawServer, wire: Wire
) -> None:
    answer = await answered(wire, server, HELLO[:-1])
    reading = asyncio.create_task(read(answer))
    await server.visits[0].say(b"")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await server.visits[0].ended()


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


async def test_a_reader_that_does_not_read_holds_the_vendor_back(
    server: RawServer, wire: Wire
) -> None:
    for _ in range(2):  # and the connection is as good as before
        sent: list[int] = []
        head = OK + b"content-length: %d\r\n\r\n" % LARGE_BYTES
        answer = await answered(wire, server, head)
        pushing = asyncio.create_task(_pushed(server, sent))
        await _until_still(sent)
        assert sum(sent) < LARGE_BYTES / 2
        assert len(await answer.next()) < UNREAD_MAX_BYTES * 4
        await _until_still(sent)
        assert not pushing.done()
        assert len(await read(answer)) > LARGE_BYTES / 2
        await pushing
    assert len(server.visits) == 1


@pytest.mark.parametrize("head", [b"content-length: 5\r\n\r\n", b"\r\n"], ids=["length", "end"])
async def test_an_answer_that_came_before_the_request_was_out_is_read_and_nothing_is_kept(
    wire: Wire, head: bytes
) -> None:
    async with raw_server(bodies=False) as server:
        body = b"x" * LARGE_BYTES
        asking = asyncio.create_task(wire.ask(server.target, headers={}, body=body))
        visit = await server.asked()
        await visit.say(OK + head + b"hello")
        if head == b"\r\n":
            visit.writer.write_eof()  # it does not read on, and does not go away
        assert await read(await asking) == b"hello"
        await _says_hello(wire, server)
        assert len(server.visits) == 2


async def test_an_end_before_the_request_was_out_is_broken_off(wire: Wire) -> None:
    async with raw_server(bodies=False) as server:
        body = b"x" * LARGE_BYTES
        asking = asyncio.create_task(wire.ask(server.target, headers={}, body=body))
        (await server.asked()).writer.write_eof()
        with pytest.raises(BrokenOff):
            await asking


async def _collected() -> None:
    """Collect what other tests left; a vendor's client closes itself in a task of this loop."""
    gc.collect()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


async def test_failed_and_cancelled_requests_leave_nothing_behind(
    server: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    await _collected()
    caplog.clear()
    wire, complaints = Wire(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
    before = asyncio.all_tasks()
    for raw in (
        HELLO,
        HELLO[:-1],
        FORGED + FORGED,
        b"garbage",
        OK + b"content-encoding: br\r\n\r\n",
    ):
        try:
            answer: Answer | None = await answered(wire, server, raw, ends=True)
        except BrokenOff:
            continue
        assert answer is not None
        answer.release()
    await wire.aclose()
    for visit in server.visits:
        await visit.ended()
    await asyncio.sleep(0)
    del answer
    gc.collect()
    assert asyncio.all_tasks() == before
    assert complaints == []
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []
