"""WebSockets through the application, without a socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.test import RequestFactory
from openai.types.responses import Response, ResponsesServerEvent
from pydantic import TypeAdapter

from gateway.call.runtime import Gateway
from gateway.core.calls import Dimensions, Principal
from gateway.http.websocket import connection
from gateway.http.websocket.connection import Connection
from gateway.http.websocket.stopping import STOPPING
from gateway.models import AiRequestLog
from orgs.models import Organization
from pulse.asgi import application
from pulse.server.websocket_protocol import COUNT_MESSAGES
from tests.factories import PolicyFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.conftest import Asking
from tests.gateway.wire import HOST

pytestmark = pytest.mark.django_db(transaction=True)

PATH: Final = "/v1/responses"
RUNNING_MAX_S: Final = 120.0
ASKED: Final = {"type": "response.create", "model": "gpt-4o-mini", "input": "Say hello"}
SERVER_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(ResponsesServerEvent)
Message = Mapping[str, Any]


def scope(headers: Mapping[str, str], path: str = PATH) -> dict[str, Any]:
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(n.encode(), v.encode()) for n, v in {"host": HOST, **headers}.items()],
        "client": ("127.0.0.1", 1),
        "server": (HOST, 80),
        "subprotocols": [],
        "state": {COUNT_MESSAGES: lambda *_: None},
        "extensions": {"websocket.http.response": {}},
    }


def visit(headers: Mapping[str, str], *turns: Mapping[str, Any], path: str = PATH) -> list[Message]:
    """Send each turn when the one before has ended; return all that the application sends."""
    sent: list[Message] = []
    waiting = [{"type": "websocket.receive", "text": json.dumps(turn)} for turn in turns]

    async def run() -> None:
        ended = asyncio.Event()
        ended.set()
        begun = iter([{"type": "websocket.connect"}, *waiting, {"type": "websocket.disconnect"}])

        async def receive() -> Message:
            await ended.wait()
            message = next(begun)
            if message["type"] == "websocket.receive":
                ended.clear()
            return message

        async def send(message: Message) -> None:
            sent.append(message)
            text = message.get("text", "")
            if any(f'"type":"{end}"' in text for end in ENDS):
                ended.set()

        await application(scope(headers, path), receive, send)

    async_to_sync(run)()
    return sent


ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "error")


def events_of(sent: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(message["text"]) for message in sent if message["type"] == "websocket.send"]


def test_openais_library_knows_every_event(
    api_key: str, vendors: FakeProvider, gateway: Gateway
) -> None:
    key = {"authorization": f"Bearer {api_key}"}
    warm = ASKED | {"generate": False}
    vendors.answers(cut_after_bytes=1_500)
    sent = visit(key, warm, ASKED, ASKED, ASKED | {"model": "unknown"}, {"type": "no turn"})
    events = events_of(sent)
    ends = [event["type"] for event in events if event["type"] in ENDS]
    completed, failed = "response.completed", "response.failed"
    assert ends == [completed, failed, completed, "error", "error"]
    for event in events:
        known = SERVER_EVENT.validate_python(event)
        assert known.type == event["type"]
    for event in events[:2]:
        Response.model_validate(event["response"], strict=True)


def test_failed_response_cannot_be_continued(api_key: str, vendors: FakeProvider) -> None:
    key = {"authorization": f"Bearer {api_key}"}
    vendors.answers(finish_reason="failed")
    continued = ASKED | {"previous_response_id": "resp_fake", "store": False}
    last = events_of(visit(key, ASKED, continued))[-1]
    assert last["error"]["code"] == "previous_response_not_found"


def test_response_that_gateway_ends_is_incomplete_and_can_be_continued(
    api_key: str, vendors: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=10**6, hold="slices", wait_s=0)
    vendors.answers(content=" ".join(["and," * 20] * 400), drip_s=0.02)
    key = {"authorization": f"Bearer {api_key}"}
    continued = ASKED | {"previous_response_id": "resp_fake", "store": False}
    events = events_of(visit(key, ASKED | {"max_output_tokens": 9_000}, continued))
    for event in events:
        SERVER_EVENT.validate_python(event)
    [cut] = [event for event in events if event["type"] == "response.incomplete"]
    assert cut["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    row = AiRequestLog.objects.earliest("occurred_at")
    assert (row.channel, row.status, row.finish_reason) == ("responses", "ok", "length")


def test_answer_without_stream_is_error(api_key: str, vendors: FakeProvider) -> None:
    vendors.answers(body={"object": "response", "status": "completed", "id": "resp_1"})
    [event] = events_of(visit({"authorization": f"Bearer {api_key}"}, ASKED))
    assert (event["type"], event["error"]["message"]) == (
        "error",
        "The provider answered without a stream",
    )


def test_beta_of_websockets_ends_here(api_key: str, vendors: FakeProvider) -> None:
    beta = "responses_websockets=2026-02-06, another=v1"
    visit({"authorization": f"Bearer {api_key}", "openai-beta": beta}, ASKED)
    assert vendors.calls[0].headers["openai-beta"] == "another=v1"


def test_memory_of_messages_and_conversations_is_given_back(
    api_key: str, vendors: FakeProvider, gateway: Gateway
) -> None:
    long = "word " * 40_000
    visit({"authorization": f"Bearer {api_key}"}, ASKED | {"input": long}, ASKED | {"input": long})
    budgets = (gateway.bodies, gateway.conversations, gateway.websockets)
    deadline = time.monotonic() + RUNNING_MAX_S  # the calls end by themselves
    while any(+budget._taken for budget in budgets) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [+budget._taken for budget in budgets] == [{}, {}, {}]


def test_unknown_host_gets_no_websocket(api_key: str, gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {api_key}", "host": "other.example"}
    start, body = visit(headers)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 400)
    assert "Host" in json.loads(body["body"])["error"]["message"]


def test_plain_request_whose_upgrade_was_lost_gets_426(ask: Asking) -> None:
    lost = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    reply = ask(path=PATH, method="GET", headers=lost)
    assert reply.status == 426
    assert "A proxy removed the Upgrade header" in reply.json["error"]["message"]
    assert ask(path=PATH, method="GET").status == 405


# --- the end --------------------------------------------------------------------------------------


async def _ended(
    gateway: Gateway, *messages: Message, lifetime_s: float = connection.LIFETIME_S
) -> list[Message]:
    """Return what a connection sends that gets these messages."""
    sent: list[Message] = []
    received = iter(messages)
    is_closed = asyncio.Event()

    async def receive() -> Message:
        if (message := next(received, None)) is not None:
            return message
        await is_closed.wait()
        return {"type": "websocket.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "websocket.close":
            is_closed.set()

    principal = Principal(org_id=UUID(int=1), fixed=Dimensions(), channel="responses")
    request = RequestFactory().get(PATH)
    made = Connection(gateway, request, principal, send, lifetime_s=lifetime_s)
    async with asyncio.timeout(120):
        await made.serve(receive)
    return sent


async def test_connection_ends_when_its_time_is_over(gateway: Gateway) -> None:
    notice, closed = await _ended(gateway, lifetime_s=0.05)
    error = json.loads(notice["text"])["error"]
    assert error["code"] == "websocket_connection_limit_reached"
    assert error["message"].startswith("Responses websocket connection limit reached (60 minutes)")
    assert (closed["type"], closed["code"]) == ("websocket.close", 1000)


@pytest.mark.parametrize(
    ("message", "code"),
    [({"type": STOPPING}, 1001), ({"type": "websocket.receive", "bytes": b"{}"}, 1003)],
)
async def test_connection_without_turn_closes_at_once(
    gateway: Gateway, message: Message, code: int
) -> None:
    [closed] = await _ended(gateway, message)
    assert (closed["type"], closed["code"]) == ("websocket.close", code)


async def test_turn_without_key_ends_connection(gateway: Gateway) -> None:
    turn = {"type": "websocket.receive", "text": json.dumps(ASKED)}
    notice, closed = await _ended(gateway, turn)
    error = json.loads(notice["text"])
    assert (error["status"], error["error"]["code"]) == (401, "unauthenticated")
    assert (closed["code"], closed["reason"]) == (1008, error["error"]["message"])
