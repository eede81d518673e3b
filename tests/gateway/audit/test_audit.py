"""`audit verify` finds every call whose row, hold and charge differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import transaction
from django.db.models import F

from costs.core.holds import State
from costs.models import CostEvent, Hold
from gateway.audit.verify import verify
from gateway.models import AiRequestLog
from orgs.fields import new_id
from orgs.models import Organization
from tests.commands import output_of
from tests.costs.books import Desk, ask, settlement
from tests.factories import AiRequestLogFactory, CostEventFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


@pytest.fixture
def desk(transactional_db: None) -> Iterator[Desk]:
    """A ledger on the database's clock."""
    desk = Desk()
    yield desk
    desk.close()


@pytest.fixture
def audited(desk: Desk, acme: Organization) -> Organization:
    """One request of each status, and a refused one."""
    for outcome, cost in ((State.SETTLED, 40), (State.RELEASED, None), (State.UNKNOWN, None)):
        asked, admitted = desk.hold(acme, 100, limit=1000)
        desk.settle(settlement(asked, admitted, outcome, cost))
    desk.hold(acme, 100, limit=1000)
    desk.reserve(ask(acme, 10_000, limit=1000))
    return acme


audit = partial(output_of, "audit", "verify")


def test_verify_prints_counts_and_sums(audited: Organization) -> None:
    assert audit().splitlines() == [
        "checked 5 requests: 1 blocked, 1 error, 1 ok, 1 pending, 1 unknown",
        "charged by the audit log  0.000000140 EUR",
        "charged by cost events    0.000000140 EUR",
        "of it estimated           0.000000100 EUR",
        "held by running calls     0.000000100 EUR",
        "no differences found",
    ]
    report = json.loads(audit("--format", "json"))
    assert report["agrees"] is True
    assert report["lookedAt"]["charged_by_events_eur"] == "0.000000140"
    assert report["lookedAt"]["estimated_eur"] == "0.000000100"


def row(status: str) -> Any:
    return AiRequestLog.objects.filter(status=status)


def one_more_hold(org: Organization) -> None:
    copy = Hold.objects.filter(state="settled")[0]
    copy.pk = new_id()
    copy.save(force_insert=True)


FAULTS: dict[str, tuple[str, Callable[[Organization], Any]]] = {
    "a row is gone": ("hold_without_row", lambda org: row("ok").delete()),
    "an event has no row": ("event_without_row", lambda org: CostEventFactory.create(org=org)),
    "a row has no hold": ("status", lambda org: AiRequestLogFactory.create(org=org)),
    "a row was passed off as refused": ("status", lambda org: row("ok").update(status="blocked")),
    "a row says ok before its time": ("status", lambda org: row("pending").update(status="ok")),
    "an unknown outcome is called ok": ("status", lambda org: row("unknown").update(status="ok")),
    "a failed call has its hold still": (
        "status",
        lambda org: row("pending").update(
            status="error", cost_nanoeur=0, completed_at=F("occurred_at")
        ),
    ),
    "a request has two holds": ("status", one_more_hold),
    "a row has another hold": ("hold_amount", lambda org: row("ok").update(hold_nanoeur=99)),
    "a row has another cost": ("cost", lambda org: row("ok").update(cost_nanoeur=39)),
    "a row has another estimate": ("cost", lambda org: row("ok").update(estimated_nanoeur=40)),
    "a refused row has a cost": ("cost", lambda org: row("blocked").update(cost_nanoeur=1)),
    "a row over has no cost": ("cost", lambda org: row("error").update(cost_nanoeur=None)),
    "a row over has no end": ("cost", lambda org: row("ok").update(completed_at=None)),
    "an event is gone": ("cost", lambda org: CostEvent.objects.filter(kind="usage").delete()),
    "a call is pending too long": (
        "pending_too_long",
        lambda org: Hold.objects.filter(state="held").update(
            deadline_at=F("held_at") - timedelta(seconds=61)
        ),
    ),
}


def test_every_difference_is_reported(audited: Organization) -> None:
    for fault, (check, break_it) in FAULTS.items():
        with transaction.atomic():
            break_it(audited)
            findings = verify().findings
            transaction.set_rollback(True)
        assert check in {finding.check for finding in findings}, fault
        assert all("\n" not in finding.sentence for finding in findings), fault


def test_inconsistent_log_fails_command(audited: Organization) -> None:
    row("ok").update(cost_nanoeur=39)
    with pytest.raises(CommandError, match="Differences found"):
        audit()


def test_hold_just_past_deadline_is_left_to_reaper(audited: Organization) -> None:
    Hold.objects.filter(state="held").update(deadline_at=F("held_at") - timedelta(seconds=30))
    assert verify().findings == []
