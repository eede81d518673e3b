"""What clients and rows get when a provider refuses, fails or cannot be reached."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from costs.models import Hold
from gateway.call.runtime import Gateway
from gateway.providers.registry import Providers
from orgs.models import Organization
from tests.factories import AliasFactory
from tests.fake_provider import FakeProvider, closed_port
from tests.fake_provider.vendors import KEYS, settings_at
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.every_way import (
    CLAUDE,
    FLASH,
    GPT,
    MESSAGES,
    RELAYED,
    TRANSLATED,
    VENDOR_OF,
    chat,
    error_in,
    every_way,
    upstream_id_in,
)

pytestmark = pytest.mark.django_db(transaction=True)


# --- a provider's own error -------------------------------------------------------------------

# https://developers.openai.com/api/docs/guides/error-codes,
# https://platform.claude.com/docs/en/api/errors,
# https://ai.google.dev/gemini-api/docs/troubleshooting
OWN: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "openai": (503, {"error": {"message": "Slow down", "type": "server_error", "code": None}}),
    "anthropic": (
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ),
    "google": (503, {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}),
    "mistral": (
        500,
        {"object": "error", "message": "Service unavailable", "type": "internal_server_error"},
    ),
}


@pytest.mark.parametrize("vendor", OWN)
@pytest.mark.parametrize("status", [None, 400, 404, 408, 429, 500, 502, 504, 520])
def test_own_error_is_relayed_unchanged(
    ask: Asking, vendors: FakeProvider, vendor: str, status: int | None
) -> None:
    usual, body = OWN[vendor]
    status = status or usual
    vendors.answers(status=status, body=json.dumps(body, indent=1))
    reply = ask(**RELAYED[vendor])
    assert reply.status == status
    assert reply.body == json.dumps(body, indent=1).encode()
    is_unknown = status in {408, 504}
    row = row_of(reply)
    assert row.status == ("unknown" if is_unknown else "error")
    assert row.cost_nanoeur == (row.hold_nanoeur if is_unknown else 0)


@pytest.mark.parametrize("way", TRANSLATED.values(), ids=list(TRANSLATED))
@pytest.mark.parametrize("status", [None, 400, 500, 504])
def test_translated_own_error_keeps_status_type_and_message(
    ask: Asking, vendors: FakeProvider, way: dict[str, Any], status: int | None
) -> None:
    vendor = "anthropic" if way["body"]["model"] == CLAUDE else "google"
    usual, body = OWN[vendor]
    vendors.answers(status=status or usual, body=body)
    reply = ask(**way)
    assert reply.status == (status or usual)
    own: Any = body["error"]
    assert error_in(reply) == {
        "message": own["message"],
        "type": own.get("status") or own["type"],
        "param": None,
        "code": reply.headers["x-pulse-error-code"],
    }


@every_way
def test_own_error_has_no_key_of_ours(
    ask: Asking, vendors: FakeProvider, way: dict[str, Any]
) -> None:
    vendor = VENDOR_OF[way["body"].get("model", FLASH)]
    key = KEYS[vendor]
    error = {"message": f"key {key}", "type": key, "status": key, "code": key}
    for status in (400, 401, 429, 500, 504):
        vendors.answers(status=status, body={"error": error}, headers={"request-id": key})
        reply = ask(**way)
        assert key[-8:] not in reply.body.decode() + str(reply.headers) + str(row_of(reply).error)


@pytest.mark.parametrize("way", [chat(GPT), MESSAGES, chat(CLAUDE)], ids=["a", "b", "c"])
def test_own_retry_headers_are_returned_and_quotas_are_not(
    ask: Asking, vendors: FakeProvider, way: dict[str, Any]
) -> None:
    week_s = 7 * 24 * 3600
    vendor = "openai" if way["body"]["model"] == GPT else "anthropic"
    headers = {"retry-after": str(week_s), "x-should-retry": "true"}
    quotas = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-limit-tokens-minute": "9",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-unified-status": "rejected",
    }
    own_id = {"request-id": "req_of_the_vendor"}
    vendors.answers(status=429, body=OWN[vendor][1], headers={**headers, **quotas, **own_id})
    reply = ask(**way)
    assert reply.status == 429
    assert {name: reply.headers[name] for name in headers} == headers
    assert not quotas.keys() & reply.headers.keys()
    assert reply.headers["x-pulse-upstream-request-id"] == "req_of_the_vendor"
    assert upstream_id_in(row_of(reply)) == "req_of_the_vendor"


def test_native_api_keeps_its_own_statuses(ask: Asking, vendors: FakeProvider) -> None:
    for model, vendor in ((GPT, "openai"), (CLAUDE, "anthropic")):
        vendors.answers(status=529, body=OWN[vendor][1])
        reply = ask({"model": model, "prompt": "hi", "maxTokens": 50})
        assert reply.refusal[:2] == (502, "provider_error")


# --- a proxy's error --------------------------------------------------------------------------

HTML: Final = "<html><body><h1>Error 520</h1></body></html>"
CLOUDFLARE_JSON: Final = {
    "type": "https://developers.cloudflare.com/support/",
    "title": "Error 520: Web server is returning an unknown error",
    "status": 520,
    "detail": "The origin web server returned an invalid response.",
}


@every_way
@pytest.mark.parametrize("status", [500, 502, 503, 520, 521, 522, 523, 524, 530])
@pytest.mark.parametrize("body", [HTML, CLOUDFLARE_JSON], ids=["HTML", "JSON"])
def test_proxy_error_is_unknown_and_charged(
    ask: Asking, vendors: FakeProvider, way: dict[str, Any], status: int, body: Any
) -> None:
    vendors.answers(
        status=status, body=body, headers={"retry-after": "1", "x-should-retry": "true"}
    )
    reply = ask(**way)
    assert reply.status == (504 if status == 524 else 502)
    assert reply.headers["x-should-retry"] == "false"
    assert "cloudflare" not in reply.body.decode().lower()
    row = row_of(reply)
    assert row.status == "unknown"
    assert row.cost_nanoeur == row.hold_nanoeur
    assert (row.cost_nanoeur or 0) > 0
    assert len(vendors.calls) == 1


@pytest.mark.parametrize("status", [502, 503, 520, 524])
@pytest.mark.parametrize("stream", [False, True])
def test_proxy_error_is_not_followed_by_fallback(
    ask: Asking, vendors: FakeProvider, acme: Organization, status: int, stream: bool
) -> None:
    AliasFactory.create(org=acme, name="fast", models=[GPT, CLAUDE], retries=3)
    vendors.answers(times=0, status=status, body=HTML)
    reply = ask(**chat("fast", stream=stream))
    assert reply.status in {502, 504}
    assert [call.vendor for call in vendors.calls] == ["openai"]
    [hold] = Hold.objects.all()
    assert hold.state == "unknown"


@pytest.mark.parametrize("reset", ["before", "after"])
def test_broken_connection_says_not_to_retry(
    ask: Asking, vendors: FakeProvider, reset: str
) -> None:
    vendors.answers(reset=reset)
    reply = ask(**chat(GPT))
    assert (reply.status, reply.headers["x-should-retry"]) == (502, "false")


# --- unreachable ------------------------------------------------------------------------------


OBSTACLES: Final = {
    "http://provider.invalid": "the host name could not be resolved",
    "http://127.0.0.1:{closed}": "the connection was refused",
    "https://127.0.0.1:{plain}": "the TLS handshake failed",
}


@pytest.fixture
def base_url(request: pytest.FixtureRequest, vendors: FakeProvider, gateway: Gateway) -> str:
    """A base URL that cannot be reached, as that of OpenAI and Anthropic; as it is in OBSTACLES."""
    named: str = request.param
    plain = vendors.base_url("openai").split("/")[2].partition(":")[2]
    url = named.format(closed=closed_port(), plain=plain)
    gateway.providers = Providers(settings_at({"openai": url, "anthropic": url}), sandbox=False)
    return named


@pytest.mark.parametrize("way", [chat(GPT), chat(CLAUDE)], ids=["relayed", "translated"])
@pytest.mark.parametrize("base_url", OBSTACLES, indirect=True)
def test_unreachable_provider_names_obstacle(
    ask: Asking,
    vendors: FakeProvider,
    caplog: pytest.LogCaptureFixture,
    way: dict[str, Any],
    base_url: str,
) -> None:
    reply = ask(**way)
    assert reply.status == 503
    assert reply.headers["x-pulse-error-code"] == "provider_unavailable"
    assert "x-should-retry" not in reply.headers  # nothing was sent: clients may repeat it
    row = row_of(reply)
    assert (row.status, row.code, row.cost_nanoeur) == ("error", "provider_unavailable", 0)
    assert OBSTACLES[base_url] in (row.error or "")
    assert row.error == error_in(reply)["message"]
    host = base_url.partition("//")[2].partition(":")[0]
    assert host in caplog.text  # the log names the host, the answer does not
    assert host not in reply.body.decode()
    assert vendors.calls == []


def test_proxy_authentication_error_names_proxy(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(status=407, body=HTML)
    reply = ask(**chat(GPT))
    assert reply.status == 503
    assert "the proxy refused the connection with status 407" in error_in(reply)["message"]
