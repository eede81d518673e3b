"""The headers that the gateway adds to an answer, and the row of each call."""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx2
import pytest

from tests.clients.raw import CASES, STREAMED, Case, ask
from tests.clients.targets import Target
from tests.system.rows import Rows
from tests.system.upstream import Upstream

ROW = """
    SELECT id, provider, status, team_id, project_id, app_id, task_type, input_tokens,
           output_tokens, cost_nanoeur, stream
    FROM ai_request_log WHERE client_id = %s
"""
COLUMNS = (
    *("id", "provider", "status", "team", "project", "app", "task"),
    *("input", "output", "cost", "stream"),
)
# A count of tokens costs nothing and asks no model.
CHARGED = [case for case in CASES if "ount" not in case.name]
COUNTS = [case for case in CASES if "ount" in case.name]
DIMENSIONS = {
    "x-pulse-team-id": "team-1",
    "x-pulse-project-id": "project-1",
    "x-pulse-app-id": "app-1",
    "x-pulse-task-type": "greeting",
}


def is_streamed(case: Case) -> bool:
    return STREAMED.items() <= case.body.items() or "streamGenerateContent" in case.path


def row_of(client: str, rows: Rows) -> dict[str, Any]:
    """Return the one row of a call, by its client's own name."""
    [row] = rows.query(ROW, client)
    names = [
        "id",
        "provider",
        "status",
        "team",
        "project",
        "app",
        "task",
        "input",
        "output",
        "cost",
        "stream",
    ]
    return dict(zip(names, row, strict=True))


@pytest.mark.parametrize("case", CHARGED, ids=lambda case: case.name)
def test_call_has_row_with_dimensions_and_usage(
    case: Case, gateway: Target, http: httpx2.Client, rows: Rows, upstream: Upstream
) -> None:
    client = f"client-{secrets.token_hex(6)}"
    answer = ask(http, gateway, case, **DIMENSIONS, **{"x-pulse-client-id": client})
    row = row_of(client, rows)
    [call] = upstream.calls()
    assert UUID(answer.headers["x-pulse-request-id"]) == UUID(str(row["id"]))
    assert (row["provider"], row["status"]) == (case.vendor, "ok")
    assert (row["team"], row["project"], row["app"]) == ("team-1", "project-1", "app-1")
    assert row["task"] == "greeting"
    assert row["input"] == call["billed"]["input_tokens"]
    if "mbeddings" not in case.name:
        assert row["output"] == call["billed"]["output_tokens"]
    assert row["cost"] > 0
    assert bool(row["stream"]) == is_streamed(case)
    if is_streamed(case):
        assert "x-pulse-cost-eur" not in answer.headers
    else:
        assert Decimal(answer.headers["x-pulse-cost-eur"]) * 10**9 == row["cost"]
    assert rows.disagreements() == []


@pytest.mark.parametrize("case", COUNTS, ids=lambda case: case.name)
def test_token_count_is_free(case: Case, gateway: Target, http: httpx2.Client, rows: Rows) -> None:
    client = f"client-{secrets.token_hex(6)}"
    answer = ask(http, gateway, case, **{"x-pulse-client-id": client})
    assert answer.headers["x-pulse-request-id"]
    assert sum(cost or 0 for *_, cost, _ in rows.query(ROW, client)) == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_key_and_dimensions_are_not_sent_to_vendor(
    case: Case, gateway: Target, http: httpx2.Client, upstream: Upstream
) -> None:
    ask(http, gateway, case, **DIMENSIONS)
    [call] = upstream.calls()
    assert [name for name in call["headers"] if name.startswith("x-pulse")] == []
    assert gateway.key not in str(call)


def test_refusal_has_request_id(gateway: Target, http: httpx2.Client, upstream: Upstream) -> None:
    refused = Case(
        name="chat",
        vendor="openai",
        path="/chat/completions",
        body={"model": "no-such-model", "messages": [{"role": "user", "content": "Hello"}]},
    )
    answer = ask(http, gateway, refused)
    assert answer.status_code == 400
    assert UUID(answer.headers["x-pulse-request-id"])
    assert upstream.calls() == []
