"""Chat completions at every known server that has them: answered, counted, charged exactly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.requests.pricing import usage_facts
from tests.fake_provider import HOSTS
from tests.gateway.known_servers.accounts import service_account
from tests.gateway.known_servers.conftest import (
    HELLO,
    OUTPUT,
    Known,
    KnownServer,
    adjustments,
    charge_of,
    chunks_of,
    messages_of,
    price_of,
    row_of,
    text_of,
    usage_of,
)
from tests.gateway.providers.fake_hosts import WEATHER, serving

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = serving("/chat/completions")
EMBEDDINGS = serving("/embeddings")
CALLED: dict[str, Any] = {"name": "weather", "arguments": {"city": "Bonn"}}
# What OpenAI's clients and their frameworks send to any server.
OF_OPENAI: dict[str, Any] = {
    "metadata": {"a": "b"},
    "n": 1,
    "parallel_tool_calls": True,
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "seed": 7,
    "store": False,
    "temperature": 0.5,
    "top_p": 0.9,
    "user": "u",
}


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest, known: Known) -> KnownServer:
    """Each server in turn."""
    secret = service_account() if request.param == "vertex" else None
    return known(request.param, secret=secret)


def test_chat_is_answered_and_charged_plain_and_streamed(server: KnownServer) -> None:
    asks: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    for options in ({}, asks, {"stream": True}):
        reply = server.chat(**options)
        assert charge_of(reply) == price_of(server.last)
        assert text_of(reply) == "Say hello to all"
        row = row_of(reply)
        assert (row.provider, row.input_tokens, row.output_tokens) == ("known", 4, 4)
        assert server.last.body["model"] == HOSTS[server.name].models[0]
        assert server.last.body.get("stream_options") == (
            (options and asks["stream_options"]) or None
        )
        if options:
            shown = any(chunk.get("usage") for chunk in chunks_of(reply))
            assert shown is (options is asks)


def test_tools_are_called_plain_and_streamed(server: KnownServer) -> None:
    server.fake.answers(tool_calls=[CALLED], output_tokens=12, times=2)
    for streamed in (False, True):
        reply = server.chat(tools=[WEATHER], tool_choice="required", stream=streamed)
        assert charge_of(reply) == price_of(server.last)
        assert row_of(reply).finish_reason == "tool_calls"
        calls = [call for each in messages_of(reply) for call in each.get("tool_calls") or ()]
        arguments = "".join(call["function"].get("arguments", "") for call in calls)
        assert arguments == '{"city":"Bonn"}'


def test_answer_without_usage_is_counted_and_marked(server: KnownServer) -> None:
    """A plain answer of vendors' own models may have reasoned unseen: its bound is charged."""
    server.fake.answers(no_usage=True, times=2)
    for streamed in (False, True):
        kind, nanoeur = charge_of(reply := server.chat(stream=streamed))
        row = row_of(reply)
        is_bound = not streamed and server.name in {"azure", "vertex"}
        assert (kind, row.status) == ("bound" if is_bound else "estimate", "unknown")
        assert 4 * OUTPUT <= (nanoeur or 0) <= (row.hold_nanoeur or 0)
        assert ((nanoeur or 0) < (row.hold_nanoeur or 0)) is not is_bound


def test_caps_bind_among_fields_of_openais_clients(server: KnownServer) -> None:
    for cap in ("max_tokens", "max_completion_tokens"):
        reply = server.chat(**OF_OPENAI | {cap: 2})
        assert text_of(reply) == "Say hello", (cap, server.last.body)
        assert charge_of(reply) == price_of(server.last)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_charged(known: Known, name: str) -> None:
    server, model = known(name), HOSTS[name].models[-1]
    reply = server.post("/v1/embeddings", {"input": ["one two", "three"]}, model=model)
    assert charge_of(reply) == ("usage", 3_000)
    assert [each["index"] for each in reply.json["data"]] == [0, 1]
    assert server.last.body["model"] == model


def test_fields_that_groq_refuses_are_omitted_and_noted(known: Known) -> None:
    server = known("groq")
    more = {"logprobs": True, "verbosity": "low", "web_search_options": None}
    turns = [{**HELLO[0], "name": "ann"}]
    reply = server.chat(**OF_OPENAI | more | {"messages": turns})
    sent = server.last.body
    assert sent.keys() == {
        *("model", "messages", "n", "parallel_tool_calls", "seed", "temperature", "top_p", "user")
    }
    assert sent["messages"] == HELLO
    assert {each.partition(" ")[0] for each in adjustments(reply)} >= {
        *("logprobs", "messages[].name", "metadata", "prompt_cache_key", "safety_identifier"),
        *("store", "verbosity"),
    }


@pytest.mark.parametrize("streamed", [False, True])
def test_what_deepseeks_cache_had_is_charged_as_cache_read(known: Known, streamed: bool) -> None:
    server = known("deepseek")
    server.fake.answers(input_tokens=100, cached_tokens=64)
    reply = server.chat(stream=streamed)
    assert charge_of(reply) == ("usage", 36 * 1_000 + 64 * 100 + 4 * 10_000)
    buckets = usage_of(reply)["buckets"]
    assert (buckets["cache_read"], buckets["input_uncached"]) == (64, 36)


@pytest.mark.parametrize("streamed", [False, True])
def test_cost_of_openrouter_is_shown_and_not_charged(known: Known, streamed: bool) -> None:
    server = known("openrouter")
    reply = server.chat(stream=streamed)
    assert charge_of(reply) == price_of(server.last)
    assert usage_of(reply)["reported"]["cost"] == 8 * 0.000002
    shown = {fact.name: fact.value for fact in usage_facts(row_of(reply))}
    assert shown["cost reported by the provider (not charged)"] == "0.000016 USD"


@pytest.mark.parametrize("name", ["ollama", "deepseek", "together", "lmstudio", "tgi"])
def test_cap_has_only_name_that_binds(known: Known, name: str) -> None:
    server = known(name)
    reply = server.chat(max_completion_tokens=3)
    sent = server.last.body
    assert (sent["max_tokens"], "max_completion_tokens" in sent) == (3, False)
    assert "max_completion_tokens is sent as max_tokens" in adjustments(reply)


def test_azure_is_called_by_name_of_deployment(known: Known) -> None:
    server = known("azure", "--model", "gpt-4o=our-gpt")
    reply = server.chat(model="gpt-4o", stream=True)
    assert reply.json["error"]["message"].startswith("Model known/gpt-4o has no price")
    row = row_of(server.chat(stream=True))
    assert (row.model, server.last.path) == ("our-gpt", "/openai/v1/chat/completions")
    headers = server.last.headers
    assert (headers["api-key"], "authorization" in headers) == (HOSTS["azure"].key, False)


def test_first_chunk_without_choice_is_relayed(known: Known) -> None:
    first, *_ = chunks_of(known("azure").chat(stream=True))
    assert (first["choices"], first["prompt_filter_results"][0]["prompt_index"]) == ([], 0)


def test_several_choices_are_charged_or_not_asked_for(known: Known) -> None:
    """llama.cpp's usage has the first choice only."""
    server = known("llamacpp")
    reply = server.chat(n=3)
    assert "n" not in server.last.body
    assert "n is omitted" in adjustments(reply)
    assert charge_of(reply) == price_of(server.last)


def test_request_of_bedrock_has_its_api_key(known: Known) -> None:
    server = known("bedrock")
    assert server.chat().status == 200
    assert server.last.headers["authorization"] == f"Bearer {HOSTS['bedrock'].key}"
    assert json.loads(server.last.raw)["model"] == "openai.gpt-oss-20b-1:0"
