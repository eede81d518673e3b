"""The last hour of each provider, as `/status` reads it from the audit rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import getrandbits
from typing import Any, Final
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from gateway.providers.routing.breaker import FAILURES_MAX
from gateway.status import hour
from orgs.models import Organization
from tests.factories import AiRequestLogFactory, ProviderFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


@pytest.fixture(autouse=True)
def row(gateway: Gateway) -> None:
    """A provider of the installation, and a gateway that has kept nothing of another test."""
    ProviderFactory.create(name="eu")


def shown(client: Client) -> dict[str, Any]:
    """Return the provider of the JSON."""
    found = client.get("/status.json").json()["providers"]
    return next(each for each in found if each["provider"] == "eu")


def id_at(moment: datetime) -> UUID:
    """Return a UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | getrandbits(80))


def logged(**changes: Any) -> AiRequestLog:
    """Add a request that "eu" has answered in 100 ms."""
    at = now() - timedelta(minutes=changes.pop("minutes", 1))
    row = {"status": "ok", "provider": "eu", "latency_ms": 100, "occurred_at": at}
    return AiRequestLogFactory.create(**{**row, "completed_at": at, "id": id_at(at)} | changes)


FAILED: Final = {"status": "error", "code": "provider_timeout", "usage": {"provider_failed": True}}


def test_hour_has_failures_of_provider_alone(operator: Client, acme: Organization) -> None:
    logged(org=acme)
    logged(org=acme, **FAILED)
    logged(org=acme, **FAILED | {"code": "provider_error"})
    logged(org=acme, status="error", code="provider_error")  # which the request caused
    for nothing in (
        {"status": "unknown", "code": "client_disconnected"},
        {"status": "error", "code": "ledger_unavailable"},
        {"status": "blocked", "code": "model_blocked"},
        {"status": "pending"},
        {"minutes": 61},
        FAILED | {"minutes": 61},
        FAILED | {"provider": "us"},
        {"provider": None, "status": "error"},
    ):
        logged(org=acme, **nothing)
    found = shown(operator)
    assert (found["calls"], found["errorRate"]) == (4, 0.5)
    assert found["failed"] == {"provider_timeout": 1, "provider_error": 1}


def test_hour_has_attempts_before_last(operator: Client, acme: Organization) -> None:
    tried = {"provider": "eu", "code": "provider_unavailable", "provider_failed": True}
    logged(org=acme, provider="us", attempts=[tried, tried | {"provider_failed": False}])
    found = shown(operator)
    assert (found["calls"], found["failed"]) == (1, {"provider_unavailable": 1})
    assert found["state"] == "failing"


def test_percentiles_are_of_answered_calls_without_their_waits(
    operator: Client, acme: Organization
) -> None:
    for latency_ms in range(100, 2_100, 100):
        logged(org=acme, latency_ms=latency_ms + 50, decision={"waited": {"ms": 50}})
    logged(org=acme, latency_ms=60_000, attempts=[{"provider": "us"}])  # of two attempts
    logged(org=acme, latency_ms=60_000, **FAILED)
    found = shown(operator)
    assert (found["p50Ms"], found["p95Ms"]) == (1_000, 1_900)


@pytest.mark.parametrize(
    ("newest_first", "state"),
    [
        ([FAILED] * FAILURES_MAX + [{}], "failing"),
        ([FAILED] * (FAILURES_MAX - 1) + [{}], "working"),
        ([FAILED], "failing"),
        ([], "no recent calls"),
    ],
)
def test_newest_calls_decide_state(
    operator: Client,
    acme: Organization,
    newest_first: list[dict[str, Any]],
    state: str,
) -> None:
    for ago, changes in enumerate(newest_first):
        logged(org=acme, minutes=ago + 1, **changes)
    assert shown(operator)["state"] == state


def test_hour_is_read_by_ids_and_cut(
    operator: Client, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        logged(org=acme)
    monkeypatch.setattr(hour, "REQUESTS_MAX", 2)
    with CaptureQueriesContext(connection) as captured:
        assert "only the newest" in operator.get("/status").content.decode()
        read = next(each["sql"] for each in captured if "ai_request_log" in each["sql"])
    assert operator.get("/status.json").json()["requestsCut"] is True
    is_sqlite = connection.vendor == "sqlite"
    with transaction.atomic(), connection.cursor() as cursor:
        if not is_sqlite:  # so few rows it would read and sort in any way
            for way in ("seqscan", "bitmapscan", "sort"):
                cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' * is_sqlite}{read}")
        plan = "\n".join(str(each[-1]) for each in cursor.fetchall())
    assert (
        "USING INDEX sqlite_autoindex_ai_request_log_1 (id>?)" if is_sqlite else "_pkey"
    ) in plan
    assert "TEMP B-TREE" not in plan
