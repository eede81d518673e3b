"""`ledger verify` finds every kind of difference, and reports each in one line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from costs.core.holds import State
from costs.ledger.stores.base import RowKeys
from costs.ledger.verify import FINDINGS_MAX, count, snapshot, verify
from costs.models import CostEvent, DailyCost, Hold, HoldPeriod, MonthlyCost, Period
from orgs.fields import new_id
from orgs.models import Organization
from tests.commands import output_of
from tests.costs.books import Desk, ask, settlement
from tests.factories import CostEventFactory, PeriodFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


@pytest.fixture
def books_with_everything(desk: Desk, acme: Organization) -> Organization:
    """Two days with a hold in each state, a correction and an overrun."""
    for _ in range(2):
        ends = ((State.SETTLED, 40), (State.SETTLED, 130), (State.RELEASED, None))
        for outcome, cost in (*ends, (State.UNKNOWN, None)):
            asked, admitted = desk.hold(acme, 100, limit=10_000)
            desk.settle(settlement(asked, admitted, outcome, cost))
        desk.settle(settlement(asked, admitted, State.SETTLED, 30))
        asked, admitted = desk.hold(acme, 100, limit=10_000)
        desk.settle(settlement(asked, admitted, State.UNKNOWN))
        desk.hold(acme, 100, limit=10_000)
        desk.pass_s(24 * 3600)
    return acme


ledger = partial(output_of, "ledger")


def test_consistent_ledger_is_reported(books_with_everything: Organization) -> None:
    *notes, counts, last = ledger("verify").splitlines()
    assert counts == (
        "checked 2 period rows, 12 hold rows, 12 hold period rows, 10 cost event rows, "
        "2 daily cost rows, 0 session cost rows"
    )
    assert last == "no differences found"
    # The test's clock is in the past.
    assert [note.partition(":")[0] for note in notes] == ["note pending_too_long"] * 2
    report = json.loads(ledger("verify", "--format", "json"))
    assert (report["agrees"], report["findings"], len(report["notes"])) == (True, [], 2)
    assert report["lookedAt"]["hold"] == 12


def hold(state: str) -> Hold:
    return Hold.objects.filter(state=state).order_by("id")[0]


def rewrite_an_event(org: Organization) -> None:
    event = CostEvent.objects.filter(org=org).order_by("id")[0]
    CostEvent.objects.filter(pk=event.pk).delete()
    CostEventFactory.create(
        org=org, hold_id=event.hold_id, request_id=event.request_id, amount_nanoeur=41
    )


def event_for(hold: Hold, amount_nanoeur: int, **columns: Any) -> None:
    of_hold = {"org": hold.org, "hold_id": hold.pk, "request_id": hold.request_id}
    CostEventFactory.create(amount_nanoeur=amount_nanoeur, **of_hold | columns)


def move_period(org: Organization) -> None:
    period = Period.objects.filter(org=org).order_by("starts_at")[0]
    Period.objects.filter(pk=period.pk).update(ends_at=period.ends_at + timedelta(hours=1))


def admit_past_the_limit(org: Organization) -> None:
    period = Period.objects.filter(org=org).order_by("starts_at")[0]
    Period.objects.filter(pk=period.pk).update(limit_nanoeur=period.settled_nanoeur - 1)


def move_to_another_organization(org: Organization) -> None:
    other = PeriodFactory.create(
        starts_at=Period.objects.order_by("starts_at")[0].starts_at,
        ends_at=Period.objects.order_by("-starts_at")[0].ends_at,
        held_nanoeur=100,
    )
    row = HoldPeriod.objects.filter(hold=hold("held"))
    Period.objects.filter(pk=row.get().period_id).update(held_nanoeur=0)
    row.update(period=other)


FAULTS: dict[str, tuple[str, Callable[[Organization], Any]]] = {
    "held is wrong": ("period_balance", lambda org: Period.objects.update(held_nanoeur=99)),
    "settled is wrong": ("period_balance", lambda org: Period.objects.update(settled_nanoeur=1)),
    "overrun is wrong": ("period_balance", lambda org: Period.objects.update(overrun_nanoeur=1)),
    "a hold is gone": ("period_balance", lambda org: HoldPeriod.objects.all().delete()),
    "a hold was changed": (
        "period_balance",
        lambda org: Hold.objects.filter(pk=hold("held").pk).update(amount_nanoeur=101),
    ),
    "more was admitted than fits": ("period_limit", admit_past_the_limit),
    "two days overlap": ("period_overlap", move_period),
    "an event has another amount": ("hold_events", rewrite_an_event),
    "an event is gone": ("hold_events", lambda org: CostEvent.objects.all().delete()),
    "an event is there twice": ("hold_events", lambda org: event_for(hold("settled"), 0)),
    "a released call was charged": ("hold_events", lambda org: event_for(hold("released"), 0)),
    "a call in flight was charged": ("hold_events", lambda org: event_for(hold("held"), 5)),
    "an unknown call has usage": (
        "hold_events",
        lambda org: event_for(hold("unknown"), 0, kind="usage"),
    ),
    "an unknown call is charged above its hold": (
        "hold_charge",
        lambda org: Hold.objects.filter(state="unknown").update(charged_nanoeur=10**9),
    ),
    "the charge of an unknown call is no estimate": (
        "hold_events",
        lambda org: event_for(hold("unknown"), 0, kind="bound", estimated_nanoeur=-1),
    ),
    "a day's estimates are not those of its events": (
        "daily_cost",
        lambda org: DailyCost.objects.update(estimated_nanoeur=1),
    ),
    "a month's estimates are not those of its days": (
        "monthly_cost",
        lambda org: MonthlyCost.objects.update(estimated_nanoeur=1),
    ),
    "a settled call has no end": (
        "hold_charge",
        lambda org: Hold.objects.filter(state="settled").update(resolved_at=None),
    ),
    "a hold counts in no period": (
        "hold_without_period",
        lambda org: HoldPeriod.objects.filter(hold=hold("released")).delete(),
    ),
    "a hold counts in another's period": ("hold_period", move_to_another_organization),
    "a hold was made on another day": (
        "hold_period",
        lambda org: Hold.objects.filter(pk=hold("held").pk).update(
            held_at=hold("held").deadline_at + timedelta(days=9)
        ),
    ),
    "a period's hold does not exist": (
        "hold_period",
        lambda org: HoldPeriod.objects.create(hold_id=new_id(), period=Period.objects.all()[0]),
    ),
    "a hold counts twice": (
        "hold_counted_twice",
        lambda org: HoldPeriod.objects.create(
            hold=hold("released"), period=Period.objects.order_by("-starts_at")[0]
        ),
    ),
    "an event belongs to no hold": (
        "event_without_hold",
        lambda org: CostEventFactory.create(org=org),
    ),
    "an event is another organization's": (
        "event_without_hold",
        lambda org: event_for(hold("settled"), 0, org=Organization.objects.exclude(pk=org.pk)[0]),
    ),
}


def test_verify_reports_every_kind_of_difference(
    books_with_everything: Organization, globex: Organization
) -> None:
    for fault, (check, break_it) in FAULTS.items():
        with transaction.atomic():
            break_it(books_with_everything)
            findings = verify().findings
            transaction.set_rollback(True)
        assert check in {finding.check for finding in findings}, fault
        assert all("\n" not in finding.sentence for finding in findings), fault


def test_difference_makes_command_fail(
    books_with_everything: Organization,
) -> None:
    Period.objects.update(held_nanoeur=99)
    out = StringIO()
    with pytest.raises(CommandError, match="Differences found") as refusal:
        call_command("ledger", "verify", stdout=out)
    assert refusal.value.returncode == 1
    *found, _, last = out.getvalue().splitlines()
    differences = [line for line in found if not line.startswith("note ")]
    assert [line.partition(":")[0] for line in differences] == ["DIFFERENCE period_balance"] * 2
    assert last == "2 differences"


def test_overrun_past_limit_is_note(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=100)
    desk.settle(settlement(asked, admitted, State.SETTLED, 150))
    (note,) = verify().notes
    assert "billed 50 n€ above" in note.sentence
    assert "note overrun" in ledger("verify")


def test_only_first_differences_are_listed(
    books_with_everything: Organization,
) -> None:
    CostEventFactory.create_batch(FINDINGS_MAX + 5, org=books_with_everything)
    findings = [each for each in verify().findings if each.check == "event_without_hold"]
    assert len(findings) == FINDINGS_MAX + 1
    assert "only the first" in findings[-1].sentence


def test_verify_reads_one_snapshot_without_blocking_writers(
    desk: Desk, books_with_everything: Organization
) -> None:
    with snapshot() as cursor:
        before = count(cursor, "cost_event")
        desk.store.lock(RowKeys(org_ids=[books_with_everything.pk]))
        desk.store.commit()
        in_another_thread(lambda: CostEventFactory.create(org=books_with_everything))
        assert count(cursor, "cost_event") == before
    assert len(verify().findings) == 1


def in_another_thread(work: Callable[[], object]) -> None:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "somebody waits for the reader"


def test_ledger_verifies_at_every_moment_under_load(today: Desk, acme: Organization) -> None:
    asks = [ask(acme, 100, limit=10**9) for _ in range(100)]

    def calls() -> None:
        for asked in asks:
            today.settle(settlement(asked, today.reserve(asked), State.SETTLED, 140))

    thread = threading.Thread(target=calls)
    thread.start()
    reports = []
    while thread.is_alive():
        reports.append(verify())
    thread.join()
    assert {len(report.findings) for report in reports} == {0}
    assert any(0 < report.counts["hold"] < len(asks) for report in reports)


def test_reap_charges_abandoned_holds_and_prints_count(today: Desk, acme: Organization) -> None:
    today.hold(acme, 100, deadline_s=-1)
    today.hold(acme, 100, deadline_s=100)
    assert "Settled 1 abandoned calls as unknown" in ledger("reap")
    assert "Settled 0 abandoned calls" in ledger("reap")
    assert sorted(Hold.objects.values_list("state", flat=True)) == ["held", "unknown"]
    assert verify().findings == []


def test_refused_calls_leave_no_difference(desk: Desk, acme: Organization) -> None:
    desk.reserve(ask(acme, 100, limit=99))
    assert verify().counts == {
        **{"period": 0, "hold": 0, "hold_period": 0},
        **{"cost_event": 0, "daily_cost": 0, "session_cost": 0},
    }
    assert verify().findings == []
