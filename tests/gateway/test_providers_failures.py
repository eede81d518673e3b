"""What a failed call means: nothing is called unbilled that is not proven to be."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from gateway.core.errors import (
    Broken,
    ProviderFailed,
    RateLimited,
    Rejected,
    TimedOut,
    Unreachable,
)
from gateway.providers.failures import MESSAGE_MAX_CHARS
from gateway.providers.transport import ANSWER_MAX_BYTES
from tests.fake_provider import VENDORS, FakeProvider, closed_port
from tests.fake_provider.vendors import KEYS, ask, call_to, opened

every_vendor = pytest.mark.parametrize("vendor", VENDORS)
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
SSE = {"content-type": "text/event-stream"}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def fake(server: FakeProvider) -> FakeProvider:
    server.reset()
    return server


async def failure_at(
    base_url: str, vendor: str, *, streamed: bool, timeout_s: float = 5.0
) -> ProviderFailed:
    """Return how a call failed; that it is a ProviderFailed is half of every test here."""
    async with opened(vendor, base_url) as provider:
        with pytest.raises(ProviderFailed) as failed:
            await ask(provider, call_to(vendor, timeout_s=timeout_s), streamed=streamed)
    return failed.value


async def failure(
    fake: FakeProvider, vendor: str, *, streamed: bool, timeout_s: float = 5.0
) -> ProviderFailed:
    """Return how a call failed, having made sure that it was one call."""
    found = await failure_at(fake.base_url(vendor), vendor, streamed=streamed, timeout_s=timeout_s)
    assert len(fake.calls) == 1
    return found


# --- nothing was sent -------------------------------------------------------------------------


@every_vendor
@both_ways
async def test_a_refused_connection_proves_that_nothing_was_sent(
    vendor: str, streamed: bool
) -> None:
    base_url = f"http://127.0.0.1:{closed_port()}"
    found = await failure_at(base_url, vendor, streamed=streamed)
    assert type(found) is Unreachable
    assert found.nothing_billed


@every_vendor
async def test_a_name_that_means_no_host_proves_that_nothing_was_sent(vendor: str) -> None:
    found = await failure_at("http://provider.invalid", vendor, streamed=False)
    assert type(found) is Unreachable


@every_vendor
async def test_a_handshake_that_fails_proves_that_nothing_was_sent(
    fake: FakeProvider, vendor: str
) -> None:
    base_url = fake.base_url(vendor).replace("http://", "https://")
    found = await failure_at(base_url, vendor, streamed=False)
    assert type(found) is Unreachable
    assert fake.calls == []


@every_vendor
async def test_a_connection_that_is_never_made_proves_that_nothing_was_sent(vendor: str) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            base_url = f"http://127.0.0.1:{full.getsockname()[1]}"
            found = await failure_at(base_url, vendor, streamed=False, timeout_s=1)
        finally:
            for one in waiting:
                one.close()
    assert type(found) is Unreachable


# --- the vendor refused -----------------------------------------------------------------------


@every_vendor
@both_ways
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 502, 503, 529])
async def test_an_error_status_is_a_refusal_that_cost_nothing(
    fake: FakeProvider, vendor: str, streamed: bool, status: int
) -> None:
    fake.answers(status=status)
    found = await failure(fake, vendor, streamed=streamed)
    assert type(found) is Rejected
    assert found.provider_status == status
    assert found.message == f"The fake provider answers {status}"


@every_vendor
@both_ways
@pytest.mark.parametrize(
    "body", ["", "<html>Bad gateway</html>", "[]", "null", '{"error": 7}', "[" * 50_000]
)
async def test_an_error_without_a_message_still_says_what_happened(
    fake: FakeProvider, vendor: str, streamed: bool, body: str
) -> None:
    fake.answers(status=502, body=body, headers={"content-type": "text/html"})
    found = await failure(fake, vendor, streamed=streamed)
    assert type(found) is Rejected
    assert found.message.endswith("answered with status 502")


async def test_mistral_says_which_field_it_finds_invalid(fake: FakeProvider) -> None:
    detail = [{"loc": ["body", "temperature"], "msg": "Input should be at most 1.5", "type": "x"}]
    fake.answers(status=422, body={"detail": detail})
    found = await failure(fake, "mistral", streamed=False)
    assert type(found) is Rejected
    assert found.message == "Input should be at most 1.5"


@every_vendor
@both_ways
async def test_a_rate_limit_says_how_long_to_wait(
    fake: FakeProvider, vendor: str, streamed: bool
) -> None:
    fake.answers(status=429, headers={"retry-after": "17"})
    found = await failure(fake, vendor, streamed=streamed)
    assert type(found) is RateLimited
    assert found.nothing_billed
    assert found.retry_after_s == 17


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "1.2"}, 2),
        ({"retry-after": "0"}, 1),
        ({"retry-after-ms": "2500", "retry-after": "9"}, 3),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "999999999"}, 86400),
    ],
)
async def test_how_long_to_wait_is_read_with_care(
    fake: FakeProvider, headers: dict[str, str], seconds: int | None
) -> None:
    fake.answers(status=429, headers=headers)
    found = await failure(fake, "openai", streamed=False)
    assert found.retry_after_s == seconds


async def test_how_long_to_wait_may_be_a_date(fake: FakeProvider) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    fake.answers(status=429, headers={"retry-after": date})
    found = await failure(fake, "anthropic", streamed=False)
    assert found.retry_after_s is not None
    assert 55 <= found.retry_after_s <= 60


async def test_google_says_how_long_to_wait_in_the_body(fake: FakeProvider) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33.5s"}
    error = {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
    fake.answers(status=429, body={"error": error})
    found = await failure(fake, "google", streamed=False)
    assert found.retry_after_s == 34


# --- the outcome is unknown -------------------------------------------------------------------


@every_vendor
@both_ways
@pytest.mark.parametrize("status", [408, 504, 524])
async def test_a_proxys_timeout_proves_nothing(
    fake: FakeProvider, vendor: str, streamed: bool, status: int
) -> None:
    fake.answers(status=status)
    found = await failure(fake, vendor, streamed=streamed)
    assert type(found) is TimedOut
    assert not found.nothing_billed
    assert found.provider_status == status


@every_vendor
@both_ways
async def test_a_redirect_is_not_followed_and_proves_nothing(
    fake: FakeProvider, vendor: str, streamed: bool
) -> None:
    fake.answers(status=307, body="", headers={"location": fake.base_url("openai") + "/models"})
    found = await failure(fake, vendor, streamed=streamed)
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
async def test_after_the_request_went_out_trouble_proves_nothing(
    fake: FakeProvider, vendor: str, streamed: bool, trouble: dict[str, Any]
) -> None:
    fake.answers(**trouble)
    found = await failure(fake, vendor, streamed=streamed)
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
async def test_a_stream_without_an_end_and_without_usage_proves_nothing(
    fake: FakeProvider, vendor: str, body: str
) -> None:
    fake.answers(body=body, headers=SSE)
    found = await failure(fake, vendor, streamed=True)
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
async def test_an_error_inside_a_stream_is_told_and_proves_nothing(
    fake: FakeProvider, vendor: str, event: str
) -> None:
    fake.answers(extra_events=(event,))
    found = await failure(fake, vendor, streamed=True)
    assert type(found) is Broken
    assert found.message.endswith(": The server had an error")


@every_vendor
@both_ways
@pytest.mark.parametrize("stall", ["headers", "body"])
async def test_an_answer_that_does_not_come_in_time_proves_nothing(
    fake: FakeProvider, vendor: str, streamed: bool, stall: str
) -> None:
    fake.answers(stall=stall, stall_after_events=1 if streamed else 0)
    began_at = time.monotonic()
    found = await failure(fake, vendor, streamed=streamed, timeout_s=0.5)
    assert type(found) is TimedOut
    assert not found.nothing_billed
    assert time.monotonic() - began_at < 2
    call = await asyncio.to_thread(fake.wait_for, lambda call: call.disconnected_at)
    assert call.billed is not None


@every_vendor
@both_ways
async def test_a_drip_does_not_outlast_the_calls_time(
    fake: FakeProvider, vendor: str, streamed: bool
) -> None:
    fake.answers(drip_s=0.2)
    found = await failure(fake, vendor, streamed=streamed, timeout_s=0.5)
    assert type(found) is TimedOut


@every_vendor
async def test_an_endless_stream_ends_with_the_calls_time(fake: FakeProvider, vendor: str) -> None:
    fake.answers(endless=True)
    found = await failure(fake, vendor, streamed=True, timeout_s=0.5)
    assert type(found) is TimedOut
    await asyncio.to_thread(fake.wait_for, lambda call: call.disconnected_at)


@every_vendor
async def test_a_reader_that_takes_its_time_is_not_timed_out_by_it(
    fake: FakeProvider, vendor: str
) -> None:
    async with opened(vendor, fake.base_url(vendor)) as provider:
        stream = provider.stream(call_to(vendor, timeout_s=5.0))
        async for _ in stream:
            await asyncio.sleep(0.05)
    assert asyncio.current_task() is not None


@every_vendor
async def test_an_answer_without_bounds_is_not_read_to_its_end(
    fake: FakeProvider, vendor: str
) -> None:
    fake.answers(body='{"x": "' + "y" * (ANSWER_MAX_BYTES + 1) + '"}')
    found = await failure(fake, vendor, streamed=False)
    assert type(found) is Broken


# --- what a failure says ----------------------------------------------------------------------


@every_vendor
@both_ways
@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: {key}. You can find your key at ...",
        "Incorrect API key provided: sk-proj-****************6789.",
        "API key AIzaSyOthersKey000000000000 not valid",
        "Authorization: Bearer {key}",
    ],
)
async def test_a_failure_never_says_a_key(
    fake: FakeProvider, vendor: str, streamed: bool, said: str
) -> None:
    fake.answers(status=401, body={"error": {"message": said.format(key=KEYS[vendor])}})
    found = await failure(fake, vendor, streamed=streamed)
    assert "[key]" in found.message
    assert KEYS[vendor] not in found.message
    assert "6789" not in found.message
    assert "SyOthers" not in found.message


@every_vendor
async def test_an_error_inside_a_success_never_says_a_key(fake: FakeProvider, vendor: str) -> None:
    fake.answers(body={"error": {"message": f"bad key {KEYS[vendor]}"}})
    found = await failure(fake, vendor, streamed=False)
    assert KEYS[vendor] not in found.message


@every_vendor
async def test_a_failure_says_no_more_than_fits_on_a_line(fake: FakeProvider, vendor: str) -> None:
    fake.answers(status=400, body={"error": {"message": "a\nb\x00\x1b[31mc " + "long " * 500}})
    found = await failure(fake, vendor, streamed=False)
    assert found.message.startswith("a b [31mc long")
    assert len(found.message) == MESSAGE_MAX_CHARS
    assert found.message.isprintable()
