"""After a request was sent, any failure has an unknown outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.errors import Broken, TimedOut
from gateway.core.seen import SeenOutput
from gateway.upstream.transport import ANSWER_MAX_BYTES
from tests.fake_provider.vendors import Wire, both_ways, call_to, every_vendor

SHORT_S = 0.6
SSE = {"content-type": "text/event-stream"}
# The adapters live as long as the module: they are made to be long-lived.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@every_vendor
@both_ways
@pytest.mark.parametrize("status", [408, 504, 524])
async def test_proxy_timeout_is_unknown(
    wire: Wire, vendor: str, streamed: bool, status: int
) -> None:
    wire.fake.answers(status=status)
    found = await wire.failure(vendor, streamed=streamed)
    assert type(found) is TimedOut
    assert not found.nothing_billed
    assert found.provider_status == status


CLOUDFLARE = "https://developers.cloudflare.com/"
# Errors of proxies: none is the vendor's own, so none proves that the vendor did not work.
PROXIES: dict[str, Any] = {
    "nothing": "",
    "nginx and Cloudflare": "<html><body><h1>Bad gateway</h1></body></html>",
    "Envoy": "upstream connect error or disconnect/reset before headers. reset reason: connection",
    "AWS": {"message": "Internal server error"},
    "Kong": {"message": "An invalid response was received from the upstream server", "id": "1"},
    "RFC 9457": {"type": CLOUDFLARE, "title": "Unknown", "status": 520, "detail": "Unknown"},
    "Vercel": {"error": {"code": "500", "message": "A server error has occurred"}},
    "Cloudflare's gateway": {"success": False, "error": [{"code": 2001, "message": "Failed"}]},
    "FastAPI": {"detail": "Bad gateway"},
    "no object": "[]",
    "null": "null",
    "a number": {"error": 7},
    "nesting without end": "[" * 50_000,
    "half of its own": '{"error": {"type": "server_error", "message": "The serv',
}


@every_vendor
@both_ways
@pytest.mark.parametrize("body", PROXIES.values(), ids=list(PROXIES))
async def test_foreign_server_error_is_unknown(
    wire: Wire, vendor: str, streamed: bool, body: Any
) -> None:
    wire.fake.answers(status=520, body=body)
    found = await wire.failure(vendor, streamed=streamed)
    assert type(found) is Broken
    assert not found.nothing_billed
    assert found.provider_status == 520


@every_vendor
@pytest.mark.parametrize("status", [500, 501, 502, 503, 520, 521, 522, 523, 525, 530, 599])
async def test_every_proxy_error_is_unknown(wire: Wire, vendor: str, status: int) -> None:
    wire.fake.answers(status=status, body="<html>", headers={"content-type": "text/html"})
    found = await wire.failure(vendor, streamed=False)
    assert type(found) is Broken
    assert f"status {status}" in found.message


@every_vendor
@both_ways
async def test_redirect_is_not_followed_and_unknown(
    wire: Wire, vendor: str, streamed: bool
) -> None:
    wire.fake.answers(status=307, body="", headers={"location": "/openai/v1/models"})
    found = await wire.failure(vendor, streamed=streamed)
    assert type(found) is Broken


TROUBLE: dict[str, dict[str, Any]] = {
    "a reset before the body was read": {"reset": "before"},
    "a reset after the body was read": {"reset": "after"},
    "a cut in the middle of the answer": {"cut_after_bytes": 90},
    "a cut before the first byte": {"cut_after_bytes": 0},
    "an empty answer": {"body": ""},
    "garbage": {"body": "<html>it works</html>"},
    "nesting without end": {"body": "[" * 100_000},
    "JSON that is no object": {"body": "[1, 2]"},
    "an empty object": {"body": "{}"},
    "an error that says it is a success": {"body": {"error": {"message": "no", "code": 500}}},
    "an error that is a string": {"body": {"error": "no"}},
}


@every_vendor
@both_ways
@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=list(TROUBLE))
async def test_failure_after_sending_is_unknown(
    wire: Wire, vendor: str, streamed: bool, trouble: dict[str, Any]
) -> None:
    wire.fake.answers(**trouble)
    found = await wire.failure(vendor, streamed=streamed)
    assert type(found) is Broken
    assert not found.nothing_billed


STREAMS = {
    "no event": "",
    "only comments": ": ping\n\n",
    "garbage": "<html>it works</html>",
    "events of garbage": "event: message_start\ndata: <html>\n\n",
    "events of no object": "data: 7\n\ndata: [1]\n\n",
    "half an event": 'event: message_start\ndata: {"choices": [{"delta": {"con',
    "only the end": "data: [DONE]\n\n",
    "an error first": 'event: error\ndata: {"error": {"message": "Overloaded"}}\n\n',
}


@every_vendor
@pytest.mark.parametrize("body", STREAMS.values(), ids=list(STREAMS))
async def test_truncated_stream_without_usage_is_unknown(
    wire: Wire, vendor: str, body: str
) -> None:
    wire.fake.answers(body=body, headers=SSE)
    found = await wire.failure(vendor, streamed=True)
    assert type(found) is Broken


@pytest.mark.parametrize(
    ("vendor", "event"),
    [
        ("openai", 'data: {"error": {"message": "The server had an error"}}\n\n'),
        (
            "anthropic",
            'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", '
            '"message": "The server had an error"}}\n\n',
        ),
        (
            "google",
            'data: {"error": {"code": 503, "message": "The server had an error", '
            '"status": "UNAVAILABLE"}}\n\n',
        ),
        ("mistral", 'data: {"object": "error", "message": "The server had an error"}\n\n'),
    ],
)
async def test_error_inside_stream_is_reported_and_unknown(
    wire: Wire, vendor: str, event: str
) -> None:
    wire.fake.answers(extra_events=(event,))
    found = await wire.failure(vendor, streamed=True)
    assert type(found) is Broken
    assert found.message.endswith(": The server had an error")


@every_vendor
@both_ways
@pytest.mark.parametrize("stall", ["headers", "body"])
async def test_answer_timeout_is_unknown(
    wire: Wire, vendor: str, streamed: bool, stall: str
) -> None:
    wire.fake.answers(stall=stall, stall_after_events=1 if streamed else 0)
    found = await wire.failure(vendor, streamed=streamed, timeout_s=SHORT_S)
    assert type(found) is TimedOut
    assert not found.nothing_billed
    call = await asyncio.to_thread(wire.fake.wait_for, lambda call: call.disconnected_at)
    assert call.billed is not None


@every_vendor
@both_ways
async def test_slow_stream_ends_at_call_timeout(wire: Wire, vendor: str, streamed: bool) -> None:
    wire.fake.answers(drip_s=0.2)
    found = await wire.failure(vendor, streamed=streamed, timeout_s=SHORT_S)
    assert type(found) is TimedOut


@every_vendor
async def test_endless_stream_ends_at_call_timeout(wire: Wire, vendor: str) -> None:
    wire.fake.answers(endless=True)
    found = await wire.failure(vendor, streamed=True, timeout_s=SHORT_S)
    assert type(found) is TimedOut
    await asyncio.to_thread(wire.fake.wait_for, lambda call: call.disconnected_at)


@every_vendor
async def test_call_timeout_ends_vendor_wait_not_reader(wire: Wire, vendor: str) -> None:
    wire.fake.answers(stall="body", stall_after_events=4)
    provider = await wire.providers.get(wire.providers.vendors[vendor])
    stream = provider.stream(call_to(vendor, timeout_s=SHORT_S), SeenOutput())
    await anext(stream)
    await asyncio.sleep(2 * SHORT_S)  # a reader cancelled by the call's time would not get past
    with pytest.raises(TimedOut):
        async for _ in stream:
            pass


@every_vendor
async def test_oversized_answer_is_not_read_completely(wire: Wire, vendor: str) -> None:
    wire.fake.answers(body='{"x": "' + "y" * (ANSWER_MAX_BYTES + 1) + '"}')
    found = await wire.failure(vendor, streamed=False)
    assert type(found) is Broken
