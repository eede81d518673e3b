"""Requests of coding agents under a policy of 20 EUR a day: they work, and hold cents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from costs.models import Hold
from costs.prices.changes import seed
from costs.prices.seed import seed_prices
from gateway.core.usage_bound import HOSTED_CALLS_MAX
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.agents import shape
from tests.factories import PolicyFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

EURO: Final = 10**9
CENT: Final = EURO // 100
CODEX, CODEX_SEARCHING = "codex-gpt-6.1-sol", "codex-gpt-5.4"
GEMINI, GEMINI_SEARCHING = "gemini-cli-turn", "gemini-cli-web-search"
PATHS: Final = {
    CODEX: "/v1/responses",
    CODEX_SEARCHING: "/v1/responses",
    GEMINI: "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
    GEMINI_SEARCHING: "/v1beta/models/gemini-3-flash-preview:generateContent",
}
MODELS: Final = ("gpt-5.4", "gpt-6.1-sol", "gemini-3.8-flash", "gemini-3-flash-preview")


@pytest.fixture
def fake(vendors: FakeProvider, acme: Organization) -> FakeProvider:
    """The vendors at their real prices, and a policy of 20 EUR a day."""
    asked = [price for price in seed_prices() if price.model in MODELS]
    seed(prices=asked, exchange_rates=(), now=datetime.now(UTC))
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=20 * EURO)
    return vendors


def send(ask: Asking, name: str, body: Mapping[str, Any] | None = None) -> Reply:
    reply = ask(
        body or shape(name).body, path=PATHS[name], headers=shape(name).headers | {"accept": "*/*"}
    )
    assert reply.status == 200, reply.body
    return reply


def hold_of(reply: Reply) -> int:
    return Hold.objects.get(request_id=row_of(reply).id).amount_nanoeur


def searches_of(row: AiRequestLog) -> int:
    assert row.usage is not None
    found: int = row.usage["buckets"]["web_searches"]
    return found


@pytest.mark.parametrize("name", PATHS)
def test_turn_of_agent_holds_its_prompt_searches_and_cap(
    ask: Asking, fake: FakeProvider, name: str
) -> None:
    reply = send(ask, name)
    assert row_of(reply).status == "ok"
    # Most of it is the model's own cap, which is lowered where there is less room.
    assert CENT // 10 < hold_of(reply) < 250 * CENT


def test_turn_with_tool_call_and_second_turn_of_codex(ask: Asking, fake: FakeProvider) -> None:
    called = {"name": "exec", "arguments": {"cmd": "ls"}}
    fake.answers(tool_calls=(called,), input_tokens=9000, output_tokens=40)
    first = send(ask, CODEX)
    output = first.events[-1].data["response"]["output"]
    assert [item["type"] for item in output] == ["function_call"]
    assert row_of(first).finish_reason == "tool_calls"
    result = {"type": "function_call_output", "call_id": output[0]["call_id"], "output": "a.py"}
    body = shape(CODEX).body
    second = send(ask, CODEX, body | {"input": [*body["input"], *output, result]})
    assert row_of(second).status == "ok"
    assert hold_of(second) < 150 * CENT
    assert fake.calls[-1].body["input"][-1] == result


def test_task_of_subagent_of_codex_holds_its_text(ask: Asking, fake: FakeProvider) -> None:
    """The provider encrypts it, so that only a model can read it."""
    plain = send(ask, CODEX)
    body, size = shape(CODEX).body, 1000
    task = {
        "type": "agent_message",
        "id": "amsg_1",
        "author": "/root",
        "recipient": "/root/helper",
        "content": [
            {"type": "input_text", "text": "Message Type: NEW_TASK"},
            {"type": "encrypted_content", "encrypted_content": "x" * size},
        ],
        "internal_chat_message_metadata_passthrough": {"turn_id": "turn_1"},
    }
    reply = send(ask, CODEX, body | {"input": [*body["input"], task]})
    assert 0 < hold_of(reply) - hold_of(plain) < CENT
    assert fake.calls[-1].body["input"][-1] == task


def test_searches_of_codex_are_limited_held_and_charged(ask: Asking, fake: FakeProvider) -> None:
    fake.answers(web_searches=20, input_tokens=60_000, output_tokens=500)
    reply = send(ask, CODEX_SEARCHING)
    [call] = fake.calls
    row, asked = row_of(reply), shape(CODEX_SEARCHING).body
    assert call.body["max_tool_calls"] == HOSTED_CALLS_MAX
    assert call.body["tools"] == asked["tools"]
    assert row.decision["adjustments"] == [f"max_tool_calls is sent as {HOSTED_CALLS_MAX}"]
    assert searches_of(row) == HOSTED_CALLS_MAX
    # 60,000 x 2.50 and 500 x 15 USD per million, and 8 of 10 USD per thousand: at 1.10 USD.
    assert row.cost_nanoeur == pytest.approx((0.15 + 0.0075 + 0.08) / 1.1 * EURO, abs=1)
    assert (row.cost_nanoeur or 0) < hold_of(reply)


def test_searches_without_limit_are_sent_as_asked(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    acme.policies.all().delete()
    send(ask, CODEX_SEARCHING)
    assert "max_tool_calls" not in fake.calls[0].body


def test_bill_above_hold_of_searches_is_charged(ask: Asking, fake: FakeProvider) -> None:
    fake.answers(web_searches=8, input_tokens=900_000, output_tokens=500)
    reply = send(ask, CODEX_SEARCHING)
    row = row_of(reply)
    hold = Hold.objects.get(request_id=row.id)
    assert row.cost_nanoeur == hold.charged_nanoeur
    assert row.usage is not None
    assert row.usage["overrun_nanoeur"] == hold.charged_nanoeur - hold.amount_nanoeur > 0


def test_searches_of_gemini_are_held_and_charged(ask: Asking, fake: FakeProvider) -> None:
    found = {
        "content": {"role": "model", "parts": [{"text": "Hi"}]},
        "finishReason": "STOP",
        "groundingMetadata": {"webSearchQueries": ["one", "two", ""]},
    }
    fake.answers(extra_fields={"candidates": [found]}, input_tokens=8000, output_tokens=10)
    reply = send(ask, GEMINI_SEARCHING)
    assert searches_of(row_of(reply)) == 2
    assert 2 * 14 * EURO // 1100 < (row_of(reply).cost_nanoeur or 0) < hold_of(reply)


@pytest.mark.parametrize("name", [CODEX, CODEX_SEARCHING])
def test_headers_of_codex_are_sent(ask: Asking, fake: FakeProvider, name: str) -> None:
    send(ask, name)
    [call] = fake.calls
    for header, value in shape(name).headers.items():
        is_own = header in ("accept", "content-type", "user-agent")
        assert is_own or call.headers[header] == value, header


def test_headers_of_accounts_are_kept_back(ask: Asking, fake: FakeProvider) -> None:
    private = {
        "openai-organization": "org-1",
        "openai-project": "proj_1",
        "chatgpt-account-id": "1",
        "x-openai-actor-authorization": "Bearer 1",
        "x-oai-attestation": "1",
        "x-openai-service-tier": "priority",
        "x-forwarded-user": "ann",
        "cookie": "a=b",
    }
    headers = private | {"openai-beta": "responses_multi_agent=v1, responses=v2"}
    ask({"model": "gpt-4o-mini", "input": "Hi"}, path="/v1/responses", headers=headers)
    [call] = fake.calls
    assert call.headers.keys().isdisjoint(private)
    assert call.headers["openai-beta"] == "responses=v2"
