"""Every endpoint of the API refuses a query parameter that it does not know."""

from __future__ import annotations

import re
from typing import Final

import pytest

from gateway.http import urls
from gateway.models import AiRequestLog
from tests.gateway.conftest import Asking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

AN_ID: Final = "01a208b6-8176-71c0-bcb7-5d3dc01d4fca"
HELLO: Final = {"model": "sandbox-small", "prompt": "Say hello"}
# Probes: one that asks for more must not take an instance out of service.
PROBES: Final = ("/healthz", "/readyz", "/api/hello")
# Vendors' clients send parameters of their own here, and some are sent on to the provider.
CALLS: Final = re.compile(r"/v1(beta)?/.*(completions|responses|embeddings|messages|tokens|:)")
PATHS: Final = sorted(
    {"/" + re.sub(r"<[^>]+>", AN_ID, str(each.pattern)) for each in urls.urlpatterns}
)
READS: Final = [path for path in PATHS if not CALLS.match(path) and path not in PROBES]


@pytest.mark.parametrize("path", READS)
def test_endpoint_refuses_unknown_parameter_by_name(ask_both: Asking, path: str) -> None:
    method = "POST" if ask_both(method="GET", path=path).status == 405 else "GET"
    reply = ask_both(HELLO, method=method, path=f"{path}?unknownthing=1")
    assert reply.status == 400
    assert b"Unknown parameter" in reply.body
    assert b"unknownthing" in reply.body


def test_probe_answers_whatever_it_is_asked(ask: Asking) -> None:
    for path in PROBES:
        assert ask(method="GET", path=f"{path}?verbose=1").status == 200


def test_refused_call_has_audit_row_and_is_not_sent(ask: Asking) -> None:
    refusal = ask(HELLO, path="/api/ai/request?teamId=blue")
    sentence = 'Unknown parameter "teamId". No parameter is known here'
    assert refusal.refusal == (400, "invalid_request", sentence)
    [row] = AiRequestLog.objects.all()
    assert (row.status, row.code, row.error) == ("blocked", "invalid_request", sentence)


def test_caller_is_known_before_query_is_judged(ask: Asking) -> None:
    assert ask(method="GET", path="/api/ai/requests?unknownthing=1", key="").status == 401


@pytest.mark.parametrize(
    "query",
    [
        "client_version=0.1.0",  # OpenAI's Codex
        *("limit=20", "after_id=x&limit=1000", "beta=true"),  # Anthropic
        *("pageSize=50&pageToken=x", "queryBase=true", "alt=json&prettyPrint=false"),  # Google
    ],
)
def test_model_lists_take_what_vendors_clients_send(ask: Asking, query: str) -> None:
    for path in ("/v1/models", "/v1beta/models"):
        assert ask(method="GET", path=f"{path}?{query}").status == 200
