"""What becomes of a body that came compressed, though the wire never asks for that."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from gateway.providers.connection import BrokenOff
from gateway.providers.wire import UNPACKED_AT_ONCE_BYTES, Wire
from tests.gateway.http.raw_server import RawServer, answered, read

OK = b"HTTP/1.1 200 OK\r\n"


def _packed_head(encoding: bytes, body: bytes) -> bytes:
    return OK + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (encoding, len(body))


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [(b"gzip", gzip.compress), (b"X-Gzip", gzip.compress), (b"deflate", zlib.compress)],
)
async def test_a_body_that_came_packed_unasked_is_unpacked(
    server: RawServer, wire: Wire, encoding: bytes, pack: Callable[[bytes], bytes]
) -> None:
    for plain in (b"hello", b"", b"x" * 300_001, bytes(range(256)) * 600):
        body = pack(plain)
        pieces = [body[:3], body[3:11], body[11:]]
        assert (
            await read(await answered(wire, server, _packed_head(encoding, body), *pieces)) == plain
        )
    assert len(server.visits) == 1
    assert b"\r\naccept-encoding: identity\r\n" in server.visits[0].requests[0]


async def test_a_small_packed_body_does_not_become_a_large_piece(
    server: RawServer, wire: Wire
) -> None:
    body = gzip.compress(b"0" * 10_000_000)
    answer = await answered(wire, server, _packed_head(b"gzip", body) + body)
    sizes = [len(await answer.next()) for _ in range(3)]
    assert 0 < max(sizes) <= UNPACKED_AT_ONCE_BYTES
    assert sum(sizes) + len(await read(answer)) == 10_000_000


@pytest.mark.parametrize("cut", [1, 8, 9, 14])
async def test_a_packed_body_cut_short_is_broken_off(
    server: RawServer, wire: Wire, cut: int
) -> None:
    body = gzip.compress(b"hello" * 9)[:-cut]
    with pytest.raises(BrokenOff, match="ends before"):
        await read(await answered(wire, server, _packed_head(b"gzip", body) + body))


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        gzip.compress(b"a")[:-4] + b"\xff\0\0\0",
        gzip.compress(b"a") + gzip.compress(b"b"),
    ],
    ids=["garbage", "a wrong sum", "more after the end"],
)
async def test_a_packed_body_that_is_broken_is_broken_off(
    server: RawServer, wire: Wire, body: bytes, split: bool
) -> None:
    head = _packed_head(b"gzip", body)
    pieces = [head, *(bytes([byte]) for byte in body)] if split else [head + body]
    with pytest.raises(BrokenOff):
        await read(await answered(wire, server, *pieces))


async def test_an_encoding_that_nobody_knows_is_broken_off(server: RawServer, wire: Wire) -> None:
    with pytest.raises(BrokenOff, match="'br'"):
        await answered(wire, server, _packed_head(b"br", b"a") + b"a")
    await server.visits[0].ended()
