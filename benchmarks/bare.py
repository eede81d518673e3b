"""A bare relay: the cost of Uvicorn and aiohttp for passing a request on, without a gateway.

A machine's speed drifts, and its neighbours come and go; how many times as much the gateway takes
in the same run does not.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp

UPSTREAM: Final = os.environ.get("BARE_UPSTREAM", "")
HEADERS: Final = {"content-type": "application/json", "authorization": "Bearer sk-benchmark"}

_sessions: list[aiohttp.ClientSession] = []


async def application(
    scope: Mapping[str, Any],
    receive: Callable[[], Awaitable[Mapping[str, Any]]],
    send: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None:
    """Relay one request to the provider, and stream its answer back."""
    if scope["method"] == "GET":
        await _start(send, 200, "text/plain")
        await send({"type": "http.response.body", "body": b""})
        return
    body = (await receive())["body"]
    async with _session().post(UPSTREAM, data=body, headers=HEADERS) as answer:
        await _start(send, answer.status, answer.headers["content-type"])
        if "event-stream" in answer.content_type:
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.body", "body": await answer.read()})


def _session() -> aiohttp.ClientSession:
    if not _sessions:
        _sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=10_000)))
    return _sessions[0]


async def _start(
    send: Callable[[Mapping[str, Any]], Awaitable[None]], status: int, content_type: str
) -> None:
    headers = [(b"content-type", content_type.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
