"""A call's stream: pieces to the client, and disconnects."""

from __future__ import annotations

import asyncio

from gateway.call.call_stream import CallStream, Piece
from gateway.core.errors import ClientGone
from orgs.fields import new_id


async def test_pieces_arrive_in_order_for_slow_reader() -> None:
    stream, seen = CallStream(request_id=new_id()), list[Piece]()
    for number in range(3):
        await stream.put(b"%d" % number)

    async def sink(piece: Piece) -> None:
        seen.append(piece)
        await asyncio.sleep(0)

    async def call() -> None:
        for number in range(3, 6):
            await stream.put(b"%d" % number)
        stream.end(end)

    end = ClientGone("the end")
    pouring = asyncio.create_task(stream.pour(sink))
    await call()
    assert await pouring is end
    assert seen == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_send_error_counts_as_client_disconnect() -> None:
    stream, left = CallStream(request_id=new_id()), list[bool]()

    async def sink(_: Piece) -> None:
        raise BrokenPipeError

    pouring = asyncio.create_task(stream.pour(sink))
    await asyncio.sleep(0)
    stream.on_cut = lambda: left.append(True)
    await stream.put(b"a piece")
    assert stream.is_abandoned()
    assert left == [True]
    stream.end(ClientGone("the client left"))
    assert isinstance(await pouring, ClientGone)
