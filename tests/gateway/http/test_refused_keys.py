"""What clients, rows and operators get when a provider refuses our own key."""

from __future__ import annotations

from typing import Any, Final

import pytest
from django.utils.timezone import now

from costs.prices.exchange_rates import utc_day
from gateway.alerts.evaluate import EvaluationCache, evaluate
from gateway.call.runtime import Gateway
from gateway.models import Alert, RefusedCredentials
from orgs.models import Organization
from tests.factories import AliasFactory, ProviderFactory
from tests.fake_provider import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.every_way import (
    CLAUDE,
    FLASH,
    GENERATE,
    GPT,
    MESSAGES,
    MISTRAL,
    chat,
    error_in,
)

pytestmark = pytest.mark.django_db(transaction=True)


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
    ask: Asking, vendors: FakeProvider, way: dict[str, Any], status: int, body: Any
) -> None:
    vendors.answers(status=status, body=body)
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


def test_native_api_names_refused_key_too(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(status=401)
    reply = ask({"model": GPT, "prompt": "hi", "maxTokens": 50})
    assert reply.refusal[:2] == (502, "provider_credentials")


def test_model_without_access_keeps_its_403(ask: Asking, vendors: FakeProvider) -> None:
    error = {
        "message": "Project `proj_0123456789` does not have access to model `gpt-4o-mini`",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
    vendors.answers(status=403, body={"error": error})
    reply = ask(**chat(GPT))
    assert reply.status == 403
    assert error_in(reply)["code"] == "model_not_found"
    assert "proj_" not in reply.body.decode()
    assert not RefusedCredentials.objects.exists()


def test_refused_key_alerts_operators_once_daily(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    for _ in range(3):
        vendors.answers(status=401)
        reply = ask(**chat(GPT))
    vendors.answers(status=403)
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
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    AliasFactory.create(org=acme, name="fast", models=[FLASH, CLAUDE])
    vendors.answers(vendor="google", status=400, body=KEY_REFUSALS["Google: invalid key"][2])
    assert ask(**chat("fast")).status == 200
    assert RefusedCredentials.objects.get().provider == "google"
