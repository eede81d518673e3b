"""Each refusal and failure: status, code, exact sentence and Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from costs.models import CostEvent, Hold, Period
from gateway.call.runtime import Gateway
from gateway.core import errors
from gateway.core.providers import TimeLimits
from gateway.models import AiRequestLog, Policy
from orgs.models import Organization
from tests.factories import PolicyFactory
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import Reply, Visit

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
EUR = 10**9


def policy(acme: Organization, **limits: Any) -> Policy:
    made: Policy = PolicyFactory.create(org=acme, name="Production Policy", **limits)
    return made


def was_recorded(reply: Reply, *, status: str = "blocked", cost_nanoeur: int = 0) -> None:
    """Check the one audit row of a request that was not answered."""
    row = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])
    assert reply.json["requestId"] == str(row.id)
    assert (row.status, row.code, row.error) == (status, *reply.refusal[1:])
    assert row.cost_nanoeur == cost_nanoeur
    assert row.completed_at is not None
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()


def test_disabled_gateway_refuses_every_request(ask_both: Asking, acme: Organization) -> None:
    Organization.objects.update(ai_gateway_enabled=False)
    sentence = 'AI Gateway is not enabled for organization "Acme"'
    for body in (HELLO, {}, HELLO | {"model": "no-such"}, b"{"):
        reply = ask_both(body)
        assert reply.refusal == (403, "gateway_disabled", sentence)
        was_recorded(reply)
    Organization.objects.update(ai_gateway_enabled=True)
    assert ask_both(HELLO).status == 200


def test_blocked_model_is_refused_with_requested_name(ask: Asking, acme: Organization) -> None:
    policy(acme, blocked_models=["sandbox-small"])
    for name in ("sandbox-small", " SANDBOX-Small\n", "sandbox/sandbox-small"):
        reply = ask(HELLO | {"model": name})
        sentence = f'Model {name.strip()} is blocked by policy "Production Policy"'
        assert reply.refusal == (403, "model_blocked", sentence)
        assert "retry-after" not in reply.headers
        was_recorded(reply)
    assert ask(HELLO | {"model": "sandbox-large"}).status == 200


def test_model_not_on_allow_list_is_refused(ask: Asking, acme: Organization) -> None:
    policy(acme, allowed_models=["sandbox-l*"])
    sentence = 'Model sandbox-small is not allowed by policy "Production Policy"'
    reply = ask(HELLO)
    assert reply.refusal == (403, "model_not_allowed", sentence)
    was_recorded(reply)
    assert ask(HELLO | {"model": "sandbox-large"}).status == 200


def test_token_limit_applies_to_counted_input_plus_output_cap(
    ask: Asking, acme: Organization
) -> None:
    policy(acme, max_tokens_per_request=20)
    assert ask(HELLO | {"maxTokens": 11}).status == 200  # and 9 of input
    reply = ask(HELLO | {"maxTokens": 12})
    sentence = 'Request needs up to 21 tokens; policy "Production Policy" allows 20 per request'
    assert reply.refusal == (403, "token_limit", sentence)
    was_recorded(reply)


def test_default_cap_is_tightest_policys_room_and_is_sent(
    ask: Asking, acme: Organization, gateway: Gateway
) -> None:
    policy(acme, max_tokens_per_request=20)
    PolicyFactory.create(org=acme, name="wide", max_tokens_per_request=100)
    provider = StandIn()
    gateway.providers = Only(provider)
    assert ask(HELLO).status == 200
    assert ask(HELLO | {"maxTokens": 3}).status == 200
    assert [call.max_output_tokens for call in provider.asked] == [11, 3]
    Policy.objects.all().delete()
    assert ask(HELLO).status == 200
    assert provider.asked[-1].max_output_tokens is None


def test_spent_daily_limit_refuses_until_organizations_day_ends(
    ask: Asking, acme: Organization
) -> None:
    policy(acme, max_cost_per_day_nanoeur=3_000)
    reply = ask(HELLO | {"maxTokens": 10_000})
    sentence = (
        "Request could cost up to 0.004481 EUR; "  # at the least cap, 8,192
        'policy "Production Policy" allows 0.000003 EUR per day and 0.000003 EUR are left'
    )
    assert reply.refusal == (403, "daily_cost_limit", sentence)
    was_recorded(reply)
    tomorrow = datetime.now(ZoneInfo("Europe/Paris")).date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, datetime.min.time(), ZoneInfo("Europe/Paris"))
    wait_s = (midnight - datetime.now(UTC)).total_seconds()
    assert wait_s <= int(reply.headers["retry-after"]) <= wait_s + 30
    assert not CostEvent.objects.exists()


def test_room_held_by_calls_in_flight_has_retry_after_of_one_second(
    ask: Asking, acme: Organization, gateway: Gateway, api_key: str
) -> None:
    bound = ask(HELLO, path="/api/ai/quote").json["boundEur"]
    policy(acme, max_cost_per_day_nanoeur=round(bound * EUR * 1.5), wait_s=0)
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)
    body = b'{"model": "sandbox-small", "prompt": "Say hello", "maxTokens": 16384}'
    headers = [("x-pulse-key", api_key.encode()), ("content-type", b"application/json")]
    gone = Visit(
        "POST", "/api/ai/request", headers, body, leaves_when=lambda _: provider.reached.is_set()
    )
    Organization.objects.update(on_disconnect=Organization.OnDisconnect.DRAIN)
    gone.run()
    reply = ask(HELLO | {"maxTokens": 16384})
    assert reply.refusal[:2] == (429, "rate_limited")
    assert reply.headers["retry-after"] == "1"
    provider.may_end.set()
    until(lambda: not gateway.tasks)
    assert ask(HELLO | {"maxTokens": 1000}).status == 200


def test_limit_can_be_reached_exactly_and_not_exceeded(ask: Asking, acme: Organization) -> None:
    limit = policy(acme, max_cost_per_day_nanoeur=EUR)
    asked = HELLO | {"maxTokens": 10}
    bound = round(ask(asked, path="/api/ai/quote").json["boundEur"] * EUR)
    for nanoeur, status in ((bound - 1, 403), (bound, 200)):
        limit.max_cost_per_day_nanoeur = nanoeur
        limit.save()
        assert ask(asked).status == status
    period = Period.objects.get()
    assert (period.settled_nanoeur, period.held_nanoeur) == (2_319, 0)


def test_limit_of_zero_refuses_every_request(ask: Asking, acme: Organization) -> None:
    policy(acme, max_cost_per_day_nanoeur=0)
    assert "allows 0.00 EUR per day and 0.00 EUR are left" in ask(HELLO).json["error"]


def test_checks_run_in_order_block_allow_tokens_cost(ask: Asking, acme: Organization) -> None:
    everything = policy(
        acme,
        blocked_models=["sandbox-*"],
        allowed_models=["gpt-4o"],
        max_tokens_per_request=1,
        max_cost_per_day_nanoeur=0,
    )
    codes = []
    for lifted in ("blocked_models", "allowed_models", "max_tokens_per_request", "none"):
        codes.append(ask(HELLO).json["code"])
        if lifted != "none":
            setattr(everything, lifted, [] if lifted.endswith("models") else None)
            everything.save()
    assert codes == ["model_blocked", "model_not_allowed", "token_limit", "daily_cost_limit"]


def test_disabled_policy_has_no_effect(ask: Asking, acme: Organization) -> None:
    policy(acme, blocked_models=["*"], mode="off")
    assert ask(HELLO).status == 200


@pytest.mark.parametrize(
    ("model", "status", "code", "sentence"),
    [
        (
            "gpt-99",
            403,
            "model_unpriced",
            "Model gpt-99 has no price; an administrator must set one",
        ),
        ("x-y", 400, "unknown_model", 'Model "x-y" is not known to this gateway'),
        (
            "mistral/gpt-4",
            400,
            "unknown_model",
            'Model "mistral/gpt-4" is not known to this gateway',
        ),
    ],
)
def test_unpriced_and_unknown_models_are_refused(
    ask: Asking, model: str, status: int, code: str, sentence: str
) -> None:
    reply = ask(HELLO | {"model": model})
    assert reply.refusal == (status, code, sentence)
    was_recorded(reply)


def test_provider_without_key_is_503(ask: Asking) -> None:
    reply = ask(HELLO | {"model": "gpt-4o-mini"})
    sentence = 'Provider "OpenAI" is not configured; set OPENAI_API_KEY'
    assert reply.refusal == (503, "provider_not_configured", sentence)
    was_recorded(reply, status="error")


@pytest.mark.parametrize(
    ("failure", "wait"),
    [
        (errors.RateLimited("slow down", retry_after_s=34), "34"),
        (errors.RateLimited("slow down"), "1"),
        (errors.Rejected("bad tokens", provider_status=400), None),
        (errors.Unreachable("no route"), None),
    ],
)
def test_unbilled_failure_costs_nothing(
    ask: Asking, gateway: Gateway, failure: errors.ProviderFailed, wait: str | None
) -> None:
    gateway.providers = Only(StandIn(pieces=(), failure=failure))
    expected = {
        "provider_rate_limited": 429,
        "provider_error": 502,
        "provider_unavailable": 503,
    }
    for fields in ({}, {"stream": True}):
        reply = ask(HELLO | fields)
        assert reply.refusal == (expected[failure.code], failure.code, failure.message)
        assert reply.headers.get("retry-after") == wait
        was_recorded(reply, status="error")
    assert not CostEvent.objects.exists()


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (errors.TimedOut("no answer"), 504, "provider_timeout"),
        (errors.Broken("it broke off"), 502, "provider_error"),
    ],
)
def test_failure_with_unknown_bill_costs_its_bound(
    ask: Asking, gateway: Gateway, failure: errors.ProviderFailed, status: int, code: str
) -> None:
    gateway.providers = Only(StandIn(pieces=(), failure=failure))
    bound = round(ask(HELLO, path="/api/ai/quote").json["boundEur"] * EUR)
    for fields in ({}, {"stream": True}):
        reply = ask(HELLO | fields)
        assert reply.refusal == (status, code, failure.message)
        was_recorded(reply, status="unknown", cost_nanoeur=bound)
    assert [event.amount_nanoeur for event in CostEvent.objects.all()] == [bound, bound]


def test_silent_provider_times_out(ask: Asking, gateway: Gateway) -> None:
    provider = StandIn(waits=True)
    gateway.providers = Only(provider, limits=TimeLimits(total_s=0.2))
    reply = ask(HELLO)
    sentence = "The provider's answer was not complete within 0.2 s"
    assert reply.refusal == (504, "provider_timeout", sentence)
    assert provider.closed.is_set()


def test_stopping_gateway_refuses_new_requests(ask: Asking, gateway: Gateway) -> None:
    gateway.is_stopping = True
    reply = ask(HELLO)
    assert reply.refusal[:2] == (503, "ledger_unavailable")
    assert reply.headers["retry-after"] == "1"
    assert ask(method="GET", path="/readyz").status == 503
    assert ask(method="GET", path="/healthz").status == 200
