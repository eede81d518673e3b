"""Answered requests: the response, and the rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from costs.core.usage import Usage
from costs.models import CostEvent, Hold, Period
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from orgs.models import Organization, User
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
CANARY = "a canary that occurs nowhere else"


def test_response_has_exactly_documented_fields(ask_both: Asking) -> None:
    reply = ask_both(HELLO | {"maxTokens": 1000, "temperature": 0.7})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    body = reply.json
    assert reply.headers["x-pulse-request-id"] == body["requestId"]
    assert UUID(body.pop("requestId")).version == 7
    assert body.pop("latencyMs") >= 0
    assert body == {
        "success": True,
        "provider": "sandbox",
        "model": "sandbox-small",
        "content": "Say hello",
        "finishReason": "stop",
        "inputTokens": 9,
        "outputTokens": 2,
        "totalTokens": 11,
        "estimatedCostEur": 0.000002319,  # (9 x 0.15 + 2 x 0.60) / 1.10, rounded up
    }


def test_request_leaves_row_and_charge_and_no_hold(ask: Asking, acme: Organization) -> None:
    dimensions = {
        "userId": "u-1",
        "teamId": "team-123",
        "projectId": "project-456",
        "appId": "app-789",
        "clientId": "c-1",
        "taskType": "code-review",
    }
    reply = ask(HELLO | dimensions | {"model": " Sandbox/Sandbox-Small "})
    row = AiRequestLog.objects.get()
    assert str(row.id) == reply.json["requestId"]
    assert (row.org_id, row.channel, row.stream) == (acme.id, "api", False)
    assert (row.requested_model, row.model) == (" Sandbox/Sandbox-Small ", "sandbox-small")
    assert (row.provider, row.status, row.code, row.error) == ("sandbox", "ok", None, None)
    assert (row.finish_reason, row.input_tokens, row.output_tokens) == ("stop", 9, 2)
    assert row.cost_nanoeur == 2_319
    assert row.latency_ms is not None
    assert 0 <= row.latency_ms <= reply.json["latencyMs"]
    assert row.hold_nanoeur is not None
    assert row.hold_nanoeur >= 2_319
    assert row.completed_at is not None
    assert row.completed_at >= row.occurred_at
    event = CostEvent.objects.get()
    assert (event.org_id, event.source, event.amount_nanoeur) == (acme.id, "AI", 2_319)
    assert (event.model, event.provider) == ("sandbox-small", "sandbox")
    assert (event.input_tokens, event.output_tokens) == (9, 2)
    assert event.request_id == row.id
    for name, reported in dimensions.items():
        column = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        assert getattr(row, column) == getattr(event, column) == reported
    assert Hold.objects.get().state == Hold.State.SETTLED
    period = Period.objects.get()
    assert (period.held_nanoeur, period.settled_nanoeur, period.overrun_nanoeur) == (0, 2_319, 0)


def test_rows_have_documented_table_and_column_names(ask: Asking) -> None:
    ask(HELLO | {"teamId": "team-123"})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, org_id, occurred_at, model, provider, status, prompt_hash, input_tokens, "
            "output_tokens, cost_nanoeur, latency_ms, user_id, team_id, project_id, app_id, "
            "client_id, task_type FROM ai_request_log WHERE team_id = 'team-123'"
        )
        assert len(cursor.fetchall()) == 1
        cursor.execute(
            "SELECT id, org_id, source, occurred_at, amount_nanoeur, model, provider, user_id, "
            "team_id, project_id, app_id, client_id FROM cost_event WHERE source = 'AI'"
        )
        assert len(cursor.fetchall()) == 1


@pytest.mark.parametrize(
    ("usage", "cost_eur"),
    [
        (Usage(input_uncached=1), "0.000000137"),
        (Usage(output_text=1_000_000), "0.545454546"),
        (Usage(input_uncached=123_456_789, output_text=987_654_321), "555.555555410"),
    ],
)
def test_cost_is_exact_to_1e_9(ask: Asking, gateway: Gateway, usage: Usage, cost_eur: str) -> None:
    gateway.providers = Only(StandIn(usage=usage))
    reply = ask(HELLO)
    shown = json.loads(reply.body, parse_float=Decimal)["estimatedCostEur"]
    assert shown == Decimal(cost_eur)
    assert CostEvent.objects.get().amount_nanoeur == int(Decimal(cost_eur) * 10**9)


def test_providers_model_name_is_shown_if_printable(ask: Asking, gateway: Gateway) -> None:
    for reported, shown in (
        ("sandbox-small-2025-01-01", "sandbox-small-2025-01-01"),
        ("x" * 201, "sandbox-small"),
        ("a\x00b", "sandbox-small"),
    ):
        gateway.providers = Only(StandIn(model=reported))
        assert ask(HELLO).json["model"] == shown


def test_answer_without_usage_is_charged_at_bound(ask: Asking, gateway: Gateway) -> None:
    gateway.providers = Only(StandIn(usage=None, finish_reason=None))
    bound = ask(HELLO, path="/api/ai/quote").json["boundEur"]
    body = ask(HELLO).json
    assert body["success"] is True
    assert body["content"] == "Hello!"
    tokens = (body["inputTokens"], body["outputTokens"], body["totalTokens"])
    assert tokens == (None, None, None)
    assert body["finishReason"] is None
    assert body["estimatedCostEur"] == bound
    assert AiRequestLog.objects.get().status == "unknown"


def test_user_is_key_owner(
    ask: Asking, acme: Organization, member_user: User, make_key: Callable[..., str]
) -> None:
    owned = make_key(acme, "owned", owner=member_user, team_id="team-1")
    assert ask(HELLO, key=owned).status == 200
    row = AiRequestLog.objects.get()
    assert (row.user_id, row.team_id) == (str(member_user.pk), "team-1")
    assert ask(HELLO | {"userId": "u"}, key=owned).json["code"] == "dimension_fixed_by_key"


def test_prompt_hash_is_equal_only_within_organization(
    ask: Asking, globex: Organization, make_key: Callable[..., str]
) -> None:
    theirs = make_key(globex, "theirs")
    messages = [{"role": "user", "content": "Say hello"}]
    ask(HELLO)
    ask({"model": "sandbox-large", "messages": messages})
    ask(HELLO | {"prompt": "Say hello."})
    ask({"model": "sandbox-small", "messages": [{"role": "system", "content": "Say hello"}]})
    ask(HELLO, key=theirs)
    hashes = AiRequestLog.objects.order_by("occurred_at", "id").values_list(
        "prompt_hash", flat=True
    )
    first, same, other_words, other_role, elsewhere = hashes
    assert first == same
    assert len({first, other_words, other_role, elsewhere}) == 4
    assert all(len(each) == 64 for each in hashes)


def test_prompts_answers_and_keys_are_not_stored_or_logged(
    ask: Asking, api_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for fields in ({}, {"stream": True}, {"model": "no-such-model"}, {"surprise": 1}):
        ask(HELLO | {"prompt": CANARY} | fields, headers={"Idempotency-Key": str(fields)})
    ask((json.dumps(HELLO | {"prompt": CANARY}) + "]").encode())
    dumped = _dump()
    assert "sandbox-small" in dumped
    for secret in (CANARY, api_key, api_key[-32:]):
        assert secret not in dumped
        assert secret not in caplog.text


def _dump() -> str:
    rows: list[Any] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  a name of our own tables
            rows += [table, *cursor.fetchall()]
    return repr(rows)
