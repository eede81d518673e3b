"""Tokens of Google's server: sent, never shown, never kept."""

from __future__ import annotations

import json
import logging

import pytest
from django.db import connection

from gateway.models import AiRequestLog
from tests.gateway.known_servers.accounts import service_account
from tests.gateway.known_servers.conftest import Known, charge_of, price_of

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "ya29.fake-"


def kept() -> str:
    """Return every row of every table, as text."""
    with connection.cursor() as cursor:
        found = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  a table's own name
            found.append(repr(cursor.fetchall()))
    return "".join(found)


def test_token_of_service_account_is_sent_once_made_and_hidden(
    known: Known, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = known("vertex", secret=service_account())
    for _ in range(2):
        assert charge_of(server.chat()) == price_of(server.last)
    [token] = server.fake.tokens.expires_at
    assert server.last.headers["authorization"] == f"Bearer {token}"
    server.fake.answers(status=400, body=[{"error": {"message": f"Bad: {token}", "status": "X"}}])
    refused = server.chat()
    assert "Bad: [key]" in refused.json["error"]["message"]
    assert "Bad: [key]" in str(AiRequestLog.objects.order_by("-id")[0].error)
    private_key = json.loads(service_account())["private_key"].splitlines()[1]
    for text in (caplog.text, kept()):
        assert TOKEN not in text
        assert private_key not in text


def test_refused_token_is_operators_fault_and_next_one_is_new(known: Known) -> None:
    server = known("vertex", secret=service_account())
    assert server.chat().status == 200
    server.fake.tokens.expire_all()
    reply = server.chat()
    assert reply.headers["x-pulse-error-code"] == "provider_credentials"
