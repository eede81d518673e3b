"""Count the pages of a PDF, which decide how many tokens it has: each is read as text and image.

https://platform.claude.com/docs/en/build-with-claude/pdf-support,
https://developers.openai.com/api/docs/guides/pdf-files,
https://ai.google.dev/gemini-api/docs/document-processing
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import Final

# The most pages of a request, also of several documents together: Anthropic takes 600, or 100 for
# models with a context of 200,000 tokens, Google 1,000.
PAGES_MAX: Final = 1000
PDF: Final = "application/pdf"
_DATA_URL: Final = f"data:{PDF};base64,"
_HEAD: Final = b"%PDF-"
_HEAD_WITHIN: Final = 1024
_PAGE: Final = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_COUNT: Final = re.compile(rb"/Count\s+(\d{1,9})")
_COMMENT: Final = re.compile(rb"/(?:Type|Count)\s*%")
# `/P#61ge` is `/Page`, but no program writes a letter so.
_NAMES: Final = (b"Type", b"Page", b"Pages", b"Count", b"ObjStm", b"Encrypt")
_ESCAPED: Final = re.compile(
    rb"/(?=\w{0,7}#)(?:%b)(?![\w#])"
    % b"|".join(b"".join(b"(?:%c|#%02x)" % (each, each) for each in name) for name in _NAMES),
    re.IGNORECASE,
)
_STREAM: Final = re.compile(rb"(?<!end)stream\r?\n")
_END: Final = b"endstream"
# Objects in a stream: its dictionary is before it, and ends the object's head.
_DICTIONARY_MAX: Final = 1024
_OBJECTS: Final = b"/ObjStm"
_DEFLATED: Final = b"/FlateDecode"
_UNPACKED_MAX: Final = 32 * 1024 * 1024


def pages_of_url(url: object) -> int | None:
    """Return the pages of a PDF in a data URL, None if they cannot be counted."""
    if not isinstance(url, str) or url[: len(_DATA_URL)].lower() != _DATA_URL:
        return None
    return pages_of(url[len(_DATA_URL) :])


def pages_of(data: object) -> int | None:
    """Return the pages of a PDF in base64, None if they cannot be counted.

    Its page objects and the counts of its page tree are looked for, also in compressed objects: the
    higher number is returned. A request with more pages than the vendor takes is rejected there.
    """
    if not isinstance(data, str):
        return None
    try:
        pdf = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    if _HEAD not in pdf[:_HEAD_WITHIN] or b"/Encrypt" in pdf:
        return None
    try:
        texts = (pdf, *_unpacked(pdf))
    except (zlib.error, ValueError):
        return None
    if any(map(_hides_name, texts)):
        return None
    objects = sum(1 for text in texts for _ in _PAGE.finditer(text))
    counted = max((int(found[1]) for text in texts for found in _COUNT.finditer(text)), default=0)
    return min(max(objects, counted), PAGES_MAX) or None


def _hides_name(text: bytes) -> bool:
    """Whether a name that pages are counted by has escapes, or a comment behind it."""
    return _ESCAPED.search(text) is not None or _COMMENT.search(text) is not None


def _unpacked(pdf: bytes) -> list[bytes]:
    """Return the streams of objects. Raises ValueError or zlib.error if one cannot be read."""
    found, room = [], _UNPACKED_MAX
    for begin in _STREAM.finditer(pdf):
        head = pdf[max(0, begin.start() - _DICTIONARY_MAX) : begin.start()].rpartition(b"obj")[2]
        if _OBJECTS not in head:
            continue
        if _DEFLATED not in head:
            raise ValueError("objects are packed in another way")
        packed = pdf[begin.end() : pdf.find(_END, begin.end())]
        text = zlib.decompressobj().decompress(packed, room + 1)
        room -= len(text)
        if room < 0:
            raise ValueError("too many objects")
        found.append(text)
    return found
