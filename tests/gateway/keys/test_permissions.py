"""What a key may do: send, read and quote, at every endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.models import AiRequestLog
from orgs.core.permissions import Permission
from orgs.keys import operations
from orgs.models import ApiKey, Organization
from tests.gateway.conftest import Asking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
CHAT = {"model": "sandbox-small", "messages": [{"role": "user", "content": "Hello"}]}
MESSAGES = {**CHAT, "max_tokens": 10}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
# Every endpoint that takes a key: what it needs.
ENDPOINTS: list[tuple[str, str, Any, Permission | None]] = [
    ("POST", "/api/ai/request", HELLO, Permission.SEND),
    ("POST", "/api/ai/quote", HELLO, Permission.QUOTE),
    ("GET", "/api/ai/requests", None, Permission.READ),
    ("GET", "/api/ai/requests/0193e4a0-0000-7000-8000-000000000000", None, Permission.READ),
    ("GET", "/api/ai/policies/backtest", None, Permission.READ),
    ("POST", "/v1/chat/completions", CHAT, Permission.SEND),
    ("POST", "/v1/responses", {"model": "sandbox-small", "input": "Hello"}, Permission.SEND),
    ("POST", "/v1/embeddings", {"model": "sandbox-small", "input": "Hello"}, Permission.SEND),
    ("POST", "/v1/messages", MESSAGES, Permission.SEND),
    ("POST", "/v1/messages/count_tokens", MESSAGES, Permission.SEND),
    ("POST", "/v1beta/models/sandbox-small:generateContent", CONTENTS, Permission.SEND),
    ("POST", "/v1/models/sandbox-small:streamGenerateContent", CONTENTS, Permission.SEND),
    ("POST", "/v1beta/models/sandbox-small:countTokens", CONTENTS, Permission.SEND),
    ("GET", "/v1/models", None, None),
    ("GET", "/v1beta/models", None, None),
]
CODE = "key_not_allowed"


@pytest.mark.parametrize("permission", Permission)
def test_key_may_do_only_what_its_permissions_say(
    ask: Asking, acme: Organization, make_key: Callable[..., str], permission: Permission
) -> None:
    text = make_key(acme, "restricted", permissions=permission)
    refused: set[str] = set()
    for method, path, body, needs in ENDPOINTS:
        reply = ask(body, method=method, path=path, key=text)
        if needs in (None, permission):
            assert reply.status not in (401, 403), path
            continue
        assert reply.status == 403, path
        assert (
            f'The key must have the permission "{needs}"'.encode()
            in json.dumps(reply.json, ensure_ascii=False).replace('\\"', '"').encode()
        )
        assert CODE in (reply.json.get("code"), reply.headers.get("x-pulse-error-code")), path
        if needs is Permission.SEND:
            refused.add(reply.headers["x-pulse-request-id"])
        else:
            assert "x-pulse-request-id" in reply.headers
    rows = AiRequestLog.objects.filter(code=CODE)
    assert {str(row.id) for row in rows} == refused
    assert {(row.status, row.cost_nanoeur) for row in rows} <= {("blocked", 0)}


def test_changed_permissions_count_at_next_request(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    text = make_key(acme, "changed")
    key = ApiKey.objects.filter(name="changed")
    assert ask(HELLO, key=text).status == 200
    key.update(permissions="read")  # as by hand in SQL
    assert ask(HELLO, key=text).refusal[:2] == (403, CODE)
    row = AiRequestLog.objects.get(status="blocked")
    assert (row.code, row.key_id, row.cost_nanoeur) == (CODE, key.get().pk, 0)
    assert ask(HELLO, key=text, path="/api/ai/quote").refusal[:2] == (403, CODE)
    key.update(permissions="send,quote")
    assert ask(HELLO, key=text).status == 200
    assert ask(HELLO, key=text, path="/api/ai/quote").status == 200


def test_rotated_key_keeps_permissions(acme: Organization) -> None:
    key, _ = operations.create_key(org=acme, name="k", permissions="quote, read")
    assert key.permissions == "read,quote"
    successor, _ = operations.rotate_key(key=key)
    assert ApiKey.objects.get(pk=successor.pk).permissions == "read,quote"
