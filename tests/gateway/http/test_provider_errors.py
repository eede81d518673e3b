"""What clients, rows and operators get when a provider refuses, fails or cannot be reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.utils.timezone import now

from costs.models import Hold
from costs.prices.exchange_rates import utc_day
from gateway.alerts.evaluate import EvaluationCache, evaluate
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog, Alert, RefusedCredentials
from gateway.providers.registry import Providers
from orgs.models import Organization
from tests.factories import AliasFactory, ProviderFactory
from tests.fake_provider import VENDORS, FakeProvider, closed_port
from tests.fake_provider.vendors import KEYS, settings_at
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

TURNS: Final = [{"role": "user", "content": "Say hello"}]
CHAT: Final = "/v1/chat/completions"
CLAUDE, GPT, FLASH, MISTRAL = (
    "claude-3-5-sonnet-20241022",
    "gpt-4o-mini",
    "gemini-2.0-flash",
    "mistral-large-latest",
)

VENDOR_OF: Final = {CLAUDE: "anthropic", GPT: "openai", FLASH: "google", MISTRAL: "mistral"}


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"path": CHAT, "body": {"model": model, "messages": TURNS, "max_tokens": 50} | more}


MESSAGES: Final[dict[str, Any]] = {
    "path": "/v1/messages",
    "body": {"model": CLAUDE, "messages": TURNS, "max_tokens": 50},
}
GENERATE: Final[dict[str, Any]] = {
    "path": f"/v1beta/models/{FLASH}:generateContent",
    "body": {
        "contents": [{"role": "user", "parts": [{"text": "Say hello"}]}],
        "generationConfig": {"maxOutputTokens": 50},
    },
}
# Each way of a call: relayed to the vendor of its own format, or translated.
RELAYED: Final = {
    "openai": chat(GPT),
    "anthropic": MESSAGES,
    "google": GENERATE,
    "mistral": chat(MISTRAL),
}
TRANSLATED: Final = {
    "anthropic": chat(CLAUDE),
    "anthropic streamed": chat(CLAUDE, stream=True),
    "google": chat(FLASH),
    "google streamed": chat(FLASH, stream=True),
}
EVERY_WAY: Final = {**{f"{name} relayed": way for name, way in RELAYED.items()}, **TRANSLATED}
every_way = pytest.mark.parametrize("way", EVERY_WAY.values(), ids=list(EVERY_WAY))


@pytest.fixture
def fake(gateway: Gateway, api_key: str) -> Iterator[FakeProvider]:
    """All vendors, at the fake provider."""
    with FakeProvider() as running:
        base_urls = {vendor: running.base_url(vendor) for vendor in VENDORS}
        gateway.providers = Providers(settings_at(base_urls), sandbox=True)
        yield running
        gateway.call_loop.call_sync(gateway.providers.aclose())


def row_of(reply: Reply) -> AiRequestLog:
    return AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])


def upstream_id_in(row: AiRequestLog) -> object:
    return (row.usage or {})["upstream_request_id"]


def error_in(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = reply.json["error"]
    return found


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
    ask: Asking, fake: FakeProvider, vendor: str, status: int | None
) -> None:
    usual, body = OWN[vendor]
    status = status or usual
    fake.answers(status=status, body=json.dumps(body, indent=1))
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
    ask: Asking, fake: FakeProvider, way: dict[str, Any], status: int | None
) -> None:
    vendor = "anthropic" if way["body"]["model"] == CLAUDE else "google"
    usual, body = OWN[vendor]
    fake.answers(status=status or usual, body=body)
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
def test_own_error_has_no_key_of_ours(ask: Asking, fake: FakeProvider, way: dict[str, Any]) -> None:
    vendor = VENDOR_OF[way["body"].get("model", FLASH)]
    key = KEYS[vendor]
    error = {"message": f"key {key}", "type": key, "status": key, "code": key}
    for status in (400, 401, 429, 500, 504):
        fake.answers(status=status, body={"error": error}, headers={"request-id": key})
        reply = ask(**way)
        assert key[-8:] not in reply.body.decode() + str(reply.headers) + str(row_of(reply).error)


@pytest.mark.parametrize("way", [chat(GPT), MESSAGES, chat(CLAUDE)], ids=["a", "b", "c"])
def test_own_retry_headers_are_returned_and_quotas_are_not(
    ask: Asking, fake: FakeProvider, way: dict[str, Any]
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
    fake.answers(status=429, body=OWN[vendor][1], headers={**headers, **quotas, **own_id})
    reply = ask(**way)
    assert reply.status == 429
    assert {name: reply.headers[name] for name in headers} == headers
    assert not quotas.keys() & reply.headers.keys()
    assert reply.headers["x-pulse-upstream-request-id"] == "req_of_the_vendor"
    assert upstream_id_in(row_of(reply)) == "req_of_the_vendor"


def test_native_api_keeps_its_own_statuses(ask: Asking, fake: FakeProvider) -> None:
    for model, vendor in ((GPT, "openai"), (CLAUDE, "anthropic")):
        fake.answers(status=529, body=OWN[vendor][1])
        reply = ask({"model": model, "prompt": "hi", "maxTokens": 50})
        assert reply.refusal[:2] == (502, "provider_error")


# --- our own key ------------------------------------------------------------------------------

_LEAKED: Final = "Your API key was reported as leaked. Please use another API key."
_INVALID: Final = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
KEY_REFUSALS: Final = {
    "OpenAI: incorrect key": (
        chat(GPT),
        401,
        {
            "error": {
                "message": "Incorrect API key provided: sk-x",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        },
    ),
    "OpenAI: country": (
        chat(GPT),
        403,
        {
            "error": {
                "message": "Country, region, or territory not supported",
                "type": "request_forbidden",
                "code": "unsupported_country_region_territory",
            }
        },
    ),
    "OpenAI: missing scope": (
        chat(GPT),
        403,
        {"error": {"message": "Missing scopes", "type": "invalid_request_error", "code": None}},
    ),
    "Anthropic: invalid key": (
        MESSAGES,
        401,
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid"}},
    ),
    "Anthropic: permission": (
        MESSAGES,
        403,
        {"type": "error", "error": {"type": "permission_error", "message": "no permission"}},
    ),
    "Anthropic: translated": (
        chat(CLAUDE),
        401,
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid"}},
    ),
    "Google: invalid key": (
        GENERATE,
        400,
        {
            "error": {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
                "details": [_INVALID],
            }
        },
    ),
    "Google: leaked key": (
        GENERATE,
        403,
        {"error": {"code": 403, "message": _LEAKED, "status": "PERMISSION_DENIED"}},
    ),
    "Google: translated": (
        chat(FLASH, stream=True),
        400,
        {
            "error": {
                "code": 400,
                "message": "API key expired. Please renew the API key.",
                "status": "INVALID_ARGUMENT",
                "details": [_INVALID],
            }
        },
    ),
    "Mistral: Kong's": (chat(MISTRAL), 401, {"message": "Unauthorized", "request_id": "1"}),
    "a proxy's": (chat(GPT), 401, "<html>Sign in</html>"),
}


@pytest.mark.parametrize(("way", "status", "body"), KEY_REFUSALS.values(), ids=list(KEY_REFUSALS))
def test_refused_key_is_not_blamed_on_client(
    ask: Asking, fake: FakeProvider, way: dict[str, Any], status: int, body: Any
) -> None:
    fake.answers(status=status, body=body)
    reply = ask(**way)
    assert reply.status == 502
    assert reply.headers["x-pulse-error-code"] == "provider_credentials"
    assert reply.headers["x-should-retry"] == "false"
    assert "www-authenticate" not in reply.headers
    message = error_in(reply)["message"]
    assert f"refused the credentials of this gateway (status {status})" in message
    for theirs in ("Incorrect", "valid", "leaked", "Missing scopes", "Unauthorized"):
        assert theirs not in reply.body.decode()
    row = row_of(reply)
    assert (row.status, row.code, row.cost_nanoeur) == ("error", "provider_credentials", 0)
    assert row.error == message


def test_native_api_names_refused_key_too(ask: Asking, fake: FakeProvider) -> None:
    fake.answers(status=401)
    reply = ask({"model": GPT, "prompt": "hi", "maxTokens": 50})
    assert reply.refusal[:2] == (502, "provider_credentials")


def test_model_without_access_keeps_its_403(ask: Asking, fake: FakeProvider) -> None:
    error = {
        "message": "Project `proj_0123456789` does not have access to model `gpt-4o-mini`",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
    fake.answers(status=403, body={"error": error})
    reply = ask(**chat(GPT))
    assert reply.status == 403
    assert error_in(reply)["code"] == "model_not_found"
    assert "proj_" not in reply.body.decode()
    assert not RefusedCredentials.objects.exists()


def test_refused_key_alerts_operators_once_daily(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    for _ in range(3):
        fake.answers(status=401)
        reply = ask(**chat(GPT))
    fake.answers(status=403)
    ask(**MESSAGES)
    moment = row_of(reply).occurred_at
    kind = Alert.Kind.PROVIDER_CREDENTIALS
    raised = [alert for alert in evaluate(moment, EvaluationCache()) if alert.kind == kind]
    assert {alert.figures["provider"] for alert in raised} == {"openai", "anthropic"}
    assert all("providers check" in alert.sentence for alert in raised)
    assert evaluate(moment, EvaluationCache()) == []


def test_refused_key_of_organizations_row_alerts_no_others(
    gateway: Gateway, acme: Organization, globex: Organization
) -> None:
    for name, org in (("shared", None), ("own", acme)):
        ProviderFactory.create(name=name, org=org)
        today = utc_day(now())
        RefusedCredentials.objects.create(id=f"{name}:{today}", provider=name, on_date=today)
    raised = evaluate(now(), EvaluationCache())
    assert {alert.figures.get("provider") for alert in raised} - {None} == {"shared"}


def test_refused_key_is_noted_if_fallback_answers(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    AliasFactory.create(org=acme, name="fast", models=[FLASH, CLAUDE])
    fake.answers(vendor="google", status=400, body=KEY_REFUSALS["Google: invalid key"][2])
    assert ask(**chat("fast")).status == 200
    assert RefusedCredentials.objects.get().provider == "google"


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
    ask: Asking, fake: FakeProvider, way: dict[str, Any], status: int, body: Any
) -> None:
    fake.answers(status=status, body=body, headers={"retry-after": "1", "x-should-retry": "true"})
    reply = ask(**way)
    assert reply.status == (504 if status == 524 else 502)
    assert reply.headers["x-should-retry"] == "false"
    assert "cloudflare" not in reply.body.decode().lower()
    row = row_of(reply)
    assert row.status == "unknown"
    assert row.cost_nanoeur == row.hold_nanoeur
    assert (row.cost_nanoeur or 0) > 0
    assert len(fake.calls) == 1


@pytest.mark.parametrize("status", [502, 503, 520, 524])
@pytest.mark.parametrize("stream", [False, True])
def test_proxy_error_is_not_followed_by_fallback(
    ask: Asking, fake: FakeProvider, acme: Organization, status: int, stream: bool
) -> None:
    AliasFactory.create(org=acme, name="fast", models=[GPT, CLAUDE], retries=3)
    fake.answers(times=0, status=status, body=HTML)
    reply = ask(**chat("fast", stream=stream))
    assert reply.status in {502, 504}
    assert [call.vendor for call in fake.calls] == ["openai"]
    [hold] = Hold.objects.all()
    assert hold.state == "unknown"


@pytest.mark.parametrize("reset", ["before", "after"])
def test_broken_connection_says_not_to_retry(ask: Asking, fake: FakeProvider, reset: str) -> None:
    fake.answers(reset=reset)
    reply = ask(**chat(GPT))
    assert (reply.status, reply.headers["x-should-retry"]) == (502, "false")


# --- unreachable ------------------------------------------------------------------------------


OBSTACLES: Final = {
    "http://provider.invalid": "the host name could not be resolved",
    "http://127.0.0.1:{closed}": "the connection was refused",
    "https://127.0.0.1:{plain}": "the TLS handshake failed",
}


@pytest.fixture
def base_url(request: pytest.FixtureRequest, fake: FakeProvider, gateway: Gateway) -> str:
    """A base URL that cannot be reached, as that of OpenAI and Anthropic; as it is in OBSTACLES."""
    named: str = request.param
    plain = fake.base_url("openai").split("/")[2].partition(":")[2]
    url = named.format(closed=closed_port(), plain=plain)
    gateway.providers = Providers(settings_at({"openai": url, "anthropic": url}), sandbox=False)
    return named


@pytest.mark.parametrize("way", [chat(GPT), chat(CLAUDE)], ids=["relayed", "translated"])
@pytest.mark.parametrize("base_url", OBSTACLES, indirect=True)
def test_unreachable_provider_names_obstacle(
    ask: Asking,
    fake: FakeProvider,
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
    assert fake.calls == []


def test_proxy_authentication_error_names_proxy(ask: Asking, fake: FakeProvider) -> None:
    fake.answers(status=407, body=HTML)
    reply = ask(**chat(GPT))
    assert reply.status == 503
    assert "the proxy refused the connection with status 407" in error_in(reply)["message"]


# --- request ids ------------------------------------------------------------------------------


def assert_identified(reply: Reply) -> None:
    own_id = reply.headers["x-pulse-request-id"]
    assert (reply.headers["x-request-id"], reply.headers["request-id"]) == (own_id, own_id)


@every_way
def test_answers_and_errors_have_gateways_id(
    ask: Asking, fake: FakeProvider, way: dict[str, Any]
) -> None:
    answered = ask(**way)
    assert answered.status == 200
    assert_identified(answered)
    assert upstream_id_in(row_of(answered)) == "req_fake"
    if not way["body"].get("stream"):
        assert answered.headers["x-pulse-upstream-request-id"] == "req_fake"
    fake.answers(status=500)
    assert_identified(ask(**way))


@every_way
def test_text_in_place_of_vendors_id_is_dropped(
    ask: Asking, fake: FakeProvider, way: dict[str, Any]
) -> None:
    fake.answers(status=400, headers={"x-request-id": "Say-hello"})
    reply = ask(**way)
    assert "x-pulse-upstream-request-id" not in reply.headers
    assert upstream_id_in(row_of(reply)) is None


def test_relayed_stream_has_both_ids(ask: Asking, fake: FakeProvider) -> None:
    reply = ask(**chat(GPT, stream=True))
    assert_identified(reply)
    assert reply.headers["x-pulse-upstream-request-id"] == "req_fake"


@pytest.mark.parametrize("path", [CHAT, MESSAGES["path"], GENERATE["path"], "/v1/embeddings"])
def test_refusals_without_row_have_request_id(ask: Asking, fake: FakeProvider, path: str) -> None:
    refusals = {
        401: ask({}, path=path, key="pulse_x"),
        400: ask(b"{", path=path),
        415: ask(b"{}", path=path, headers={"content-type": "text/plain"}),
        405: ask(method="DELETE", path=path),
        404: ask({}, path="/v1/no/such/path"),
    }
    for status, reply in refusals.items():
        assert reply.status == status, path
        assert_identified(reply)


def test_model_lists_have_request_id(ask: Asking, fake: FakeProvider) -> None:
    for path in ("/v1/models", f"/v1/models/{GPT}", "/v1beta/models", "/v1/models/none"):
        assert_identified(ask(method="GET", path=path))


def test_native_api_has_no_vendor_id_headers(ask: Asking, fake: FakeProvider) -> None:
    reply = ask({"model": GPT, "prompt": "hi", "maxTokens": 50})
    assert reply.status == 200
    assert not {"x-request-id", "request-id"} & reply.headers.keys()
