"""Refusals by limits in the words of each API: status, type, headers, and what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from pytest_django import Settings

from costs.core.rate_limits import UNITS
from costs.models import Hold, RateBucket
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog, Policy
from orgs.models import Organization
from tests.factories import BudgetFactory, PolicyFactory
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import Reply, Visit

pytestmark = pytest.mark.django_db(transaction=True)

EUR: Final = 10**9
LEFT: Final = "x-pulse-budget-remaining-eur"


@dataclass(frozen=True, slots=True)
class Client:
    """A client's API with a request of it, and its words: status, type, code or none."""

    path: str
    body: dict[str, Any]
    model: tuple[int, str, str | None]
    request: tuple[int, str, str | None]
    spent: tuple[int, str, str | None]
    held: tuple[int, str, str | None]
    disabled: tuple[int, str, str | None]

    def words(self, reply: Reply) -> tuple[int, str, str | None]:
        """Return the words of an error."""
        error = reply.json["error"]
        if "status" in error:
            assert error["code"] == reply.status
            return reply.status, error["status"], None
        return reply.status, error["type"], error.get("code")


def openai(path: str, body: dict[str, Any]) -> Client:
    return Client(
        path=path,
        body=body,
        model=(404, "invalid_request_error", "model_not_found"),
        request=(400, "invalid_request_error", "token_limit"),
        spent=(429, "insufficient_quota", "insufficient_quota"),
        held=(429, "rate_limit_error", "rate_limit_exceeded"),
        disabled=(403, "permission_error", "gateway_disabled"),
    )


def google(method: str) -> Client:
    contents = [{"parts": [{"text": "Say hello"}]}]
    return Client(
        path=f"/v1beta/models/gemini-2.0-flash:{method}",
        body={"contents": contents, "generationConfig": {"maxOutputTokens": 50}},
        model=(400, "INVALID_ARGUMENT", None),
        request=(400, "INVALID_ARGUMENT", None),
        spent=(429, "RESOURCE_EXHAUSTED", None),
        held=(429, "RESOURCE_EXHAUSTED", None),
        disabled=(403, "PERMISSION_DENIED", None),
    )


MESSAGES: Final = [{"role": "user", "content": "Say hello"}]
CHAT: Final = {"model": "sandbox-small", "messages": MESSAGES, "max_tokens": 50}
ANTHROPIC: Final = Client(
    path="/v1/messages",
    body={"model": "claude-3-5-sonnet-20241022", "messages": MESSAGES, "max_tokens": 50},
    model=(400, "invalid_request_error", None),
    request=(400, "invalid_request_error", None),
    spent=(429, "billing_error", None),
    held=(429, "rate_limit_error", None),
    disabled=(403, "permission_error", None),
)
CLIENTS: Final = {
    "chat": openai("/v1/chat/completions", CHAT),
    "chat, streamed": openai("/v1/chat/completions", CHAT | {"stream": True}),
    "responses": openai(
        "/v1/responses", {"model": "gpt-4o-mini", "input": "Say hello", "max_output_tokens": 50}
    ),
    "messages": ANTHROPIC,
    "generate": google("generateContent"),
    "generate, streamed": google("streamGenerateContent?alt=sse"),
}
each_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


@pytest.fixture(autouse=True)
def _every_provider_is_configured(gateway: Gateway) -> None:
    gateway.providers = Only(StandIn())


@pytest.fixture
def running(gateway: Gateway, acme: Organization, api_key: str) -> Iterator[Callable[[], int]]:
    """Return a function that starts a call, which goes on until the end, and returns its hold."""
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)
    Organization.objects.update(on_disconnect=Organization.OnDisconnect.DRAIN)

    def start() -> int:
        body = b'{"model": "sandbox-large", "prompt": "Say hello", "maxTokens": 16384}'
        headers = [("x-pulse-key", api_key.encode()), ("content-type", b"application/json")]
        leaves = Visit(
            "POST",
            "/api/ai/request",
            headers,
            body,
            leaves_when=lambda _: provider.reached.is_set(),
        )
        leaves.run()
        amount: int = Hold.objects.get(state=Hold.State.HELD).amount_nanoeur
        return amount

    yield start
    provider.may_end.set()
    until(lambda: not gateway.tasks)


def limit(acme: Organization, nanoeur: int) -> None:
    Policy.objects.all().delete()
    PolicyFactory.create(org=acme, name="P", max_cost_per_day_nanoeur=nanoeur, wait_s=1)


def row_of(reply: Reply) -> AiRequestLog:
    return AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])


@each_client
def test_spent_limit_is_quota_that_is_not_asked_again(
    ask: Asking, acme: Organization, client: Client
) -> None:
    limit(acme, 1)
    reply = ask(client.body, path=client.path)
    assert client.words(reply) == client.spent
    assert 'policy "P" allows 0.000000001 EUR per day' in reply.json["error"]["message"]
    assert reply.headers["x-pulse-error-code"] == "daily_cost_limit"
    assert reply.headers["x-should-retry"] == "false"
    assert 1 <= int(reply.headers["retry-after"]) <= 86_400
    assert reply.headers["retry-after-ms"] == "0"  # an agent that obeyed the other would hang
    assert reply.headers[LEFT] == "0.000000001"
    assert (row_of(reply).status, row_of(reply).code) == ("blocked", "daily_cost_limit")


@pytest.mark.parametrize("originator", ["codex_exec", "codex-tui", "codex_vscode", "Codex Desktop"])
def test_sentence_of_spent_limit_is_where_codex_shows_it(
    ask: Asking, acme: Organization, originator: str
) -> None:
    """It shows no sentence of an `insufficient_quota` but its own."""
    Policy.objects.all().delete()
    PolicyFactory.create(org=acme, name="Größe\n中", max_cost_per_day_nanoeur=1)
    client, asked_at = CLIENTS["responses"], int(time.time())
    reply = ask(client.body, path=client.path, headers={"originator": originator})
    assert client.words(reply) == (429, "usage_limit_reached", "insufficient_quota")
    error = reply.json["error"]
    assert 'policy "Größe\n中" allows 0.000000001 EUR per day' in error["message"]
    shown = error["message"].replace("Größe\n中", "Gro?e??")
    assert reply.headers["x-codex-promo-message"] == shown
    refused_at = error["resets_at"] - int(reply.headers["retry-after"])
    assert asked_at <= refused_at <= time.time()
    assert reply.headers["x-should-retry"] == "false"


def test_only_final_refusals_are_in_words_of_codex(
    ask: Asking, acme: Organization, running: Callable[[], int]
) -> None:
    client, headers = CLIENTS["responses"], {"originator": "codex_exec"}
    limit(acme, EUR)
    limit(acme, running() + 1)
    held = ask(client.body, path=client.path, headers=headers)
    assert client.words(held) == client.held
    PolicyFactory.create(org=acme, blocked_models=["*"])
    blocked = ask(client.body, path=client.path, headers=headers)
    assert client.words(blocked) == client.model
    for reply in (held, blocked):
        assert "x-codex-promo-message" not in reply.headers
        assert "resets_at" not in reply.json["error"]


@each_client
def test_room_held_by_calls_in_flight_is_rate_limit_after_wait(
    ask: Asking, acme: Organization, running: Callable[[], int], client: Client
) -> None:
    limit(acme, EUR)
    limit(acme, running() + 1)
    reply = ask(client.body, path=client.path)
    assert client.words(reply) == client.held
    assert reply.headers["x-pulse-error-code"] == row_of(reply).code == "rate_limited"
    assert row_of(reply).decision["waited"]["ms"] >= 1_000
    assert reply.headers.keys().isdisjoint({"x-should-retry", "retry-after-ms"})
    assert reply.headers["retry-after"] == "1"
    assert reply.headers[LEFT] == "0.000000001"


@each_client
def test_spent_budget_counts_before_limit_that_calls_in_flight_keep_full(
    ask: Asking, acme: Organization, running: Callable[[], int], client: Client
) -> None:
    limit(acme, EUR)
    limit(acme, running() + 1)
    BudgetFactory.create(org=acme, name="Tiny", limit_nanoeur=2, is_hard=True)
    reply = ask(client.body, path=client.path)
    assert client.words(reply) == client.spent
    assert reply.headers["x-pulse-error-code"] == "budget_limit"
    assert 'budget "Tiny"' in reply.json["error"]["message"]
    assert reply.headers["x-should-retry"] == "false"
    decision = row_of(reply).decision
    assert [each["verdict"] for each in decision["policies"]] == ["rate_limited"]
    assert [each["verdict"] for each in decision["budgets"]] == ["budget_limit"]


def test_wait_is_in_details_of_googles_error(
    ask: Asking, acme: Organization, running: Callable[[], int]
) -> None:
    client = CLIENTS["generate"]
    limit(acme, EUR)
    limit(acme, running() + 1)
    kind = "type.googleapis.com/google.rpc.RetryInfo"
    held = ask(client.body, path=client.path)
    assert held.json["error"]["details"] == [{"@type": kind, "retryDelay": "1s"}]
    limit(acme, 1)
    spent = ask(client.body, path=client.path)
    wait = f"{spent.headers['retry-after']}s"
    assert spent.json["error"]["details"] == [{"@type": kind, "retryDelay": wait}]


@each_client
@pytest.mark.parametrize("policy", [{"blocked_models": ["*"]}, {"allowed_models": ["no-other"]}])
def test_model_that_may_not_be_used_is_in_clients_words(
    ask: Asking, acme: Organization, client: Client, policy: dict[str, Any]
) -> None:
    PolicyFactory.create(org=acme, name="P", **policy)
    reply = ask(client.body, path=client.path)
    assert client.words(reply) == client.model
    assert 'by policy "P"' in reply.json["error"]["message"]
    code = "model_blocked" if "blocked_models" in policy else "model_not_allowed"
    assert reply.headers["x-pulse-error-code"] == row_of(reply).code == code
    assert "retry-after" not in reply.headers


@each_client
def test_too_many_tokens_are_invalid_request(
    ask: Asking, acme: Organization, client: Client
) -> None:
    PolicyFactory.create(org=acme, name="P", max_tokens_per_request=20)
    reply = ask(client.body, path=client.path)
    assert client.words(reply) == client.request
    assert 'policy "P" allows 20 per request' in reply.json["error"]["message"]
    assert reply.headers["x-pulse-error-code"] == "token_limit"


def test_model_without_price_is_invalid_request(ask: Asking) -> None:
    for client, change in (("chat", "gpt-99"), ("messages", "claude-99"), ("generate", None)):
        asked = CLIENTS[client]
        path = asked.path.replace("gemini-2.0-flash", "gemini-99-flash")
        reply = ask(asked.body | ({"model": change} if change else {}), path=path)
        assert (reply.status, reply.headers["x-pulse-error-code"]) == (400, "model_unpriced")
        assert asked.words(reply)[1] == asked.request[1]


@each_client
def test_disabled_organization_is_forbidden(ask: Asking, client: Client) -> None:
    Organization.objects.update(ai_gateway_enabled=False)
    reply = ask(client.body, path=client.path)
    assert client.words(reply) == client.disabled


def test_native_api_tells_held_from_spent_by_status(
    ask: Asking, acme: Organization, running: Callable[[], int]
) -> None:
    limit(acme, EUR)
    limit(acme, running() + 1)
    asked = {"model": "sandbox-small", "prompt": "Say hello", "maxTokens": 50}
    held = ask(asked)
    assert held.refusal[:2] == (429, "rate_limited")
    assert held.headers["retry-after"] == "1"
    assert held.headers[LEFT] == "0.000000001"
    limit(acme, 1)
    assert ask(asked).refusal[:2] == (403, "daily_cost_limit")


# --- where it is shown, and what is left ----------------------------------------------------------


@each_client
def test_refusal_names_page_of_request(
    ask: Asking, acme: Organization, settings: Settings, client: Client
) -> None:
    limit(acme, 1)
    assert "requestUrl" not in ask(client.body, path=client.path).json
    settings.PULSE_URL = "https://ai.example.org"
    reply = ask(client.body, path=client.path)
    assert reply.json["requestUrl"] == f"https://ai.example.org/r/{row_of(reply).id}"


def test_native_refusal_names_page_of_request_that_has_row(
    ask: Asking, acme: Organization, gateway: Gateway, settings: Settings
) -> None:
    settings.PULSE_URL = "https://ai.example.org"
    asked = {"model": "no-such", "prompt": "Hi"}
    reply = ask(asked)
    assert reply.json["requestUrl"] == f"https://ai.example.org/r/{reply.json['requestId']}"
    for other in (
        ask(asked, path="/api/ai/quote"),
        ask(asked, key="pulse_wrong"),
        ask(method="GET", path="/api/ai/requests/nothing"),
    ):
        assert "requestUrl" not in other.json
    gateway.waiting_max = 0
    assert ask(asked).json.keys() == {"success", "error", "code", "requestId"}


def test_answers_say_what_is_left_in_tightest_limit(ask: Asking, acme: Organization) -> None:
    chat = {"model": "sandbox-small", "messages": MESSAGES, "max_tokens": 50}
    path = "/v1/chat/completions"
    assert LEFT not in ask(chat, path=path).headers
    BudgetFactory.create(org=acme, name="Counts only", limit_nanoeur=1, is_hard=False)
    assert LEFT not in ask(chat, path=path).headers
    limit(acme, EUR)
    spent = 0
    for body in (chat, chat | {"stream": True}):
        reply = ask(body, path=path)
        row = row_of(reply)
        others = AiRequestLog.objects.exclude(id=row.id).values_list("cost_nanoeur", flat=True)
        before = sum(cost or 0 for cost in others)
        assert row.hold_nanoeur is not None
        left = EUR - before - row.hold_nanoeur
        assert reply.status == 200
        assert Decimal(reply.headers[LEFT]) == Decimal(left) / EUR
        spent += row.cost_nanoeur or 0
    BudgetFactory.create(org=acme, name="Tight", limit_nanoeur=EUR // 2, is_hard=True)
    native = ask({"model": "sandbox-small", "prompt": "Hi", "maxTokens": 50})
    assert Decimal(native.headers[LEFT]) < Decimal("0.5")
    assert spent > 0


@each_client
def test_request_over_rate_is_rate_limit(
    ask: Asking, acme: Organization, client: Client, gateway: Gateway
) -> None:
    policy = PolicyFactory.create(org=acme, name="P", requests_per_minute=2, wait_s=0)
    RateBucket.objects.create(
        org=acme,
        scope=f"policy:{policy.id}",
        requests_taken=2 * UNITS,
        refilled_at=datetime.now(UTC),
    )
    reply = ask(client.body, path=client.path)
    assert client.words(reply) == client.held
    sentence = 'Request exceeds 2 requests per minute of policy "P"; retry in '
    assert reply.json["error"]["message"].startswith(sentence)
    assert 1 <= int(reply.headers["retry-after"]) <= 30
    assert "x-should-retry" not in reply.headers
    assert reply.headers["x-pulse-error-code"] == "rate_limited"
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"
