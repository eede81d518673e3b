"""OpenAI's own client of the gateway, without a socket."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx2
from openai import AsyncOpenAI, OpenAI

from tests.gateway.wire import HOST, send_to_api

BASE_URL: Final = f"http://{HOST}/v1"
# How the answer was packed is the socket's affair.
_OF_THE_CONNECTION: Final = frozenset({"host", "connection", "accept-encoding", "content-length"})


class InProcess(httpx2.BaseTransport):
    """Carries each request through the API handler."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request and wait for the whole answer."""
        return _answered(request, request.read())


class InProcessAsync(httpx2.AsyncBaseTransport):
    """The same for async clients."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request and wait for the whole answer."""
        return await asyncio.to_thread(_answered, request, await request.aread())


def _answered(request: httpx2.Request, body: bytes) -> httpx2.Response:
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in _OF_THE_CONNECTION
    }
    path = request.url.raw_path.decode()
    reply = send_to_api(request.method, path, body=body, headers=headers)
    return httpx2.Response(reply.status, headers=dict(reply.headers), content=reply.body)


def openai_client(key: str) -> OpenAI:
    """Return a client without retries."""
    http = httpx2.Client(transport=InProcess())
    return OpenAI(base_url=BASE_URL, api_key=key, http_client=http, max_retries=0)


def async_openai_client(key: str) -> AsyncOpenAI:
    """Return an async client without retries."""
    http = httpx2.AsyncClient(transport=InProcessAsync())
    return AsyncOpenAI(base_url=BASE_URL, api_key=key, http_client=http, max_retries=0)
