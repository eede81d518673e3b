"""Whether the process is alive, and whether it can serve requests."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse

from costs.ledger.verify import REAPED_WITHIN
from costs.models import Hold
from gateway.call.reads import read
from gateway.call.runtime import Checks, Gateway, current
from gateway.core.errors import GatewayError
from gateway.http.answers import json_response, only
from orgs.threads import READINESS

# What the database shows is kept this long: any number of probes costs one read.
CHECKS_KEPT_S: Final = 2.0
# The ledger's writer commits a heartbeat every 5 s, and gives up a commit after 10 s.
COMMIT_WITHIN_S: Final = 20.0


@only("GET", "HEAD")
async def healthz(request: HttpRequest) -> HttpResponse:
    """Report that the process is alive."""
    return json_response({"status": "ok"}, None)


@only("GET", "HEAD")
async def readyz(request: HttpRequest) -> HttpResponse:
    """Report whether requests can be served: the database, its migrations, the ledger's commits.

    Unsettled holds are shown and decide nothing: an instance with such a hold serves all others.
    """
    gateway = current()
    if gateway.is_stopping:
        return json_response({"status": "stopping"}, None, status=503)
    checks = await _checks(gateway)
    age_s = gateway.writer.commit_age_s
    ledger = "ok" if age_s is None or age_s < COMMIT_WITHIN_S else "stalled"
    is_ready = checks.get("migrations") == "applied" and ledger == "ok"
    body = {"status": "ready" if is_ready else "not ready", **checks, "ledger": ledger}
    return json_response(body, None, status=200 if is_ready else 503)


async def _checks(gateway: Gateway) -> dict[str, Any]:
    """Return what the database shows, read at most every CHECKS_KEPT_S."""
    kept = gateway.checks
    if kept is not None and time.monotonic() - kept.read_at < CHECKS_KEPT_S:
        return kept.found
    # Others get the last result until this one is there; the first ones wait for it.
    last = None if kept is None else Checks(time.monotonic(), kept.found)
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
    found = _in_database()
    gateway.checks = Checks(time.monotonic(), found)
    return found


def _in_database() -> dict[str, Any]:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return {"database": "ok", "migrations": "pending"}  # the tables may not be there
    now = datetime.now(UTC)
    held = Hold.objects.filter(state=Hold.State.HELD)
    oldest = held.order_by("held_at").values_list("held_at", flat=True).first()
    return {
        "database": "ok",
        "migrations": "applied",
        "oldestUnsettledHoldS": None if oldest is None else round((now - oldest).total_seconds()),
        "overdueHolds": held.filter(deadline_at__lt=now - REAPED_WITHIN).count(),
    }
