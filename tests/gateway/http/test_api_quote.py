"""Quotes: whether a request would be allowed and what it would hold, without sending it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from costs.models import CostEvent, Hold, Period
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.factories import PolicyFactory
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
EUR = 10**9
FIELDS = {
    "success",
    "allowed",
    "code",
    "error",
    "provider",
    "model",
    "inputTokens",
    "outputCap",
    "boundEur",
    "expectedEur",
    "outcome",
    "waitS",
    "waitsFor",
    "limits",
}


def quote(ask: Asking, **changes: Any) -> Any:
    reply = ask(HELLO | changes, path="/api/ai/quote")
    assert reply.status == 200
    assert set(reply.json) == FIELDS
    assert "x-pulse-request-id" in reply.headers
    assert reply.json["success"] is True
    assert reply.json["allowed"] is (reply.json["code"] is None)
    assert (reply.json["outcome"] == "refused") <= (not reply.json["allowed"])
    return reply.json


def test_quote_has_documented_fields(ask_both: Asking, acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="Production Policy", max_cost_per_day_nanoeur=50 * EUR)
    assert quote(ask_both, maxTokens=1000) == {
        "success": True,
        "allowed": True,
        "code": None,
        "error": None,
        "provider": "sandbox",
        "model": "sandbox-small",
        "inputTokens": 9,
        "outputCap": 1000,
        "boundEur": 0.000557591,  # (9 bytes + 16 + 64) x 0.15 + 1000 x 0.60, over 1.10
        "expectedEur": 0.000140864,  # 9 in, 256 out: the model has not been used yet
        "outcome": "admitted",
        "waitS": None,
        "waitsFor": [],
        "limits": [
            {
                "policy": "Production Policy",
                "limitEur": 50.0,
                "chargedEur": 0.0,
                "heldEur": 0.0,
                "leftEur": 50.0,
            }
        ],
    }


def test_quote_writes_nothing_and_calls_no_provider(ask: Asking, gateway: Gateway) -> None:
    provider = StandIn()
    gateway.providers = Only(provider)
    for changes in ({}, {"model": "gpt-99"}, {"model": "no-such"}, {"surprise": 1}):
        ask(HELLO | changes, path="/api/ai/quote", headers={"idempotency-key": "x"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM idempotency_key")
        assert cursor.fetchone() == (0,)
    for rows in (AiRequestLog, Hold, Period, CostEvent):
        assert not rows.objects.exists()
    assert not provider.asked


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_tokens_per_request": 5000},
        {"max_cost_per_day_nanoeur": EUR},
        {"max_tokens_per_request": 700, "max_cost_per_day_nanoeur": 10 * EUR},
    ],
)
def test_bound_equals_hold_of_request_with_this_body(
    ask: Asking, acme: Organization, limits: dict[str, int]
) -> None:
    PolicyFactory.create(org=acme, **limits)
    for changes in (
        {},
        {"maxTokens": 17},
        {"prompt": "naïve 日本語 🙂" * 20},
        {"model": "sandbox-large", "temperature": 1},
    ):
        asked = quote(ask, **changes)
        reply = ask(HELLO | changes)
        assert reply.status == 200
        held = AiRequestLog.objects.get(id=reply.json["requestId"]).hold_nanoeur
        assert held == round(asked["boundEur"] * EUR)


def test_quote_shows_tightened_bound(ask: Asking, gateway: Gateway, acme: Organization) -> None:
    gateway.providers = Only(StandIn())
    body = {"model": "gpt-4o-mini", "prompt": "word " * 2000, "maxTokens": 10}
    by_bytes = ask(body, path="/api/ai/quote").json["boundEur"]
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=round(by_bytes * EUR) - 1)
    asked = ask(body, path="/api/ai/quote").json
    assert asked["allowed"]
    assert asked["boundEur"] < by_bytes
    reply = ask(body)
    assert reply.status == 200
    row = AiRequestLog.objects.get()
    assert row.hold_nanoeur == round(asked["boundEur"] * EUR)
    assert row.decision["bound_by"] == "tokens"


def test_quote_has_refusal_of_request(ask: Asking, acme: Organization) -> None:
    policy = PolicyFactory.create(org=acme, name="P", blocked_models=["sandbox-large"])
    PolicyFactory.create(org=acme, name="T", max_tokens_per_request=5000)
    PolicyFactory.create(org=acme, name="C", max_cost_per_day_nanoeur=500_000)
    for changes in (
        {"model": "sandbox-large"},
        {"maxTokens": 4992},
        {"maxTokens": 4000},
        {"model": "gpt-99"},
        {"model": "gpt-4o-mini", "maxTokens": 5},
    ):
        asked, reply = quote(ask, **changes), ask(HELLO | changes)
        assert not asked["allowed"]
        assert (asked["code"], asked["error"]) == reply.refusal[1:]
    policy.delete()
    assert quote(ask, model="sandbox-large", maxTokens=5)["allowed"]
    Organization.objects.update(ai_gateway_enabled=False)
    asked = quote(ask)
    assert (asked["code"], asked["error"]) == ask(HELLO).refusal[1:]
    assert asked["code"] == "gateway_disabled"


def test_quoted_room_is_live(ask: Asking, acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="C", max_cost_per_day_nanoeur=EUR)
    PolicyFactory.create(org=acme, name="D", max_cost_per_day_nanoeur=2 * EUR)
    PolicyFactory.create(org=acme, name="none")
    ask(HELLO)
    limits = quote(ask)["limits"]
    assert [limit["policy"] for limit in limits] == ["C", "D"]
    assert [limit["chargedEur"] for limit in limits] == [0.000002319] * 2
    assert [limit["leftEur"] for limit in limits] == [0.999997681, 1.999997681]


def test_expected_cost_uses_recent_output_lengths(ask: Asking, gateway: Gateway) -> None:
    gateway.providers = Only(StandIn())  # answers of two tokens
    for _ in range(3):
        ask(HELLO)
    assert quote(ask)["expectedEur"] == 0.000002319
    assert quote(ask, maxTokens=1)["expectedEur"] == 0.000001773


def test_invalid_quote_body_is_refused_like_request(ask_both: Asking) -> None:
    for body in ({}, HELLO | {"x": 1}, HELLO | {"model": "no-such"}, b"{", HELLO | {"teamId": 3}):
        asked = ask_both(body, path="/api/ai/quote")
        assert asked.status == 400
        assert asked.refusal == ask_both(body).refusal
    headers = {"content-type": "text/plain"}
    assert ask_both(HELLO, path="/api/ai/quote", headers=headers).status == 415
