"""Unpack compressed bodies, within the limits of those that are not.

https://www.rfc-editor.org/rfc/rfc9110#name-content-encoding
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Final, Protocol

import zstandard

from gateway.core.errors import Refused
from gateway.core.request_body import invalid

PIECE_BYTES: Final = 1024 * 1024
# What decoders must take and encoders should not exceed: https://www.rfc-editor.org/rfc/rfc9659
ZSTD_WINDOW_MAX_BYTES: Final = 8 * 1024 * 1024


class Reader(Protocol):
    """Unpacks piece by piece."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; empty at the end."""
        ...


def _gzip(packed: bytes) -> Reader:
    return gzip.GzipFile(fileobj=BytesIO(packed))


def _zstd(packed: bytes) -> Reader:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX_BYTES)
    return decompressor.stream_reader(packed, read_across_frames=True)


_READERS: Final[Mapping[str, Callable[[bytes], Reader]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "zstd": _zstd,
}
ENCODINGS: Final = ("gzip", "zstd", "identity")


def encoding_named(header: str | None) -> str | None:
    """Return the encoding of a body that is compressed, None otherwise. Raises Refused (415)."""
    encoding = (header or "").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in _READERS:
        sentence = f"Content-Encoding must be one of {', '.join(ENCODINGS)}"
        raise Refused("unsupported_media_type", sentence, status=415)
    return encoding


def unpacked(packed: bytes, encoding: str, *, receive: Callable[[int], None]) -> bytes:
    """Return the body; `receive` gets the size of each piece before the next is unpacked.

    Raises Refused (400) if it is not in its encoding, and what `receive` raises.
    """
    pieces: list[bytes] = []
    try:
        reader = _READERS[encoding](packed)
        while piece := reader.read(PIECE_BYTES):
            receive(len(piece))
            pieces.append(piece)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as exc:
        raise invalid(f"The body cannot be unpacked: it is not valid {encoding}") from exc
    return b"".join(pieces)
