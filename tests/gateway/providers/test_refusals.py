"""A call is unbilled only when that is proven: nothing was sent, or the vendor refused."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gateway.core.calls import ProviderCall
from gateway.core.errors import (
    CredentialsRefused,
    ProviderFailed,
    RateLimited,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Message
from gateway.core.providers import TimeLimits
from gateway.upstream.failures import MESSAGE_MAX_CHARS
from tests.fake_provider import closed_port
from tests.fake_provider.vendors import (
    KEYS,
    MODELS,
    TIMEOUT_S,
    Wire,
    ask,
    both_ways,
    call_to,
    every_vendor,
    opened,
)

# The adapters live as long as the module: they are made to be long-lived.
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def failure_at(
    base_url: str, vendor: str, *, streamed: bool, limits: TimeLimits | None = None
) -> ProviderFailed:
    """Return the failure of a call, which must be a ProviderFailed."""
    async with opened(vendor, base_url, limits) as provider:
        with pytest.raises(ProviderFailed) as failed:
            await ask(provider, call_to(vendor), streamed=streamed)
    return failed.value


# --- nothing was sent --------------------------------------------------------------------------


@every_vendor
@both_ways
async def test_refused_connection_counts_as_unsent(vendor: str, streamed: bool) -> None:
    base_url = f"http://127.0.0.1:{closed_port()}"
    found = await failure_at(base_url, vendor, streamed=streamed)
    assert type(found) is Unreachable
    assert found.nothing_billed
    assert "the connection was refused" in found.message


@every_vendor
async def test_unknown_host_counts_as_unsent(vendor: str) -> None:
    found = await failure_at("http://provider.invalid", vendor, streamed=False)
    assert type(found) is Unreachable
    assert "the host name could not be resolved" in found.message


@every_vendor
async def test_failed_handshake_counts_as_unsent(wire: Wire, vendor: str) -> None:
    base_url = wire.fake.base_url(vendor).replace("http://", "https://")
    found = await failure_at(base_url, vendor, streamed=False)
    assert type(found) is Unreachable
    assert "the TLS handshake failed" in found.message
    assert wire.fake.calls == []


@every_vendor
async def test_connect_timeout_counts_as_unsent(vendor: str) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            base_url = f"http://127.0.0.1:{full.getsockname()[1]}"
            limits = TimeLimits(connect_s=0.3)
            found = await failure_at(base_url, vendor, streamed=False, limits=limits)
        finally:
            for one in waiting:
                one.close()
    assert type(found) is Unreachable
    assert "no connection was made in time" in found.message


@both_ways
async def test_sdk_validation_error_counts_as_unsent(wire: Wire, streamed: bool) -> None:
    call = ProviderCall(
        model=MODELS["google"], messages=(Message("system", "Be brief"),), timeout_s=TIMEOUT_S
    )  # as no fitted call is
    with pytest.raises(Rejected, match="nothing was sent") as failed:
        await ask(
            await wire.providers.get(wire.providers.vendors["google"]), call, streamed=streamed
        )
    assert failed.value.nothing_billed
    assert wire.fake.calls == []


# --- the vendor refused ------------------------------------------------------------------------


@every_vendor
@both_ways
@pytest.mark.parametrize("status", [400, 404, 409, 413, 422, 500, 502, 503, 520, 529])
async def test_error_status_is_unbilled_refusal(
    wire: Wire, vendor: str, streamed: bool, status: int
) -> None:
    wire.fake.answers(status=status)
    found = await wire.failure(vendor, streamed=streamed)
    assert type(found) is Rejected
    assert found.provider_status == status
    assert found.message == f"The fake provider answers {status}"
    assert found.provider_type is not None


@every_vendor
@both_ways
@pytest.mark.parametrize("status", [401, 403])
async def test_refused_key_is_reported_to_operators_only(
    wire: Wire, vendor: str, streamed: bool, status: int
) -> None:
    wire.fake.answers(status=status)
    found = await wire.failure(vendor, streamed=streamed)
    assert type(found) is CredentialsRefused
    assert found.nothing_billed
    assert found.reported == f"The fake provider answers {status}"
    assert found.reported not in found.message


@every_vendor
@both_ways
@pytest.mark.parametrize(
    "body", ["", "<html>Bad gateway</html>", "[]", "null", '{"error": 7}', "[" * 50_000]
)
async def test_error_without_message_has_default_sentence(
    wire: Wire, vendor: str, streamed: bool, body: str
) -> None:
    wire.fake.answers(status=404, body=body, headers={"content-type": "text/html"})
    found = await wire.failure(vendor, streamed=streamed)
    assert type(found) is Rejected
    assert found.message.endswith("answered with status 404")
    assert found.provider_type is None


async def test_mistral_error_names_invalid_field(wire: Wire) -> None:
    detail = [{"loc": ["body", "temperature"], "msg": "Input should be at most 1.5", "type": "x"}]
    wire.fake.answers(status=422, body={"detail": detail})
    found = await wire.failure("mistral", streamed=False)
    assert type(found) is Rejected
    assert found.message == "Input should be at most 1.5"


@every_vendor
@both_ways
async def test_rate_limit_has_retry_after(wire: Wire, vendor: str, streamed: bool) -> None:
    wire.fake.answers(status=429, headers={"retry-after": "17"})
    found = await wire.failure(vendor, streamed=streamed)
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
        ({"retry-after": "999999999"}, 999_999_999),
        ({"retry-after-ms": "1e12"}, 10**9),
    ],
)
async def test_how_long_to_wait_is_read_with_care(
    wire: Wire, headers: dict[str, str], seconds: int | None
) -> None:
    wire.fake.answers(status=429, headers=headers)
    found = await wire.failure("openai", streamed=False)
    assert found.retry_after_s == seconds


async def test_retry_after_can_be_date(wire: Wire) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    wire.fake.answers(status=429, headers={"retry-after": date})
    found = await wire.failure("anthropic", streamed=False)
    assert found.retry_after_s is not None
    assert 55 <= found.retry_after_s <= 60


async def test_google_retry_delay_is_read_from_body(wire: Wire) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33.5s"}
    error = {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
    wire.fake.answers(status=429, body={"error": error})
    found = await wire.failure("google", streamed=False)
    assert found.retry_after_s == 34


# --- what a failure says -----------------------------------------------------------------------


@every_vendor
@both_ways
@pytest.mark.parametrize(
    "message",
    [
        "Incorrect API key provided: {key}. You can find your key at ...",
        "Incorrect API key provided: sk-proj-****************6789.",
        "API key AIzaSyOthersKey000000000000 not valid",
        "Authorization: Bearer {key}",
    ],
)
async def test_failure_message_has_no_key(
    wire: Wire, vendor: str, streamed: bool, message: str
) -> None:
    wire.fake.answers(status=400, body={"error": {"message": message.format(key=KEYS[vendor])}})
    found = await wire.failure(vendor, streamed=streamed)
    assert "[key]" in found.message
    assert KEYS[vendor] not in found.message
    assert "6789" not in found.message
    assert "SyOthers" not in found.message


@every_vendor
async def test_error_with_success_status_has_no_key(wire: Wire, vendor: str) -> None:
    wire.fake.answers(body={"error": {"message": f"bad key {KEYS[vendor]}"}})
    found = await wire.failure(vendor, streamed=False)
    assert KEYS[vendor] not in found.message


@every_vendor
async def test_failure_message_is_one_short_line(wire: Wire, vendor: str) -> None:
    wire.fake.answers(status=400, body={"error": {"message": "a\nb\x00\x1b[31mc " + "long " * 500}})
    found = await wire.failure(vendor, streamed=False)
    assert found.message.startswith("a b [31mc long")
    assert len(found.message) == MESSAGE_MAX_CHARS
    assert found.message.isprintable()
