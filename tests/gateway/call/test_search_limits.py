"""Policies limit the web searches that providers run: lowered, held, and refused by 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pytest

from costs.models import Hold
from gateway.core.usage_bound import SEARCH_TOKENS
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.agents import shape
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

EURO: Final = 10**9
SONNET: Final = "claude-sonnet-4-5-20250929"
FLASH: Final = "gemini-2.5-flash"
SEARCHES: Final = "gpt-4o-search-preview"
SAY: Final = [{"role": "user", "content": "Hello"}]
GENERATE: Final = f"/v1beta/models/{FLASH}:generateContent"
RATES: Final = {
    "input_usd_per_mtok": Decimal(1),
    "output_usd_per_mtok": Decimal(1),
    "cache_read_usd_per_mtok": Decimal(1),
    "cache_write_5m_usd_per_mtok": Decimal(1),
    "cache_write_30m_usd_per_mtok": Decimal(1),
    "web_search_usd_per_k": Decimal(10),
    "web_search_preview_usd_per_k": Decimal(10),
}


@dataclass(frozen=True, slots=True)
class Searching:
    """A request that may search: its path and body, and how often without a policy's number."""

    path: str
    body: Mapping[str, Any]
    searches: int = 8
    # Of existing clients' APIs; the native one has 403.
    status: int = 400

    def ask(self, ask: Asking) -> Reply:
        """Send it."""
        return ask(dict(self.body), path=self.path)


def responses(*kinds: str) -> Searching:
    tools = [{"type": kind} for kind in kinds]
    body = {"model": "o4-mini", "input": "Hello", "tools": tools, "max_output_tokens": 50}
    return Searching("/v1/responses", body)


REQUESTS: Final = {
    "responses": responses("web_search"),
    "responses, preview": responses("web_search_preview", "tool_search"),
    "messages": Searching(
        "/v1/messages",
        {
            "model": SONNET,
            "max_tokens": 50,
            "messages": SAY,
            "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        },
        searches=5,
    ),
    "generate": Searching(
        GENERATE,
        {
            "contents": [{"parts": [{"text": "Hello"}]}],
            "tools": [{"google_search": {}}],
            "generationConfig": {"maxOutputTokens": 50},
        },
    ),
    "chat": Searching(
        "/v1/chat/completions",
        {"model": SEARCHES, "messages": SAY, "max_tokens": 50, "web_search_options": {}},
        searches=1,
    ),
    "chat, unasked": Searching(
        "/v1/chat/completions", {"model": SEARCHES, "messages": SAY, "max_tokens": 50}, searches=1
    ),
    "native, unasked": Searching(
        "/api/ai/request",
        {"model": SEARCHES, "prompt": "Hello", "maxTokens": 50},
        searches=1,
        status=403,
    ),
}
each_request = pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)


@pytest.fixture
def fake(vendors: FakeProvider) -> FakeProvider:
    """The vendors, with prices of the models that search."""
    models = {"openai": ("o4-mini", SEARCHES), "anthropic": (SONNET,), "google": (FLASH,)}
    for provider, named in models.items():
        for model in named:
            RateFactory.create(provider=provider, model=model, **RATES)
    return vendors


@pytest.fixture
def _money(acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="Money", max_cost_per_day_nanoeur=1000 * EURO)


def searches_sent(body: Mapping[str, Any]) -> int | None:
    """Return the limit of searches in a body that a vendor received, None if it has none."""
    if "max_tool_calls" in body:
        found: int = body["max_tool_calls"]
        return found
    tools = body.get("tools") or ()
    return next((tool["max_uses"] for tool in tools if "max_uses" in tool), None)


def held(row: AiRequestLog) -> int:
    return Hold.objects.get(request_id=row.id).amount_nanoeur


@pytest.mark.usefixtures("_money")
@each_request
def test_searches_have_apis_own_number_where_limit_applies(
    ask: Asking, fake: FakeProvider, request_of: Searching
) -> None:
    reply = request_of.ask(ask)
    assert reply.status == 200, reply.body
    assert row_of(reply).decision["web_searches"] == request_of.searches


@pytest.mark.usefixtures("_money")
@pytest.mark.parametrize("name", ["responses", "responses, preview", "messages"])
def test_smallest_number_of_policies_is_written_and_named(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    for policy, most in (("Many", 20), ("Few", 3), ("More", 4)):
        PolicyFactory.create(org=acme, name=policy, web_searches_per_request=most)
    row = row_of(REQUESTS[name].ask(ask))
    assert searches_sent(fake.calls[-1].body) == 3
    assert row.decision["web_searches"] == 3
    [note] = row.decision["adjustments"]
    assert note.endswith(' by policy "Few"')


@pytest.mark.usefixtures("_money")
@pytest.mark.parametrize("name", ["responses", "responses, preview", "messages"])
def test_number_of_policy_can_be_above_apis_own(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    PolicyFactory.create(org=acme, name="Many", web_searches_per_request=20)
    assert row_of(REQUESTS[name].ask(ask)).decision["web_searches"] == 20
    assert searches_sent(fake.calls[-1].body) == 20


@pytest.mark.parametrize("name", ["responses", "messages"])
def test_policy_limits_searches_where_nothing_else_is_limited(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    request_of = REQUESTS[name]
    request_of.ask(ask)
    assert searches_sent(fake.calls[-1].body) is None
    PolicyFactory.create(org=acme, web_searches_per_request=2)
    request_of.ask(ask)
    assert searches_sent(fake.calls[-1].body) == 2


@pytest.mark.usefixtures("_money")
def test_searches_of_google_are_held_at_policys_number(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    request_of = REQUESTS["generate"]
    policy = PolicyFactory.create(org=acme, name="Few", web_searches_per_request=20)
    holds = []
    for most in (20, 3):
        policy.web_searches_per_request = most
        policy.save()
        row = row_of(request_of.ask(ask))
        assert row.decision["web_searches"] == most
        holds.append(held(row))
    # 16,000 tokens at 1 USD per million and 10 USD per thousand searches, at 1.10 USD per EUR.
    each = (SEARCH_TOKENS + 10_000) * 1000 / 1.1
    assert holds[0] - holds[1] == pytest.approx(17 * each, abs=2)


@pytest.mark.usefixtures("_money")
def test_searches_of_google_above_policys_number_are_overrun(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, name="Few", web_searches_per_request=1)
    found = {
        "content": {"role": "model", "parts": [{"text": "Hi"}]},
        "finishReason": "STOP",
        "groundingMetadata": {"webSearchQueries": ["one", "two", "three"]},
    }
    fake.answers(extra_fields={"candidates": [found]}, input_tokens=60_000, output_tokens=10)
    row = row_of(REQUESTS["generate"].ask(ask))
    assert row.usage is not None
    assert row.usage["overrun_nanoeur"] == (row.cost_nanoeur or 0) - held(row) > 0


@each_request
def test_number_of_0_refuses_requests_that_could_search(
    ask: Asking, fake: FakeProvider, acme: Organization, request_of: Searching
) -> None:
    PolicyFactory.create(org=acme, name="Some", web_searches_per_request=5)
    PolicyFactory.create(org=acme, name="None", web_searches_per_request=0)
    reply = request_of.ask(ask)
    row = row_of(reply)
    assert (reply.status, row.status, row.code) == (
        request_of.status,
        "blocked",
        "web_search_limit",
    )
    assert row.error == 'Request could search the web; policy "None" allows no web searches'
    assert [each["verdict"] for each in row.decision["policies"]] == ["web_search_limit", "ok"]
    assert reply.headers.get("x-pulse-error-code", row.code) == row.code
    assert fake.calls == []
    assert not Hold.objects.exists()


def test_number_of_0_lets_requests_pass_that_cannot_search(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, web_searches_per_request=0)
    for name, kept in (
        ("responses", [{"type": "tool_search"}]),
        ("messages", [{"type": "web_fetch_20250910", "name": "web_fetch"}]),
        ("generate", [{"urlContext": {}}]),
    ):
        request_of = REQUESTS[name]
        reply = ask({**request_of.body, "tools": kept}, path=request_of.path)
        assert reply.status == 200, reply.body
        assert row_of(reply).decision["web_searches"] == 0


def test_models_that_always_search_are_not_listed_where_policy_allows_no_search(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    def listed() -> set[str]:
        models = ask(path="/v1/models", method="GET").json["data"]
        return {model["id"] for model in models}

    assert {SEARCHES, "o4-mini"} <= listed()
    PolicyFactory.create(org=acme, web_searches_per_request=0)
    assert "o4-mini" in listed()
    assert SEARCHES not in listed()
    assert ask(path=f"/v1/models/{SEARCHES}", method="GET").status == 404


def test_what_searches_add_is_not_in_policys_tokens_per_request(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, max_tokens_per_request=5_000)
    for name in ("responses", "messages", "generate", "chat, unasked"):
        assert REQUESTS[name].ask(ask).status == 200, name


@pytest.mark.usefixtures("_money")
def test_codex_searches_as_often_as_policy_allows(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    RateFactory.create(provider="openai", model="gpt-5.4", **RATES)
    PolicyFactory.create(org=acme, name="Few", web_searches_per_request=2)
    fake.answers(web_searches=20, input_tokens=9_000, output_tokens=500)
    agent = shape("codex-gpt-5.4")
    reply = ask(agent.body, path="/v1/responses", headers=agent.headers | {"accept": "*/*"})
    row = row_of(reply)
    assert (row.status, fake.calls[-1].body["max_tool_calls"]) == ("ok", 2)
    assert row.usage is not None
    assert row.usage["buckets"]["web_searches"] == 2
    assert 0 < (row.cost_nanoeur or 0) < held(row)
