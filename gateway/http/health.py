"""Whether the process is alive, and whether it can serve requests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse

from costs.core.exchange_rates import RateInForce
from costs.ledger.verify import REAPED_WITHIN
from costs.models import Hold
from costs.prices.exchange_rates import rate_in_force, utc_day
from gateway.call.reads import read
from gateway.call.runtime import Checks, Gateway, current
from gateway.core.errors import GatewayError
from gateway.http.answers import json_response
from gateway.http.outside import only
from orgs.threads import READINESS

# What the database shows is kept this long: any number of probes costs one read.
CHECKS_KEPT_S: Final = 2.0
# The ledger's writer commits a heartbeat every 5 s, and gives up a commit after 10 s.
COMMIT_WITHIN_S: Final = 20.0
READY: Final = "ready"
STOPPING: Final = "stopping"


@only("GET", "HEAD")
async def healthz(request: HttpRequest) -> HttpResponse:
    """Report that the process is alive."""
    return json_response({"status": "ok"}, None)


@only("GET", "HEAD")
async def hello(request: HttpRequest) -> HttpResponse:
    """Answer Claude Code, which asks at its start whether its base URL can be reached."""
    return json_response({"message": "hello"}, None)


@only("GET", "HEAD")
async def readyz(request: HttpRequest) -> HttpResponse:
    """Report whether requests can be served: the database, its migrations, the ledger's commits.

    Unsettled holds and the exchange rate are shown and decide nothing: an instance with such a hold
    serves all others.
    """
    gateway = current()
    if gateway.is_stopping:
        return json_response({"status": STOPPING}, None, status=503)
    body = readiness(gateway, await _checks(gateway))
    return json_response(body, None, status=200 if body["status"] == READY else 503)


def readiness(gateway: Gateway, checks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report of a process, by what the database shows: the body of `/readyz`.

    `/status` and its JSON show the same.
    """
    age_s = gateway.writer.commit_age_s
    ledger = "ok" if age_s is None or age_s < COMMIT_WITHIN_S else "stalled"
    is_ready = checks.get("migrations") == "applied" and ledger == "ok"
    status = STOPPING if gateway.is_stopping else READY if is_ready else "not ready"
    return {"status": status, **checks, "ledger": ledger}


async def _checks(gateway: Gateway) -> dict[str, Any]:
    """Return what the database shows, read at most every CHECKS_KEPT_S."""
    if (recent := _recent(gateway)) is not None:
        return recent.found
    kept = gateway.checks
    # Others get the last result until this one is there; the first ones wait for it.
    last = None if kept is None else kept._replace(read_at=time.monotonic())
    gateway.checks = last
    try:
        found = await read(READINESS, None, _read, gateway, last)
        if found.get("migrations") == "applied":
            await gateway.directory.prices()  # before the first request waits for them
    except GatewayError:
        found = {"database": "away"}
        gateway.checks = Checks(time.monotonic(), found)
    return found


def _read(gateway: Gateway, last: Checks | None) -> dict[str, Any]:
    """Read the database, unless another probe did while this one waited for the only thread."""
    newer = gateway.checks
    if newer is not None and newer is not last:
        return newer.found
    gateway.checks = _in_database()
    return gateway.checks.found


def checks_of(gateway: Gateway) -> Checks:
    """Return what the database shows as a probe does, for a page, which has a connection."""
    recent = _recent(gateway) or _in_database()
    gateway.checks = recent
    return recent


def _recent(gateway: Gateway) -> Checks | None:
    kept = gateway.checks
    is_recent = kept is not None and time.monotonic() - kept.read_at < CHECKS_KEPT_S
    return kept if is_recent else None


def _in_database() -> Checks:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        # The tables may not be there.
        return Checks(time.monotonic(), {"database": "ok", "migrations": "pending"})
    now = datetime.now(UTC)
    held = Hold.objects.filter(state=Hold.State.HELD)
    oldest = held.order_by("held_at").values_list("held_at", flat=True).first()
    exchange = rate_in_force(utc_day(now))
    found = {
        "database": "ok",
        "migrations": "applied",
        "databaseMs": _database_ms(),
        "oldestUnsettledHoldS": None if oldest is None else round((now - oldest).total_seconds()),
        "overdueHolds": held.filter(deadline_at__lt=now - REAPED_WITHIN).count(),
        "exchangeRate": _exchange_rate(exchange),
    }
    return Checks(time.monotonic(), found, exchange)


def _database_ms() -> float:
    """Return how long a statement that reads nothing takes, in milliseconds."""
    began_s = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return round((time.perf_counter() - began_s) * 1000, 1)


def _exchange_rate(found: RateInForce | None) -> dict[str, Any] | None:
    """Return the age of the rate in force."""
    if found is None:
        return None
    return {
        "date": f"{found.rate.on_date}",
        "workingDays": found.working_days,
        "isStale": found.is_stale,
    }
