"""The fake provider's web application: four vendors, a control endpoint, and all faults."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from tests.fake_provider.behaviour import VENDORS, Behaviour, ParsedRequest, answer_to
from tests.fake_provider.betas import not_enabled
from tests.fake_provider.formats import ENDPOINTS, ERRORS, Errors
from tests.fake_provider.formats.common import Format
from tests.fake_provider.formats.models import model, models
from tests.fake_provider.kept import Kept, NotKept, routes
from tests.fake_provider.records import Call, Records, as_json
from tests.fake_provider.sending import Sending, reset

BODY_MAX_BYTES: Final = 64 * 1024 * 1024
LOOK_EVERY_S: Final = 0.01
RECORDS: Final = web.AppKey("records", Records)
KEPT: Final = web.AppKey("kept", Kept)
_CREDENTIALS: Final = ("authorization", "x-api-key", "x-goog-api-key")


def make_app(records: Records) -> web.Application:
    """Return the application; `records` stores its calls and supplies its behaviours."""
    app = web.Application(client_max_size=BODY_MAX_BYTES)
    app[RECORDS] = records
    app[KEPT] = Kept()
    google = "/{vendor:google}/{version:v1|v1beta}/models/{model:[^/:]+}"
    app.add_routes(
        [
            *CONTROL,
            web.get("/{vendor}/{version:v1|v1beta}/models", _models),
            web.get("/{vendor}/{version:v1|v1beta}/models/{model}", _models),
            *routes(KEPT, recorded),
            web.post(google + ":{method}", _ask),
            web.post("/{vendor}/v1/{method:.+}", _ask),
        ]
    )
    return app


async def _control(request: web.Request) -> web.Response:
    """Take `{"reset": true}`, `{"release": true}` and `{"answers": [{behaviour}, ...]}`."""
    records = request.app[RECORDS]
    orders = await request.json()
    if orders.get("reset"):
        records.reset()
    if orders.get("release"):
        records.is_released = True
    try:
        behaviours = [Behaviour.from_json(values) for values in orders.get("answers", [])]
    except (TypeError, ValueError) as exc:
        return web.json_response({"error": str(exc)}, status=400)
    for behaviour in behaviours:
        records.queue(behaviour)
    return web.json_response({"queued": len(behaviours)})


async def _calls(request: web.Request) -> web.Response:
    """Return all calls; with `?containing=`, those with this text in the body, once one is there.

    It is cheaper to wait here than to ask again and again: many clients wait at once.
    """
    records, text = request.app[RECORDS], request.query.get("containing", "")
    if text:
        await _until(lambda: records.containing(text))
    return web.json_response(as_json(records.containing(text)))


async def _until(happened: Callable[[], object]) -> None:
    while not happened():  # noqa: ASYNC110 - what happens comes from any thread
        await asyncio.sleep(LOOK_EVERY_S)


CONTROL: Final = (web.post("/_control", _control), web.get("/_calls", _calls))


async def _models(request: web.Request) -> web.StreamResponse:
    vendor = request.match_info["vendor"]
    if vendor not in VENDORS:
        return web.Response(status=404)
    call = recorded(request, vendor)
    behaviour = request.app[RECORDS].take(vendor, "") or Behaviour()
    sending = Sending(request, call, behaviour, ERRORS[vendor])
    return await watched(request.app[RECORDS], call, _answer_models(sending))


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
    vendor = request.match_info["vendor"]
    format_ = ENDPOINTS.get((vendor, request.match_info["method"]))
    if format_ is None:
        return web.Response(status=404)

    async def answer(sending: Sending) -> web.StreamResponse:
        return await _answer(sending, format_)

    return await asked(request, vendor, ERRORS[vendor], answer)


async def asked(
    request: web.Request,
    vendor: str,
    errors: Errors,
    answer: Callable[[Sending], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Record a call and answer it with the behaviour that is next for it."""
    records = request.app[RECORDS]
    behaviour = records.take(vendor, None)
    if behaviour is not None and behaviour.reset == "before":
        recorded(request, vendor)
        reset(request)
        return web.Response()
    call = recorded(request, vendor, raw=await request.read())
    behaviour = behaviour or records.take(vendor, call.raw) or Behaviour()
    return await watched(records, call, answer(Sending(request, call, behaviour, errors)))


async def _answer(sending: Sending, format_: Format) -> web.StreamResponse:
    call, behaviour = sending.call, sending.behaviour
    if not any(call.headers.get(name) for name in _CREDENTIALS):
        return sending.error(401, "No API key")
    try:
        asked_for = _asked(sending, format_)
    except NotKept as exc:
        return web.json_response(exc.body, status=exc.status)
    except (AttributeError, KeyError, TypeError) as exc:
        return sending.error(400, f"Bad field: {exc}")
    is_strict = behaviour.needs_betas and call.vendor == "anthropic"
    if is_strict and (lacks := not_enabled(call.headers, call.body)):
        return sending.error(400, f"{', '.join(lacks)}: Extra inputs are not permitted")
    return await answered(sending, format_, asked_for)


async def answered(
    sending: Sending, format_: Format, asked_for: ParsedRequest
) -> web.StreamResponse:
    """Answer a request that is in order, as the behaviour says."""
    request, call, behaviour = sending.request, sending.call, sending.behaviour
    records = request.app[RECORDS]
    answer = answer_to(asked_for, behaviour)
    if format_.is_kept:
        request.app[KEPT].add(call.body, format_.plain(answer))
    if behaviour.status < 400 and format_.is_billed:
        call.billed = answer.billed
    await asyncio.to_thread(records.write, call)
    if behaviour.until_released and format_.is_billed:  # counts of tokens are at once
        await _until(lambda: records.is_released)
    if await sending.trouble(pauses=format_.is_billed or not behaviour.counts_at_once):
        return web.Response()
    if (other := sending.another()) is not None:
        return other
    if asked_for.stream:
        return await sending.streamed(answer, format_)
    return await sending.whole(answer, format_)


def _asked(sending: Sending, format_: Format) -> ParsedRequest:
    """Return the parsed request, with the tokens of what it names. Raises NotKept."""
    found = format_.asked(sending.call.body, sending.request.path)
    if not format_.keeps:
        return found
    kept = sending.request.app[KEPT]
    return replace(found, words_in=found.words_in + kept.tokens_named_in(sending.call.body))


def recorded(request: web.Request, vendor: str, *, raw: bytes = b"") -> Call:
    """Record a call as it came."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    call = Call(
        vendor=vendor,
        method=request.method,
        path=request.path_qs,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=json.loads(raw) if raw else None,
        raw=raw.decode(errors="surrogateescape"),
        client_port=peer[1] if peer else 0,
    )
    request.app[RECORDS].add(call)
    return call


async def watched(records: Records, call: Call, answering: Awaitable[Any]) -> web.StreamResponse:
    """Answer; record a client disconnect, on which aiohttp cancels the handler."""
    try:
        response: web.StreamResponse = await answering
    except (asyncio.CancelledError, ConnectionError):
        call.disconnected_at = time.time()
        records.write_output(call)
        raise
    call.answered_at = time.time()
    return response
