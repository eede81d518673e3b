"""Calls to providers that are rows: names, dialects, quirks, and what a change of a row does."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from costs.models import CostEvent
from gateway.models import AiRequestLog, Provider
from orgs.models import Organization
from tests.factories import OrganizationFactory, ProviderFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}


@pytest.fixture
def row(vendors: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Provider]:
    """Make a row at the fake provider, with prices of a model `m`."""
    monkeypatch.setenv("ANOTHER_SECRET", "another")

    def made(name: str = "local", **fields: Any) -> Provider:
        RateFactory.create(provider=name, model="m")
        ordinary: dict[str, Any] = {
            "base_url": vendors.base_url("openai"),
            "auth": "bearer",
            "allow_loopback": True,
            "dialects": ["chat", "responses", "embeddings"],
            "secret": "row-secret-canary",
        }
        return ProviderFactory.create(name=name, **ordinary | fields)

    return made


def last_row() -> AiRequestLog:
    return AiRequestLog.objects.order_by("-occurred_at")[0]


def sent(vendors: FakeProvider) -> dict[str, Any]:
    """Return the body of the last request."""
    body: dict[str, Any] = vendors.calls[-1].body
    return body


@pytest.mark.parametrize("streamed", [False, True])
def test_row_is_called_by_prefix_and_charged(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider, streamed: bool
) -> None:
    row()
    reply = ask({"model": "Local/m", "stream": streamed, **HELLO}, path=CHAT)
    assert reply.status == 200, reply.body
    call = vendors.calls[-1]
    assert (call.headers["authorization"], sent(vendors)["model"]) == (
        "Bearer row-secret-canary",
        "m",
    )
    found = last_row()
    assert (found.provider, found.model, found.status) == ("local", "m", "ok")
    event = CostEvent.objects.get()
    assert (event.provider, event.model) == ("local", "m")
    assert event.amount_nanoeur > 0


def test_row_of_another_organization_is_unknown(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row(org=OrganizationFactory.create())
    reply = ask({"model": "local/m", **HELLO}, path=CHAT)
    assert (reply.status, vendors.calls) == (400, [])


def test_own_row_of_organization_is_called(
    ask: Asking, row: Callable[..., Provider], acme: Organization
) -> None:
    row(org=acme)
    assert ask({"model": "local/m", **HELLO}, path=CHAT).status == 200


@pytest.mark.both_databases
@pytest.mark.parametrize("is_own", [False, True])
def test_change_of_row_counts_at_next_request(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider, is_own: bool
) -> None:
    acme = Organization.objects.get()
    ask({"model": "gpt-4o-mini", **HELLO}, path=CHAT)
    made = row(org=acme if is_own else None)
    assert ask({"model": "local/m", **HELLO}, path=CHAT).status == 200
    Provider.objects.filter(id=made.id).update(secret="env:ANOTHER_SECRET", fixed_name="x")
    assert ask({"model": "local/m", **HELLO}, path=CHAT).status == 200
    assert (vendors.calls[-1].headers["authorization"], sent(vendors)["model"]) == (
        "Bearer another",
        "x",
    )
    Provider.objects.filter(id=made.id).delete()
    assert ask({"model": "local/m", **HELLO}, path=CHAT).status == 400


def test_unpriced_model_of_row_is_refused(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row()
    reply = ask({"model": "local/other", **HELLO}, path=CHAT)
    assert (reply.status, vendors.calls) == (400, [])
    assert "has no price" in str(reply.json)


def test_quirks_of_row_are_data(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row(
        names={"m": "My-Deployment"},
        dropped=["logprobs", "messages[].name"],
        cap_name="max_completion_tokens",
        takes_stream_options=False,
    )
    messages = [{"role": "user", "content": "Hello", "name": "ann"}]
    body = {"model": "local/m", "messages": messages, "max_tokens": 20, "logprobs": True}
    assert ask(body, path=CHAT).status == 200
    assert sent(vendors) == {
        "model": "My-Deployment",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 20,
    }
    assert "messages[].name is omitted" in last_row().decision["adjustments"]
    ask({"model": "local/m", "stream": True, **HELLO}, path=CHAT)
    assert "stream_options" not in sent(vendors)


def test_spelling_of_servers_own_names_is_kept(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row()
    RateFactory.create(provider="local", model="qwen/qwen3-8b")
    assert ask({"model": "local/Qwen/Qwen3-8B", **HELLO}, path=CHAT).status == 200
    assert sent(vendors)["model"] == "Qwen/Qwen3-8B"
    assert last_row().model == "qwen/qwen3-8b"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("bearer", {"authorization": "Bearer another"}),
        ("header:api-key", {"api-key": "another"}),
        ("none", {}),
    ],
)
def test_row_has_credentials_as_configured(
    ask: Asking,
    row: Callable[..., Provider],
    vendors: FakeProvider,
    auth: str,
    expected: dict[str, str],
) -> None:
    row(auth=auth, secret="" if auth == "none" else "env:ANOTHER_SECRET")
    ask({"model": "local/m", **HELLO}, path=CHAT)
    headers = vendors.calls[-1].headers
    assert {name: headers[name] for name in ("authorization", "api-key") if name in headers} == (
        expected
    )


def test_native_api_and_sdk_reach_rows(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row(names={"m": "deployed"})
    reply = ask({"model": "local/m", "prompt": "Hello", "maxTokens": 20})
    assert reply.status == 200, reply.body
    assert (reply.json["provider"], sent(vendors)["model"]) == ("local", "deployed")
    assert "service_tier" not in sent(vendors)


def test_dialect_that_row_lacks_is_refused(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row(dialects=["chat"])
    reply = ask({"model": "local/m", **HELLO}, path=MESSAGES)
    assert (reply.status, vendors.calls) == (400, [])
    assert CHAT in str(reply.json)


def test_row_of_responses_alone_takes_no_other_requests(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row(dialects=["responses"])
    for body, path in (
        ({"model": "local/m", **HELLO}, CHAT),
        ({"model": "local/m", "prompt": "Hello"}, "/api/ai/request"),
    ):
        reply = ask(body, path=path)
        assert (reply.status, vendors.calls) == (400, [])
        assert "is only available through its own APIs: responses" in str(reply.json)
    reply = ask({"model": "local/m", "input": "Hello"}, path=RESPONSES)
    assert reply.status == 200, reply.body
    assert sent(vendors) == {"model": "m", "input": "Hello", "store": False}


def test_messages_are_relayed_to_row_that_has_them(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row(
        base_url=vendors.base_url("anthropic") + "/v1",
        dialects=["messages"],
        auth="header:x-api-key",
    )
    reply = ask({"model": "local/m", **HELLO}, path=MESSAGES)
    assert reply.status == 200, reply.body
    assert sent(vendors) == {"model": "m", **HELLO}
    translated = ask({"model": "local/m", **HELLO}, path=CHAT)
    assert translated.status == 200, translated.body
    assert last_row().provider == "local"


@pytest.mark.parametrize("streamed", [False, True])
def test_answer_without_usage_is_counted_and_marked(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider, streamed: bool
) -> None:
    row()
    vendors.answers(no_usage=True, content="Bonjour tout le monde")
    reply: Reply = ask({"model": "local/m", "stream": streamed, **HELLO}, path=CHAT)
    assert reply.status == 200
    found = last_row()
    event = CostEvent.objects.get()
    assert event.kind == "estimate"
    assert 0 < (found.cost_nanoeur or 0) < (found.hold_nanoeur or 0)


def test_cached_input_is_read_by_deepseeks_names(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row()
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 2,
        "prompt_cache_hit_tokens": 64,
        "prompt_cache_miss_tokens": 36,
    }
    vendors.answers(usage=usage)
    assert ask({"model": "local/m", **HELLO}, path=CHAT).status == 200
    buckets = json.loads(json.dumps(CostEvent.objects.get().usage))
    assert (buckets["cache_read"], buckets["input_uncached"]) == (64, 36)
    assert Decimal(last_row().input_tokens or 0) == 100


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"secret": "env:NOT_SET"}, "The environment variable NOT_SET is not set"),
        ({"secret": "sealed:AAAA"}, "cannot be opened with PULSE_SECRETS_KEY"),
        ({"secret": ""}, 'The authentication "bearer" needs a secret'),
    ],
)
def test_row_without_usable_secret_refuses_its_calls(
    ask: Asking,
    row: Callable[..., Provider],
    vendors: FakeProvider,
    changed: dict[str, str],
    sentence: str,
) -> None:
    row(**changed)
    reply = ask({"model": "local/m", **HELLO}, path=CHAT)
    assert (reply.status, vendors.calls) == (503, [])
    assert sentence in str(reply.json)


def test_row_reaches_only_what_it_may(
    ask: Asking, row: Callable[..., Provider], vendors: FakeProvider
) -> None:
    row(allow_loopback=False)
    for body, path in (
        ({"model": "local/m", **HELLO}, CHAT),
        ({"model": "local/m", "prompt": "Hello", "maxTokens": 20}, "/api/ai/request"),
    ):
        assert ask(body, path=path).status == 503
    assert vendors.calls == []
