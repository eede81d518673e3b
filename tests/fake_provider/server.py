"""The fake provider's web application: four vendors, one control, and every kind of trouble."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import web

from tests.fake_provider.behaviour import VENDORS, Answer, Asked, Behaviour, answer_to
from tests.fake_provider.formats import FORMATS
from tests.fake_provider.records import Call, Records, as_json

BODY_MAX_BYTES: Final = 64 * 1024 * 1024
RECORDS: Final = web.AppKey("records", Records)
_CREDENTIALS: Final = ("authorization", "x-api-key", "x-goog-api-key")
# Closing a socket that lingers for no time sends a reset instead of an end.
_RESET: Final = struct.pack("ii", 1, 0)


def make_app(records: Records) -> web.Application:
    """Return the application; `records` takes what it sees and says how it answers."""
    app = web.Application(client_max_size=BODY_MAX_BYTES)
    app[RECORDS] = records
    app.add_routes(
        [
            web.post("/_control", _control),
            web.get("/_calls", _calls),
            web.get("/{vendor}/{version:v1|v1beta}/models", _models),
            web.post("/{vendor:openai|mistral}/v1/chat/completions", _chat),
            web.post("/{vendor:anthropic}/v1/messages", _chat),
            web.post("/{vendor:google}/v1beta/models/{method:[^/]+}", _chat),
        ]
    )
    return app


async def _control(request: web.Request) -> web.Response:
    """Take `{"reset": true}` and `{"answers": [{behaviour}, ...]}`."""
    records = request.app[RECORDS]
    orders = await request.json()
    if orders.get("reset"):
        records.reset()
    try:
        behaviours = [Behaviour.from_json(values) for values in orders.get("answers", [])]
    except (TypeError, ValueError) as exc:
        return web.json_response({"error": str(exc)}, status=400)
    for behaviour in behaviours:
        records.queue(behaviour)
    return web.json_response({"queued": len(behaviours)})


async def _calls(request: web.Request) -> web.Response:
    return web.json_response(as_json(request.app[RECORDS].calls))


async def _models(request: web.Request) -> web.StreamResponse:
    vendor = request.match_info["vendor"]
    if vendor not in VENDORS:
        return web.Response(status=404)
    call = _recorded(request, body=None)
    behaviour = request.app[RECORDS].take(vendor)
    return await _watched(call, _answer_models(request, call, behaviour))


async def _answer_models(
    request: web.Request, call: Call, behaviour: Behaviour
) -> web.StreamResponse:
    if await _trouble(request, behaviour):
        return web.Response()
    if behaviour.status != 200 or behaviour.body is not None:
        return _other_answer(call.vendor, behaviour)
    return web.json_response(FORMATS[call.vendor].models())


async def _chat(request: web.Request) -> web.StreamResponse:
    records = request.app[RECORDS]
    vendor = request.match_info["vendor"]
    behaviour = records.take(vendor)
    if behaviour.reset == "before":
        _recorded(request, body=None)
        _reset(request)
        return web.Response()
    call = _recorded(request, body=await request.json())
    return await _watched(call, _answer_chat(request, call, behaviour))


async def _answer_chat(
    request: web.Request, call: Call, behaviour: Behaviour
) -> web.StreamResponse:
    format_ = FORMATS[call.vendor]
    if not any(call.headers.get(name) for name in _CREDENTIALS):
        return web.json_response(format_.error(401, "No API key"), status=401)
    try:
        asked = format_.asked(call.body, request.path)
    except (KeyError, TypeError) as exc:
        return web.json_response(format_.error(400, f"Bad field: {exc}"), status=400)
    answer = answer_to(asked, behaviour)
    if behaviour.status < 400:
        call.billed = answer.billed
    await asyncio.to_thread(request.app[RECORDS].write, call)
    if await _trouble(request, behaviour):
        return web.Response()
    if behaviour.status != 200 or behaviour.body is not None:
        return _other_answer(call.vendor, behaviour)
    if asked.stream:
        return await _streamed(request, answer, asked)
    return await _whole(request, answer)


async def _trouble(request: web.Request, behaviour: Behaviour) -> bool:
    """Do what happens before an answer; True when there is none."""
    await asyncio.sleep(behaviour.pause_s)
    if behaviour.stall == "headers":
        await asyncio.Event().wait()
    if behaviour.reset == "after":
        _reset(request)
        return True
    return False


def _other_answer(vendor: str, behaviour: Behaviour) -> web.Response:
    body = behaviour.body
    if body is None and behaviour.status >= 400:
        message = f"The fake provider answers {behaviour.status}"
        body = FORMATS[vendor].error(behaviour.status, message)
    text = body if isinstance(body, str) else json.dumps(body)
    return web.Response(
        status=behaviour.status,
        text=text,
        headers=behaviour.headers,
        content_type=None if "content-type" in behaviour.headers else "application/json",
    )


async def _whole(request: web.Request, answer: Answer) -> web.StreamResponse:
    body = json.dumps(FORMATS[request.match_info["vendor"]].plain(answer)).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-request-id": "req_fake",
    }
    size = max(len(body) // 8, 1) if answer.behaviour.drip_s else len(body)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return await _sent(request, answer.behaviour, headers, _each(pieces))


async def _streamed(request: web.Request, answer: Answer, asked: Asked) -> web.StreamResponse:
    vendor = request.match_info["vendor"]
    events = [event.encode() for event in FORMATS[vendor].events(answer, asked)]
    if vendor == "google" and request.query.get("alt") != "sse":
        return web.json_response(FORMATS[vendor].error(400, "only alt=sse"), status=400)
    headers = {"content-type": "text/event-stream", "x-request-id": "req_fake"}
    source = _endless(events, answer) if answer.behaviour.endless else _each(events)
    return await _sent(request, answer.behaviour, headers, source)


async def _each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _endless(events: list[bytes], answer: Answer) -> AsyncIterator[bytes]:
    """Begin as ever and then repeat the event with the first piece of the text."""
    piece = json.dumps(answer.pieces[0]).encode()
    text = next(event for event in events if piece in event)
    yield events[0]
    while True:
        yield text
        await asyncio.sleep(0.001)


async def _sent(
    request: web.Request,
    behaviour: Behaviour,
    headers: dict[str, str],
    pieces: AsyncIterator[bytes],
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers | dict(behaviour.headers))
    await response.prepare(request)
    left = behaviour.cut_after_bytes
    sent = 0
    async for piece in pieces:
        if behaviour.stall == "body" and sent == behaviour.stall_after_events:
            await asyncio.Event().wait()
        if left is not None and len(piece) >= left:
            await response.write(piece[:left])
            await asyncio.sleep(0.02)  # so that what was written arrives before the reset
            _reset(request)
            return response
        await response.write(piece)
        sent += 1
        left = None if left is None else left - len(piece)
        await asyncio.sleep(behaviour.drip_s)
    await response.write_eof()
    return response


def _recorded(request: web.Request, *, body: Any) -> Call:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    call = Call(
        vendor=request.match_info["vendor"],
        method=request.method,
        path=request.path_qs,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        client_port=peer[1] if peer else 0,
    )
    request.app[RECORDS].add(call)
    return call


async def _watched(call: Call, answering: Any) -> web.StreamResponse:
    """Answer, and note when the client went away meanwhile: aiohttp then cancels the handler."""
    try:
        response: web.StreamResponse = await answering
    except (asyncio.CancelledError, ConnectionError):
        call.disconnected_at = time.time()
        raise
    call.answered_at = time.time()
    return response


def _reset(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
