"""Compresses pages, downloads, and static files that have no compressed copy."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator
from http import HTTPStatus
from typing import Final

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware, re_accepts_gzip
from django.utils.cache import patch_vary_headers

GZIP: Final = 31  # zlib's name for gzip's header and its largest window


class CompressionMiddleware(GZipMiddleware):
    """Django's middleware, except for streams.

    ServeStatic compresses files only when they are collected, so `make run` would send them
    uncompressed; collected ones are already compressed and pass. Django compresses each chunk of
    an asynchronous stream by itself, and a browser reads no further than the first.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Compress the response if the client accepts gzip; partial content stays unchanged."""
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            return response
        if not isinstance(response, StreamingHttpResponse):
            return super().process_response(request, response)
        pieces = response.streaming_content
        if not isinstance(pieces, AsyncIterable):
            return super().process_response(request, response)
        if response.has_header("Content-Encoding"):
            return response
        patch_vary_headers(response, ("Accept-Encoding",))
        if re_accepts_gzip.search(request.headers.get("Accept-Encoding", "")):
            response.streaming_content = _packed(pieces)
            del response.headers["Content-Length"]
            response.headers["Content-Encoding"] = "gzip"
            if (etag := response.headers.get("ETag", "")).startswith('"'):
                response.headers["ETag"] = f"W/{etag}"
        return response


async def _packed(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(wbits=GZIP)
    async for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()
