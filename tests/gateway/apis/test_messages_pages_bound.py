"""messages: the pages of documents in a bound."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest

from tests.gateway.apis.measured_messages import measured, user_turn

_HEAD = b"%PDF-1.7\n"


def pdf_of(*objects: bytes) -> dict[str, Any]:
    data = base64.b64encode(_HEAD + b"\n".join(objects)).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    return user_turn({"type": "document", "source": source})


def stream_of(content: bytes, dictionary: bytes = b"/Type /ObjStm /Filter /FlateDecode") -> bytes:
    packed = zlib.compress(content)
    return b"1 0 obj\n<< %b >>\nstream\n%b\nendstream\nendobj" % (dictionary, packed)


PAGE = b"1 0 obj\n<< /Type /Page >>\nendobj"
PAGES = b"2 0 obj\n<< /Type /Pages /Count 7 >>\nendobj"


@pytest.mark.parametrize(
    ("objects", "pages"),
    [
        ([PAGE] * 3, 3),
        ([PAGE.replace(b"Type /", b"Type/")], 1),
        ([PAGE, b"<< /BaseFont /A#20Font /Paged#20 /P#61ged >>"], 1),
        ([PAGE, PAGES], 7),  # of which six are written in a way that is not understood
        ([stream_of(b"<< /Type /Page >> " * 4), PAGE], 5),
        ([stream_of(b"/Type /Pages /Count 12")], 12),
        ([stream_of(b"not objects", b"/Filter /FlateDecode"), PAGE], 1),
        ([PAGE.replace(b"/Page", b"/Page /Count 100000")], 1000),
    ],
)
def test_pages_of_pdf_are_counted(objects: list[bytes], pages: int) -> None:
    usage_bound = measured(**pdf_of(*objects))
    assert (usage_bound.pages, usage_bound.context_reads) == (pages, 0)
    assert "input_image" in usage_bound.buckets


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [b"trailer << /Encrypt 5 0 R >>", PAGE],
        [PAGE, PAGE.replace(b"/Page", b"/P#61ge")],
        [PAGE, PAGE.replace(b"Type /", b"Type % a comment\n/")],
        [PAGE, stream_of(b"/Type /Pages /#43#6funt 12")],
        [stream_of(b"x", b"/Type /ObjStm /Filter /LZWDecode"), PAGE],
        [stream_of(b"x").replace(b"stream\n", b"stream\nx", 1), PAGE],
        [stream_of(bytes(40 * 2**20)), PAGE],
    ],
)
def test_pdf_that_cannot_be_counted_fits_in_context(objects: list[bytes]) -> None:
    usage_bound = measured(**pdf_of(*objects))
    assert (usage_bound.pages, usage_bound.context_reads) == (0, 1)
