"""The worst of someone with a key of another organization."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp

from tests.system.servers import HOST
from tests.worst.wire import Attack, Target, flood, send, side_by_side

MIB = 2**20
CHAT, NATIVE = "/v1/chat/completions", "/api/ai/request"
RESPONSES = "/v1/responses"
MODEL, STREAMED = "sandbox-small", "mistral-large-latest"  # the others' calls go to OpenAI
BYTES_PER_S = 7 * MIB


def _chat(text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"model": MODEL, "max_tokens": 16, "messages": [message], **more}


def _native(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": text, "maxTokens": 16, **more}


async def _paced(target: Target, *bodies: dict[str, Any]) -> None:
    """Send bodies in turn, so many that they come to BYTES_PER_S."""
    raw = [json.dumps(body, separators=(",", ":")).encode() for body in bodies]
    every_s = sum(map(len, raw)) / len(raw) / BYTES_PER_S
    headers = {"content-type": "application/json"}
    async with target.with_key() as session, asyncio.TaskGroup() as tasks:
        begun = time.monotonic()
        for n in range(10**9):
            await asyncio.sleep(begun + n * every_s - time.monotonic())
            posted = send(session, "POST", CHAT, data=raw[n % len(raw)], headers=headers)
            tasks.create_task(_ignoring(posted))


async def _ignoring(sending: Any) -> None:
    try:
        await sending
    except (aiohttp.ClientError, OSError):
        return


async def _flood_of(target: Target, path: str, count: int, body: Callable[[], Any]) -> None:
    async with target.with_key() as session:

        async def step() -> None:
            await send(session, "POST", path, json=body())

        await side_by_side(count, step)


async def small_values(target: Target) -> None:
    """Send 7 MiB/s of JSON of small values, in bodies below and above the limit of values."""
    await _paced(
        target,
        _chat("hi", metadata={"a": [1] * 190_000}),
        _chat("hi", metadata={"a": [[], {}, "", 0] * 45_000}),
        _chat("hi", metadata={"a": [1] * 3 * MIB}),
    )


async def long_strings(target: Target) -> None:
    """Send 7 MiB/s of JSON of long strings, of letters and of escapes."""
    await _paced(target, _chat("a" * 7 * MIB), _chat("\u00e9\u4e2d" * (MIB // 2)))


async def model_lists(target: Target) -> None:
    """Ask for the list of models from 16 connections."""
    async with target.with_key() as session:
        await flood(session, 16, "GET", "/v1/models")


async def calls(target: Target) -> None:
    """Send calls from 32 connections."""
    await _flood_of(target, NATIVE, 32, lambda: _native("hi"))


async def quotes(target: Target) -> None:
    """Ask for quotes from 16 connections."""
    await _flood_of(target, "/api/ai/quote", 16, lambda: _native("hi " * 5_000))


async def new_models(target: Target) -> None:
    """Name another model in each call."""
    await _flood_of(
        target, NATIVE, 32, lambda: _native("hi") | {"model": f"gpt-4o-{secrets.token_hex(60)}"}
    )


async def backtests(target: Target) -> None:
    """Replay 90 days under a policy, six at once."""
    query = "&".join(f"allow=*{n}*a*b*c*" for n in range(50))
    async with target.with_key() as session:
        await flood(session, 6, "GET", f"/api/ai/policies/backtest?days=90&{query}")


async def long_lists(target: Target) -> None:
    """Read long pages of requests from 8 connections."""
    async with target.with_key() as session:
        await flood(session, 8, "GET", "/api/ai/requests?limit=200")


async def idempotency(target: Target) -> None:
    """Send a new idempotency key with each call, and one that was used."""
    async with target.with_key() as session:

        async def step() -> None:
            for key in ("the same", secrets.token_hex(100)):
                headers = {"idempotency-key": key}
                await send(session, "POST", NATIVE, json=_native("hi"), headers=headers)

        await side_by_side(16, step)


async def slow_streams(target: Target) -> None:
    """Keep 500 streams of a provider that drips."""
    drips = {"times": 0, "vendor": "mistral", "drip_s": 0.5, "content": "word " * 60}
    async with aiohttp.ClientSession() as control:
        url = f"http://{HOST}:{target.provider_port}/_control"
        async with control.post(url, json={"answers": [drips]}) as answer:
            await answer.read()
    body = _chat("hi", stream=True) | {"model": STREAMED, "max_tokens": 2_000}
    await _flood_of(target, CHAT, 500, lambda: body)


async def token_counts(target: Target) -> None:
    """Have 500 KiB of text counted from 8 connections, where a policy limits tokens."""
    text = "".join(secrets.token_hex(8) for _ in range(32_000))
    await _flood_of(target, NATIVE, 8, lambda: _native(text))


async def websockets(target: Target) -> None:
    """Begin messages of 30 MiB on 100 WebSockets, and have 20 remember 7 MiB/s of conversations."""
    await asyncio.gather(
        side_by_side(100, partial(_begun_message, target)),
        side_by_side(20, partial(_remembered, target)),
    )


async def _begun_message(target: Target) -> None:
    """Open a WebSocket, and send all but the end of a message."""
    head = (
        f"GET {RESPONSES} HTTP/1.1",
        *(f"host: {HOST}", f"x-pulse-key: {target.key}", "upgrade: websocket"),
        *("connection: Upgrade", "sec-websocket-version: 13"),
        *("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "", ""),
    )
    reader, writer = await target.connect()
    try:
        writer.write("\r\n".join(head).encode())
        await reader.read(1)
        writer.write(b"\x81\xff" + (30 * MIB).to_bytes(8) + bytes(4))
        for _ in range(29):
            writer.write(bytes(MIB))
            await writer.drain()
        while await reader.read(4096):
            pass
    finally:
        writer.transport.abort()


async def _remembered(target: Target) -> None:
    """Continue a conversation without an answer, which becomes longer each time."""
    turn = {"type": "response.create", "model": MODEL, "generate": False, "store": False}
    async with target.with_key() as session, session.ws_connect(RESPONSES) as socket:
        previous: str | None = None
        while True:
            await socket.send_json(
                {**turn, "input": "word " * (MIB // 5), "previous_response_id": previous}
            )
            event = await _event(socket)
            while event["type"] not in ("response.completed", "error"):
                event = await _event(socket)
            previous = event["response"]["id"] if "response" in event else None
            await asyncio.sleep(20 * MIB / BYTES_PER_S)


async def _event(socket: aiohttp.ClientWebSocketResponse) -> Any:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise ConnectionError("the server has ended the connection")
    return message.json()


ATTACKS: tuple[Attack, ...] = (
    small_values,
    long_strings,
    model_lists,
    calls,
    quotes,
    new_models,
    backtests,
    long_lists,
    idempotency,
    slow_streams,
    token_counts,
    websockets,
)
