"""Errors of known servers: their own sentence where it helps, ours where it is about our key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.models import AiRequestLog
from tests.fake_provider import HOSTS
from tests.gateway.known_servers.accounts import service_account
from tests.gateway.known_servers.conftest import HELLO, Known, KnownServer, row_of
from tests.gateway.providers.fake_hosts import serving
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = serving("/chat/completions")
WITH_KEY = [name for name in HOSTS if HOSTS[name].takes_key and HOSTS[name].credentials]


def message_of(reply: Reply) -> str:
    """Return an error's sentence from where clients read it; SGLang's body is the error itself."""
    return str(reply.json.get("error", reply.json)["message"])


def only_row() -> AiRequestLog:
    return AiRequestLog.objects.get()


def asked(server: KnownServer) -> Reply:
    """Send what the server has: chat, or messages."""
    if server.name == "foundry":
        return server.post("/v1/messages", {"messages": HELLO, "max_tokens": 50})
    return server.chat()


@pytest.mark.parametrize("name", WITH_KEY)
def test_wrong_key_is_operators_fault(known: Known, name: str) -> None:
    server = known(name, secret="sk-wrong-canary0123456789")
    reply = asked(server)
    status = HOSTS[name].wrong_key_status
    assert reply.status == 502
    assert reply.headers["x-pulse-error-code"] == "provider_credentials"
    assert f"refused the credentials of this gateway (status {status})" in message_of(reply)
    assert "canary" not in reply.body.decode()
    row = only_row()
    assert (row.status, row.cost_nanoeur) == ("error", 0)


@pytest.mark.parametrize("name", NAMES)
def test_refusals_have_sentence_and_delay_of_server(known: Known, name: str) -> None:
    server = known(name, secret=_secret(name))
    server.fake.answers(status=429, headers={"retry-after": "7"})
    server.fake.answers(status=400)
    for status, delay in ((429, "7"), (400, None)):
        reply = server.chat()
        assert (reply.status, reply.headers.get("retry-after")) == (status, delay)
        assert f"The fake provider answers {status}" in message_of(reply)
        row = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])
        assert (row.status, row.cost_nanoeur) == ("error", 0)
        assert f"The fake provider answers {status}" in (row.error or "")


@pytest.mark.parametrize("name", [name for name in NAMES if HOSTS[name].unknown_model])
def test_unknown_model_is_clients_fault(known: Known, name: str) -> None:
    server = known(name, "--fixed-name", "a/other", secret=_secret(name))
    reply = server.chat()
    assert reply.status == HOSTS[name].unknown_model_status
    assert str(HOSTS[name].unknown_model).format("a/other") in message_of(reply)


def _secret(name: str) -> str | None:
    return service_account() if name == "vertex" else None


def test_error_inside_stream_of_openrouter_is_kept(known: Known) -> None:
    """https://openrouter.ai/docs/api-reference/errors: with its choices and with status 200."""
    server = known("openrouter")
    error: dict[str, Any] = {"code": 502, "message": "Upstream ended"}
    chunk = {"id": "gen-1", "error": error, "choices": [{"index": 0, "delta": {"content": ""}}]}
    server.fake.answers(extra_events=(f"data: {json.dumps(chunk)}\n\n",), no_usage=True)
    reply = server.chat(stream=True)
    assert "Upstream ended" in reply.body.decode()
    row = row_of(reply)
    assert (row.status, row.code) == ("unknown", "provider_error")


@pytest.mark.parametrize("name", ["vllm", "tgi", "vertex", "bedrock"])
def test_native_api_has_sentence_of_server(known: Known, name: str) -> None:
    server = known(name, secret=_secret(name))
    server.fake.answers(status=400)
    reply = server.ask({"model": f"known/{HOSTS[name].models[0]}", "prompt": "Hi"})
    assert (reply.status, reply.json["code"]) == (502, "provider_error")
    assert "The fake provider answers 400" in reply.json["error"]
