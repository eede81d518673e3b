"""Messages, responses and generateContent of known servers: relayed byte for byte, and charged."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import pytest

from gateway.models import AiRequestLog
from tests.fake_provider import HOSTS
from tests.gateway.known_servers.accounts import service_account
from tests.gateway.known_servers.conftest import (
    HELLO,
    INPUT,
    OUTPUT,
    Known,
    KnownServer,
    charge_of,
    price_of,
)
from tests.gateway.providers.fake_hosts import serving
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
TOOL: Final[dict[str, Any]] = {
    "name": "weather",
    "description": "What the weather is like",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
# As Claude Code and Codex send them: with what other servers ignore.
MESSAGE: Final[dict[str, Any]] = {
    "max_tokens": 50,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Say hello to all"}]}],
    "system": [{"type": "text", "text": "Be brief"}],
    "tools": [TOOL],
}
RESPONSE: Final[dict[str, Any]] = {
    "input": [{"type": "message", "role": "user", "content": "Say hello to all"}],
    "instructions": "Be brief",
    "include": ["reasoning.encrypted_content"],
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "tool_choice": "auto",
    "tools": [
        {"type": "function", "name": "weather", "parameters": TOOL["input_schema"], "strict": False}
    ],
}
CALLED: Final[dict[str, Any]] = {"name": "weather", "arguments": {"city": "Bonn"}}


def is_as_sent(server: KnownServer, reply: Reply) -> bool:
    """Whether the answer's bytes are those that the server sent, which it notes afterwards."""
    server.fake.wait_for(lambda _: server.last.sent_sha256)
    return hashlib.sha256(reply.body).hexdigest() == server.last.sent_sha256


@pytest.mark.parametrize("name", serving("/v1/messages"))
def test_messages_are_relayed_byte_for_byte(known: Known, name: str) -> None:
    server, model = known(name), HOSTS[name].models[-1]
    server.fake.answers(tool_calls=[CALLED], output_tokens=12, times=2)
    for streamed in (False, True, False):
        body = {**MESSAGE, "stream": streamed}
        reply = server.post(MESSAGES, body, model=model)
        assert charge_of(reply) == price_of(server.last)
        added = {"metadata"} if name == "foundry" else set()
        assert _unadded(server, added) == {"model": model, **body}
        assert is_as_sent(server, reply)
        assert server.last.headers["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("name", serving("/responses"))
def test_responses_are_relayed_byte_for_byte(known: Known, name: str) -> None:
    server, model = known(name), HOSTS[name].models[0]
    server.fake.answers(tool_calls=[CALLED], output_tokens=12, times=2)
    for streamed in (False, True, False):
        body = {**RESPONSE, "stream": streamed}
        reply = server.post(RESPONSES, body)
        assert charge_of(reply) == price_of(server.last)
        # OpenAI gets names of user and cache with each request, Groq nothing to store.
        added = {"prompt_cache_key", "safety_identifier"} if name == "azure" else set()
        sent = {field: value for field, value in body.items() if (name, field) != ("groq", "store")}
        assert _unadded(server, added) == {"model": model, **sent}
        assert is_as_sent(server, reply)


def _unadded(server: KnownServer, added: set[str]) -> dict[str, Any]:
    """Return the sent body without what the gateway adds, which it must have."""
    sent = server.last.body
    assert added <= sent.keys()
    return {name: value for name, value in sent.items() if name not in added}


@pytest.mark.parametrize("name", ["vllm", "llamacpp", "sglang", "foundry"])
def test_tokens_of_messages_are_counted_for_nothing(known: Known, name: str) -> None:
    server = known(name)
    fields = {name: MESSAGE[name] for name in ("messages", "system", "tools")}
    reply = server.post(f"{MESSAGES}/count_tokens", fields)
    assert (reply.status, reply.json["input_tokens"]) == (200, 6)
    assert AiRequestLog.objects.get().cost_nanoeur == 0


@pytest.mark.parametrize("name", ["ollama", "lmstudio", "deepseek", "fireworks"])
def test_count_that_server_lacks_is_its_own_error(known: Known, name: str) -> None:
    reply = known(name).post(f"{MESSAGES}/count_tokens", {"messages": HELLO})
    assert (reply.status, reply.json["type"]) == (404, "error")
    row = AiRequestLog.objects.get()
    assert (row.status, row.cost_nanoeur) == ("error", 0)


@pytest.mark.parametrize("name", ["ollama", "vllm"])
@pytest.mark.parametrize("path", ["/v1/responses/compact", "/v1/responses/input_tokens"])
def test_compaction_that_server_lacks_is_error_in_format_of_client(
    known: Known, name: str, path: str
) -> None:
    reply = known(name).post(path, {"input": "Say hello"})
    assert reply.status in {400, 404}
    assert reply.json["error"]["message"]
    assert all(row.cost_nanoeur == 0 for row in AiRequestLog.objects.exclude(hold_nanoeur=None))


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse"])
def test_vertex_generates_content(known: Known, method: str) -> None:
    server = known("vertex", secret=service_account())
    body: Any = {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]}
    reply = server.ask(body, path=f"/v1beta/models/known/gemini-2.5-flash:{method}")
    assert charge_of(reply) == ("usage", 2 * INPUT + 2 * OUTPUT)
    assert server.last.body == body
    place = "/v1/projects/acme/locations/europe-west1/publishers/google/models"
    assert server.last.path == f"{place}/gemini-2.5-flash:{method}"
    assert is_as_sent(server, reply)


def test_tokens_are_counted_at_vertex(known: Known) -> None:
    server = known("vertex", secret=service_account())
    body: Any = {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]}
    reply = server.ask(body, path="/v1beta/models/known/gemini-2.5-flash:countTokens")
    assert (reply.status, reply.json["totalTokens"]) == (200, 2)


@pytest.mark.parametrize("name", ["ollama", "vllm", "bedrock"])
def test_chat_is_translated_where_only_messages_are_served(known: Known, name: str) -> None:
    server, model = known(name, "--dialects", "messages"), HOSTS[name].models[-1]
    reply = server.chat(model=model)
    assert charge_of(reply) == price_of(server.last)
    assert reply.json["choices"][0]["message"]["content"] == "Say hello to all"
    assert server.last.path.endswith("/v1/messages")
