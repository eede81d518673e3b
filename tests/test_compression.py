"""Responses to browsers are compressed, whatever their kind."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import RequestFactory

from pulse.server.compression import CompressionMiddleware

PIECES = (b"a" * 9_000, b"b" * 9_000)


async def _pieces() -> AsyncIterator[bytes]:
    for piece in PIECES:
        yield piece


def packed(response: HttpResponseBase, *, accepts: str = "gzip") -> HttpResponseBase:
    """Return the response as it leaves for a client that accepts this."""
    request: HttpRequest = RequestFactory().get("/", headers={"accept-encoding": accepts})
    return CompressionMiddleware(lambda _request: response).process_response(request, response)


def received(response: HttpResponseBase) -> bytes:
    async def all_of_it() -> bytes:
        assert isinstance(response, StreamingHttpResponse)
        return b"".join([piece async for piece in response])

    return async_to_sync(all_of_it)()


def test_async_stream_is_compressed_as_one_body() -> None:
    stream = StreamingHttpResponse(_pieces())
    stream["ETag"] = '"x"'
    response = packed(stream)
    assert (response["Content-Encoding"], response["ETag"]) == ("gzip", 'W/"x"')
    assert response["Vary"] == "Accept-Encoding"
    body = received(response)
    assert gzip.decompress(body) == b"".join(PIECES)
    assert body.count(b"\x1f\x8b\x08") == 1  # a second beginning would end it for a browser


def test_client_without_gzip_gets_plain_body() -> None:
    response = packed(StreamingHttpResponse(_pieces()), accepts="br")
    assert not response.has_header("Content-Encoding")
    assert received(response) == b"".join(PIECES)


def test_compressed_or_partial_response_is_unchanged() -> None:
    ready = StreamingHttpResponse(_pieces())
    ready["Content-Encoding"] = "br"
    assert packed(ready)["Content-Encoding"] == "br"
    part = StreamingHttpResponse(_pieces(), status=206)
    assert not packed(part).has_header("Content-Encoding")


def test_page_is_compressed_by_django() -> None:
    page = packed(HttpResponse(b"x" * 1_000))
    assert isinstance(page, HttpResponse)
    assert gzip.decompress(page.content) == b"x" * 1_000
