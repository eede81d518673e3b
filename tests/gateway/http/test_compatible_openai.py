"""Responses and embeddings: bytes, charges, rows, limits."""

from __future__ import annotations

from typing import Any

import pytest

from costs.models import Hold
from gateway.core.usage_bound import HOSTED_CALLS_MAX, SEARCH_TOKENS
from orgs.models import Organization
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply
from tests.vendor_rules.mistral import body as mistral

pytestmark = pytest.mark.django_db(transaction=True)

RESPONSES, EMBEDDINGS = "/v1/responses", "/v1/embeddings"
CHAT = "/v1/chat/completions"
PROMPT = "Say hello to everyone"
ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "input": PROMPT}
SEARCH = {"type": "web_search"}
EURO_NANOEUR = 10**9


@pytest.fixture
def embedders(prices: object) -> None:
    """Price an embedding model of each vendor that has one."""
    for provider, model in (
        ("openai", "text-embedding-3-small"),
        ("mistral", "mistral-embed"),
        ("google", "gemini-embedding-001"),
    ):
        RateFactory.create(
            provider=provider, model=model, input_usd_per_mtok="0.11", output_usd_per_mtok="0"
        )


def refused(reply: Reply) -> tuple[int, str, str]:
    error = reply.json["error"]
    return reply.status, error["code"], error["message"]


# --- responses --------------------------------------------------------------------------------


def test_response_is_relayed_and_charged(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(input_tokens=100, output_tokens=10, cached_tokens=40, reasoning_tokens=4)
    reply = ask(ASKED, path=RESPONSES)
    row = row_of(reply)
    assert reply.json["output"][0]["content"][0]["text"] == PROMPT
    assert (row.status, row.channel, row.finish_reason) == ("ok", "responses", "stop")
    assert (row.input_tokens, row.output_tokens) == (100, 10)
    # 100 x 0.15 and 10 x 0.60 USD per million, at 1.10 USD per EUR.
    assert row.cost_nanoeur == 19_091
    assert reply.headers["x-pulse-cost-eur"] == "0.000019091"
    [call] = vendors.calls
    assert call.body["service_tier"] == "default"
    assert "store" not in call.body  # as the client asks


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_stream_is_relayed_and_charged_for_every_outcome(
    status: str, ask: Asking, vendors: FakeProvider
) -> None:
    vendors.answers(finish_reason=status, input_tokens=100, output_tokens=10)
    reply = ask(ASKED | {"stream": True}, path=RESPONSES)
    row = row_of(reply)
    assert reply.body.count(b"event: ") == reply.body.count(b"data: ") > 5
    assert f"event: response.{status}\n".encode() in reply.body
    assert (row.status, row.cost_nanoeur) == ("ok", 19_091)


def test_stream_without_usage_is_charged_by_its_output(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(no_usage=True)
    row = row_of(ask(ASKED | {"stream": True, "max_output_tokens": 50}, path=RESPONSES))
    hold = Hold.objects.get(request_id=row.id)
    assert row.status == "unknown"
    assert 0 < (row.estimated_nanoeur or 0) == (row.cost_nanoeur or 0) < hold.amount_nanoeur


def test_broken_stream_ends_with_error_that_clients_raise(
    ask: Asking, vendors: FakeProvider
) -> None:
    vendors.answers(cut_after_bytes=1_500)
    reply = ask(ASKED | {"stream": True}, path=RESPONSES)
    last = reply.events[-1]
    assert (last.name, last.data["type"]) == ("response.failed", "response.failed")
    assert last.data["error"]["code"] == "provider_error"
    failed = last.data["response"]["error"]
    assert (failed["code"], failed["message"]) == ("server_error", last.data["error"]["message"])
    assert row_of(reply).status == "unknown"


def test_limit_writes_cap_into_request(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, max_tokens_per_request=1000)
    assert ask(ASKED, path=RESPONSES).status == 200
    assert 900 < vendors.calls[0].body["max_output_tokens"] < 1000


def test_searches_are_limited_if_limit_applies(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    searching = ASKED | {"tools": [SEARCH], "max_output_tokens": 50}
    assert ask(searching, path=RESPONSES).status == 200
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=100 * EURO_NANOEUR)
    holds = []
    for asked, calls in ((None, HOSTED_CALLS_MAX), (2, 2), (50, HOSTED_CALLS_MAX)):
        reply = ask(searching | {"max_tool_calls": asked}, path=RESPONSES)
        assert reply.status == 200
        assert vendors.calls[-1].body["max_tool_calls"] == calls
        holds.append(Hold.objects.get(request_id=row_of(reply).id).amount_nanoeur)
    # Each search has a fee, of 50 USD per thousand without a price of its own, and its tokens.
    each = SEARCH_TOKENS * 0.15 / 1.10 * 1000 + 0.05 / 1.10 * EURO_NANOEUR
    assert holds[0] - holds[1] == pytest.approx((HOSTED_CALLS_MAX - 2) * each, abs=2)
    assert holds[0] == holds[2] < 9 * each


@pytest.mark.parametrize(
    "changes",
    [
        {"background": True},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        {"model": "claude-3-5-sonnet-20241022"},
        {"model": "sandbox-small"},
    ],
    ids=str,
)
def test_refused_request_leaves_row_and_is_not_sent(
    changes: dict[str, Any], ask: Asking, vendors: FakeProvider
) -> None:
    reply = ask(ASKED | changes, path=RESPONSES)
    assert (reply.status, refused(reply)[1]) == (400, "invalid_request")
    assert row_of(reply).status == "blocked"
    assert not vendors.calls


def test_providers_error_keeps_its_message(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(status=404, body={"error": {"message": "No such model", "code": "gone"}})
    reply = ask(ASKED, path=RESPONSES)
    assert refused(reply) == (404, "gone", "No such model")
    assert (row_of(reply).status, row_of(reply).cost_nanoeur) == ("error", 0)


# --- embeddings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", ["text-embedding-3-small", "mistral-embed", "gemini-embedding-001"]
)
def test_every_vendors_embeddings_are_in_openais_format_and_charged(
    model: str, ask: Asking, vendors: FakeProvider, embedders: None
) -> None:
    reply = ask({"model": model, "input": [PROMPT, "Bye"]}, path=EMBEDDINGS)
    row = row_of(reply)
    assert [each["index"] for each in reply.json["data"]] == [0, 1]
    assert all(isinstance(each["embedding"], list) for each in reply.json["data"])
    assert reply.json["usage"]["prompt_tokens"] == row.input_tokens
    assert (row.status, row.channel, row.output_tokens) == ("ok", "embeddings", 0)
    # 0.11 USD per million tokens at 1.10 USD per EUR are 100 nano-euro a token.
    assert row.cost_nanoeur == (row.input_tokens or 0) * 100 > 0


def test_embeddings_hold_only_their_input(
    ask: Asking, vendors: FakeProvider, acme: Organization, embedders: None
) -> None:
    frame_tokens = 7  # what stands around a message and around the whole, as in a chat
    PolicyFactory.create(org=acme, max_tokens_per_request=10 + frame_tokens)
    asked = {"model": "text-embedding-3-small", "input": list(range(1, 11))}
    assert ask(asked, path=EMBEDDINGS).status == 200
    more = asked | {"input": list(range(1, 12))}
    assert refused(ask(more, path=EMBEDDINGS))[:2] == (400, "token_limit")
    assert len(vendors.calls) == 1


def test_embeddings_of_tokens_are_held_by_their_text_where_they_become_one(
    ask: Asking, vendors: FakeProvider, acme: Organization, embedders: None
) -> None:
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=EURO_NANOEUR)
    held = {}
    for model in ("text-embedding-3-small", "mistral-embed"):
        reply = ask({"model": model, "input": [15339, 1917]}, path=EMBEDDINGS)
        assert reply.status == 200, reply.json
        held[model] = Hold.objects.get(request_id=row_of(reply).id).amount_nanoeur
    assert vendors.calls[1].body["input"] == ["hello world"]
    # 11 bytes in place of 2 tokens, at 0.11 USD per million and 1.10 USD per EUR
    assert held["mistral-embed"] - held["text-embedding-3-small"] == 9 * 100


# --- adjustments ------------------------------------------------------------------------------

USER = {"role": "user", "content": PROMPT}


@pytest.fixture
def reasoners(prices: object) -> None:
    """Price a reasoning model of OpenAI."""
    RateFactory.create(provider="openai", model="o3", input_usd_per_mtok=2, output_usd_per_mtok=8)


def reported(reply: Reply) -> list[str]:
    found: list[str] = row_of(reply).decision["adjustments"]
    return found


def test_what_model_refuses_is_not_relayed_and_in_trace(
    ask: Asking, vendors: FakeProvider, reasoners: None
) -> None:
    asked = {"model": "o3", "messages": [USER], "temperature": 0.2, "max_tokens": 50}
    reply = ask(asked, path=CHAT)
    assert reply.status == 200, reply.json
    [call] = vendors.calls
    assert not {"temperature", "max_tokens"} & call.body.keys()
    assert call.body["max_completion_tokens"] == 50
    assert reported(reply) == [
        "max_tokens is sent as max_completion_tokens",
        "temperature is omitted",
    ]


def test_native_temperature_of_reasoning_model_is_omitted(
    ask: Asking, vendors: FakeProvider, reasoners: None
) -> None:
    reply = ask({"model": "o3", "prompt": PROMPT, "temperature": 0.2})
    assert (reply.status, reply.json["success"]) == (200, True)
    assert "temperature" not in vendors.calls[0].body
    assert reported(reply) == ["temperature is omitted"]


@pytest.mark.parametrize("streamed", [False, True])
def test_request_in_openais_format_is_relayed_as_mistral_takes_it(
    streamed: bool, ask: Asking, vendors: FakeProvider
) -> None:
    asked = {"model": "mistral-large-latest", "messages": [USER], "stream": streamed, "seed": 1}
    asked |= {"user": "ann", "stream_options": {"include_usage": True}, "max_completion_tokens": 9}
    reply = ask(asked, path=CHAT)
    assert reply.status == 200
    [call] = vendors.calls
    assert mistral.faults(call.body) == []
    assert (call.body["random_seed"], call.body["max_tokens"]) == (1, 9)
    assert reported(reply) == [
        "max_completion_tokens is sent as max_tokens",
        "user is omitted",
        "seed is sent as random_seed",
    ]


def test_refused_adjustment_leaves_row_and_is_not_sent(ask: Asking, vendors: FakeProvider) -> None:
    asked = {"model": "mistral-large-latest", "messages": [USER], "logit_bias": {"1": 1}}
    reply = ask(asked, path=CHAT)
    status, code, message = refused(reply)
    assert (status, code) == (400, "invalid_request")
    assert message.startswith("logit_bias is not supported by model mistral-large-latest")
    assert row_of(reply).code == "invalid_request"
    assert not vendors.calls
