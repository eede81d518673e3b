"""Recent requests as files, and the new rows for a followed list."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client
from django.utils.timezone import now

from gateway.models import AiRequestLog
from gateway.requests.exports import COLUMNS, ROWS_PER_PAGE
from gateway.requests.reports import LOOKS_BACK, Cursor
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.factories import AiRequestLogFactory, PolicyFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def as_csv(client: Client, query: str = "") -> list[dict[str, str]]:
    text = client.get(f"/admin/ai/requests.csv{query}").getvalue().decode()
    return list(csv.DictReader(text.splitlines()))


def test_file_has_exactly_filtered_requests(
    acme: Organization, globex: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    row = AiRequestLogFactory.create(org=acme, team_id="blue", user_id="=1+1")
    AiRequestLogFactory.create(org=acme)
    AiRequestLogFactory.create(org=globex, team_id="blue")
    client = client_for(auditor_user)
    [found] = as_csv(client, "?teamId=blue")
    assert tuple(found) == COLUMNS
    assert (found["requestId"], found["costEur"], found["costNanoeur"]) == (
        *(str(row.pk), "0.000002328"),
        "2328",
    )
    assert found["userId"] == "'=1+1"
    [same] = json.loads(client.get("/admin/ai/requests.json?teamId=blue").getvalue())
    assert (same["userId"], same["costNanoeur"], same["code"]) == ("=1+1", 2328, None)
    assert same["occurredAt"] == row.occurred_at.isoformat()


def test_file_has_estimated_part_of_cost(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    for fields in ({"estimated_nanoeur": 2328}, {}, {"cost_nanoeur": None}):
        AiRequestLogFactory.create(org=acme, **fields)
    client = client_for(member_user)
    amounts = [(row["estimatedEur"], row["estimatedNanoeur"]) for row in as_csv(client)]
    assert amounts == [("", ""), ("0.000000000", "0"), ("0.000002328", "2328")]
    [estimate] = as_csv(client, "?estimated=yes")
    assert estimate["estimatedNanoeur"] == "2328"
    assert client.get("/admin/ai/requests.csv?estimated=no").status_code == 400


def test_long_list_is_complete_and_ordered(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    AiRequestLog.objects.bulk_create(
        AiRequestLogFactory.build(org=acme, occurred_at=now() - timedelta(seconds=n // 7))
        for n in range(ROWS_PER_PAGE + 1)
    )
    newest_first = AiRequestLog.objects.order_by("-occurred_at", "-id")
    found = [row["requestId"] for row in as_csv(client_for(member_user))]
    assert found == [str(row_id) for row_id in newest_first.values_list("id", flat=True)]


def test_empty_list_and_invalid_filter(client_for: CLIENTS, member_user: User) -> None:
    client = client_for(member_user)
    assert as_csv(client) == []
    assert json.loads(client.get("/admin/ai/requests.json").getvalue()) == []
    assert client.get("/admin/ai/requests.csv?status=fine").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_file_is_streamed_and_compressed(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    row = AiRequestLogFactory.create(org=acme)
    session = client_for(member_user).cookies["sessionid"].value
    assert str(row.pk) in _unpacked(session, "/admin/ai/requests.json")


def _unpacked(session: str, path: str) -> str:
    """Send a browser's request to the async server."""

    async def ask() -> bytes:
        client = AsyncClient()
        client.cookies["sessionid"] = session
        response: Any = await client.get(path, headers={"accept-encoding": "gzip"})
        assert response.headers["content-encoding"] == "gzip"
        return b"".join([piece async for piece in response])

    return gzip.decompress(async_to_sync(ask)()).decode()


def test_policies_are_exported(acme: Organization, client_for: CLIENTS, member_user: User) -> None:
    policy = PolicyFactory.create(org=acme, blocked_models=["gpt-4", "o1"])
    trace = {"policies": [{"id": str(policy.pk), "verdict": "model_blocked"}]}
    AiRequestLogFactory.create(org=acme, status="blocked", code="model_blocked", decision=trace)
    client = client_for(member_user)
    [row] = json.loads(client.get("/admin/ai/policies.json").getvalue())
    assert (row["blockedModels"], row["refusedToday"]) == (["gpt-4", "o1"], 1)
    assert "gpt-4 o1" in client.get("/admin/ai/policies.csv").getvalue().decode()


# --- what those who follow the list are sent -----------------------------------------------------


def new_rows(client: Client, query: str) -> list[AiRequestLog]:
    response = client.get(f"/admin/ai/requests/new?{query}")
    assert response.status_code == 200
    return [line.row for line in response.context["lines"]]


def test_only_new_requests_are_sent_with_margin_for_late_commits(
    acme: Organization, globex: Organization, client_for: CLIENTS, member_user: User
) -> None:
    moment = now()
    seen = AiRequestLogFactory.create(org=acme, occurred_at=moment)
    late = AiRequestLogFactory.create(org=acme, occurred_at=moment - LOOKS_BACK / 2)
    AiRequestLogFactory.create(org=acme, occurred_at=moment - LOOKS_BACK)
    new = AiRequestLogFactory.create(org=acme, occurred_at=moment + timedelta(seconds=1))
    AiRequestLogFactory.create(org=globex, occurred_at=moment)
    place = Cursor(occurred_at=moment, id=seen.pk)
    assert new_rows(client_for(member_user), f"after={place}") == [new, seen, late]


def test_pending_request_is_sent_after_its_end(
    acme: Organization, globex: Organization, client_for: CLIENTS, member_user: User
) -> None:
    long_ago = now() - timedelta(hours=1)
    done, running = (
        AiRequestLogFactory.create(org=acme, status=status, occurred_at=long_ago)
        for status in ("ok", "pending")
    )
    foreign = AiRequestLogFactory.create(org=globex, occurred_at=long_ago)
    place = Cursor(occurred_at=now(), id=done.pk)
    waiting = ",".join(str(row.pk) for row in (done, running, foreign))
    found = new_rows(client_for(member_user), f"after={place}&waiting={waiting}")
    assert found == [done]


@pytest.mark.parametrize("query", ["after=x", "waiting=1", "status=fine", "waiting=" + "a" * 1851])
def test_invalid_position_is_400(client_for: CLIENTS, member_user: User, query: str) -> None:
    assert client_for(member_user).get(f"/admin/ai/requests/new?{query}").status_code == 400


def test_htmx_filters_change_only_list(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    AiRequestLogFactory.create(org=acme)
    client = client_for(member_user)
    whole = client.get("/admin/ai").content.decode()
    part = client.get("/admin/ai?status=ok", headers={"HX-Request": "true"})
    assert "Last 24 hours" in whole
    assert part.content.decode().strip().startswith('<div id="list"')
    assert "HX-Request" in part.headers["Vary"]
