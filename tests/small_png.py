"""Pictures of pages as PNG with a palette: flat colours and letters need no more than 256."""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from typing import Final

from playwright.async_api import Page

COLOURS_MAX: Final = 256
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_READ_PIXELS: Final = """async (png) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  const drawing = canvas.getContext("2d");
  drawing.drawImage(image, 0, 0);
  const bytes = drawing.getImageData(0, 0, image.width, image.height).data;
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  return [image.width, image.height, btoa(text)];
}"""


async def small_png(blank: Page, png: bytes) -> bytes:
    """Return the picture with at most COLOURS_MAX colours; `blank` is a page that decodes it."""
    width, height, text = await blank.evaluate(_READ_PIXELS, base64.b64encode(png).decode())
    rgba = base64.b64decode(text)
    pixels = [rgba[at : at + 3] for at in range(0, len(rgba), 4)]
    palette = [colour for colour, _ in Counter(pixels).most_common(COLOURS_MAX)]
    index = {colour: n for n, colour in enumerate(palette)}
    for colour in set(pixels) - index.keys():
        index[colour] = min(range(len(palette)), key=lambda n: _distance(palette[n], colour))
    shown = bytes(index[colour] for colour in pixels)
    lines = b"".join(b"\0" + shown[at : at + width] for at in range(0, width * height, width))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", b"".join(palette)),
            _chunk(b"IDAT", zlib.compress(lines, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
