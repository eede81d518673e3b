"""The web application of one host: it refuses what the real one does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from tests.fake_provider.behaviour import ParsedRequest
from tests.fake_provider.hosts.host import FakeHost, HostEndpoint
from tests.fake_provider.hosts.tokens import TOKENS, IssuedTokens, token_routes
from tests.fake_provider.kept import Kept
from tests.fake_provider.records import Records
from tests.fake_provider.sending import Sending
from tests.fake_provider.server import (
    BODY_MAX_BYTES,
    CONTROL,
    KEPT,
    RECORDS,
    answered,
    asked,
)

BEARER: Final = "Bearer "


def make_host_app(records: Records, host: FakeHost) -> web.Application:
    """Return the application of a host; `records` as in `make_app`."""
    app = web.Application(client_max_size=BODY_MAX_BYTES)
    app[RECORDS] = records
    app[KEPT] = Kept()
    app[TOKENS] = IssuedTokens()
    app.add_routes([*CONTROL, *token_routes()])
    for path, endpoint in host.endpoints.items():
        app.router.add_post(path, _endpoint(host, endpoint))
    if host.models_path is not None:
        app.router.add_get(host.models_path, _models(host))
    return app


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _endpoint(host: FakeHost, endpoint: HostEndpoint) -> Handler:
    async def answer(sending: Sending) -> web.StreamResponse:
        try:
            if (refusal := _refusal(sending, host, endpoint)) is not None:
                return refusal
            asked_for = _asked_for(sending, host, endpoint)
        except (AttributeError, KeyError, TypeError) as exc:
            return sending.error(400, f"Bad field: {exc}")
        if host.unknown_model is not None and asked_for.model not in host.models:
            sentence = host.unknown_model.format(asked_for.model)
            return sending.error(host.unknown_model_status, sentence)
        return await answered(sending, endpoint.format, asked_for)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await asked(request, host.name, endpoint.errors, answer)

    return handle


def _models(host: FakeHost) -> Handler:
    async def answer(sending: Sending) -> web.StreamResponse:
        if not _has_key(sending, host):
            return _wrong_key(host)
        if await sending.trouble():
            return web.Response()
        other = sending.another()
        return web.json_response(host.model_list(host.models)) if other is None else other

    errors = next(iter(host.endpoints.values())).errors

    async def handle(request: web.Request) -> web.StreamResponse:
        return await asked(request, host.name, errors, answer)

    return handle


def _refusal(sending: Sending, host: FakeHost, endpoint: HostEndpoint) -> web.Response | None:
    """Return the refusal of a request that the real server would refuse, or None."""
    if not _has_key(sending, host):
        return _wrong_key(host)
    headers, body = sending.call.headers, sending.call.body
    lacks = next((name for name in endpoint.needs if name not in headers), None)
    if lacks is not None:
        return sending.error(400, f"{lacks}: header is required")
    if not isinstance(body, dict):
        return sending.error(400, "The body must be a JSON object")
    sentences = (check(body) for check in endpoint.checks)
    sentence = next((found for found in sentences if found is not None), None)
    return None if sentence is None else sending.error(400, sentence)


def _asked_for(sending: Sending, host: FakeHost, endpoint: HostEndpoint) -> ParsedRequest:
    """Parse what the server reads of a request. Raises KeyError and the like for a bad body."""
    read: dict[str, Any] = {
        name: value
        for name, value in sending.call.body.items()
        if endpoint.reads is None or name in endpoint.reads
    }
    for beginning, other in host.renamed.items():
        if str(read.get("model")).startswith(beginning):
            read["model"] = other
            break
    return endpoint.format.asked(read, sending.request.path)


def _has_key(sending: Sending, host: FakeHost) -> bool:
    if not host.credentials:
        return True
    headers = sending.call.headers
    given = [headers[name] for name in host.credentials if name in headers]
    keys = [key.removeprefix(BEARER) for key in given]
    if host.takes_key and host.key in keys:
        return True
    # A token is one only as a bearer.
    bearer = headers.get("authorization", "").removeprefix(BEARER)
    return host.takes_tokens and sending.request.app[TOKENS].is_valid(bearer)


def _wrong_key(host: FakeHost) -> web.Response:
    status = host.wrong_key_status
    return web.json_response(host.wrong_key(status, "Invalid API key"), status=status)
