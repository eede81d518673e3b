"""The fake provider's web application: four vendors, a control endpoint, and all faults."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable
from typing import Any, Final

from aiohttp import web

from tests.fake_provider.behaviour import VENDORS, Behaviour, answer_to
from tests.fake_provider.betas import not_enabled
from tests.fake_provider.formats import ENDPOINTS
from tests.fake_provider.formats.common import Format
from tests.fake_provider.formats.models import model, models
from tests.fake_provider.records import Call, Records, as_json
from tests.fake_provider.sending import Sending, reset

BODY_MAX_BYTES: Final = 64 * 1024 * 1024
RECORDS: Final = web.AppKey("records", Records)
_CREDENTIALS: Final = ("authorization", "x-api-key", "x-goog-api-key")


def make_app(records: Records) -> web.Application:
    """Return the application; `records` stores its calls and supplies its behaviours."""
    app = web.Application(client_max_size=BODY_MAX_BYTES)
    app[RECORDS] = records
    google = "/{vendor:google}/{version:v1|v1beta}/models/{model:[^/:]+}"
    app.add_routes(
        [
            web.post("/_control", _control),
            web.get("/_calls", _calls),
            web.get("/{vendor}/{version:v1|v1beta}/models", _models),
            web.get("/{vendor}/{version:v1|v1beta}/models/{model}", _models),
            web.post(google + ":{method}", _ask),
            web.post("/{vendor}/v1/{method:.+}", _ask),
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
    call = _recorded(request)
    sending = Sending(request, call, request.app[RECORDS].take(vendor))
    return await _watched(request.app[RECORDS], call, _answer_models(sending))


async def _answer_models(sending: Sending) -> web.StreamResponse:
    if await sending.trouble():
        return web.Response()
    if (other := sending.another()) is not None:
        return other
    vendor, name = sending.call.vendor, sending.request.match_info.get("model")
    found = models(vendor) if name is None else model(vendor, name)
    if found is None:
        return sending.error(404, f"The model '{name}' does not exist")
    return web.json_response(found)


async def _ask(request: web.Request) -> web.StreamResponse:
    records = request.app[RECORDS]
    vendor = request.match_info["vendor"]
    format_ = ENDPOINTS.get((vendor, request.match_info["method"]))
    if format_ is None:
        return web.Response(status=404)
    behaviour = records.take(vendor)
    if behaviour.reset == "before":
        _recorded(request)
        reset(request)
        return web.Response()
    call = _recorded(request, raw=await request.read())
    return await _watched(records, call, _answer(Sending(request, call, behaviour), format_))


async def _answer(sending: Sending, format_: Format) -> web.StreamResponse:
    request, call, behaviour = sending.request, sending.call, sending.behaviour
    if not any(call.headers.get(name) for name in _CREDENTIALS):
        return sending.error(401, "No API key")
    try:
        asked = format_.asked(call.body, request.path)
    except (AttributeError, KeyError, TypeError) as exc:
        return sending.error(400, f"Bad field: {exc}")
    if behaviour.needs_betas and (lacks := not_enabled(call.headers, call.body)):
        return sending.error(400, f"{', '.join(lacks)}: Extra inputs are not permitted")
    answer = answer_to(asked, behaviour)
    if behaviour.status < 400 and format_.is_billed:
        call.billed = answer.billed
    await asyncio.to_thread(request.app[RECORDS].write, call)
    if await sending.trouble():
        return web.Response()
    if (other := sending.another()) is not None:
        return other
    if asked.stream:
        return await sending.streamed(answer, format_)
    return await sending.whole(answer, format_)


def _recorded(request: web.Request, *, raw: bytes = b"") -> Call:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    call = Call(
        vendor=request.match_info["vendor"],
        method=request.method,
        path=request.path_qs,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=json.loads(raw) if raw else None,
        raw=raw.decode(errors="surrogateescape"),
        client_port=peer[1] if peer else 0,
    )
    request.app[RECORDS].add(call)
    return call


async def _watched(records: Records, call: Call, answering: Awaitable[Any]) -> web.StreamResponse:
    """Answer; record a client disconnect, on which aiohttp cancels the handler."""
    try:
        response: web.StreamResponse = await answering
    except (asyncio.CancelledError, ConnectionError):
        call.disconnected_at = time.time()
        records.write_output(call)
        raise
    call.answered_at = time.time()
    return response
