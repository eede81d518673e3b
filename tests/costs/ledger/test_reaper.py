"""Holds of dead processes are charged in full; those of live ones are kept."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from costs.core.holds import State
from costs.ledger import reaper, verify
from costs.ledger.reaper import PAUSE_MAX, PAUSE_MIN, Reaped, Reaper
from costs.models import HoldPeriod
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.costs.books import (
    Books,
    Desk,
    ask,
    books,
    check_the_books,
    events,
    period_ids,
    settlement,
    states,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def beat(desk: Desk) -> None:
    reaper.beat(desk.store, desk.ledger.instance_id, host="here", pid=1)


@pytest.fixture
def other(new_desk: Callable[[], Desk]) -> Desk:
    """Another process, which reaps."""
    return new_desk()


def reap(desk: Desk) -> int:
    return Reaper(desk.ledger).reap(desk.store).settled


def test_hold_of_live_process_is_not_reaped(desk: Desk, other: Desk, acme: Organization) -> None:
    beat(desk)
    desk.hold(acme, 100, deadline_s=210)
    for _ in range(21):
        desk.pass_s(10)
        beat(desk)
        assert reap(other) == 0
    assert states(acme) == ["held"]


@pytest.mark.parametrize(("silent_s", "reaped"), [(30, 0), (30.001, 1)])
def test_process_without_heartbeats_is_dead(
    desk: Desk, other: Desk, acme: Organization, silent_s: float, reaped: int
) -> None:
    beat(desk)
    desk.hold(acme, 100)
    desk.pass_s(silent_s)
    assert reap(other) == reaped


@pytest.mark.parametrize(("waited_s", "reaped"), [(210, 0), (210.001, 1)])
def test_hold_past_deadline_is_charged_even_if_process_lives(
    desk: Desk, acme: Organization, waited_s: float, reaped: int
) -> None:
    desk.hold(acme, 100, deadline_s=210)
    desk.pass_s(waited_s)
    beat(desk)
    assert reap(desk) == reaped


def test_abandoned_hold_is_charged_in_full(desk: Desk, other: Desk, acme: Organization) -> None:
    beat(desk)
    asked, _ = desk.hold(acme, 100, limit=100)
    reaper.record_stopped(desk.store, desk.ledger.instance_id)
    assert (reap(other), reap(other)) == (1, 0)
    assert (states(acme), events(acme)) == (["unknown"], [("bound", 100)])
    assert books(acme) == Books(held=0, settled=100)
    row = AiRequestLog.objects.get(pk=asked.request_id)
    assert (row.status, row.code, row.cost_nanoeur) == ("unknown", "abandoned", 100)
    desk.pass_s(30 * 24 * 3600)
    assert reap(other) == 0
    assert books(acme) == Books(held=0, settled=100)
    check_the_books()


@pytest.mark.parametrize(
    ("outcome", "cost"), [(State.SETTLED, 30), (State.SETTLED, 130), (State.RELEASED, None)]
)
def test_late_settlement_corrects_reaped_charge(
    desk: Desk, other: Desk, acme: Organization, outcome: State, cost: int | None
) -> None:
    charged = cost or 0
    beat(desk)
    asked, admitted = desk.hold(acme, 100, limit=100)
    desk.pass_s(60)
    assert reap(other) == 1
    late = desk.settle(settlement(asked, admitted, outcome, cost))
    assert (late.changed, late.charged_nanoeur) == (True, charged)
    assert events(acme) == [("bound", 100), ("correction", charged - 100)]
    assert books(acme) == Books(0, min(charged, 100), max(0, charged - 100))
    assert not desk.settle(settlement(asked, admitted, State.SETTLED, 5)).changed
    check_the_books()


def test_two_reapers_charge_hold_once(
    desk: Desk, other: Desk, new_desk: Callable[[], Desk], acme: Organization
) -> None:
    beat(desk)
    for _ in range(3):
        desk.hold(acme, 100)
    desk.pass_s(60)
    _, left = Reaper(other.ledger).abandoned(other.store)
    third = new_desk()
    assert reap(third) == 3
    assert reaper.settle_left(other.store, other.ledger, left) == 0
    assert books(acme) == Books(held=0, settled=300)
    check_the_books()


def test_hold_that_cannot_be_settled_does_not_block_others(
    desk: Desk, other: Desk, acme: Organization
) -> None:
    beat(desk)
    asked, _ = desk.hold(acme, 100)
    HoldPeriod.objects.filter(hold_id=asked.id).delete()
    for _ in range(3):
        desk.hold(acme, 100)
    desk.pass_s(60)
    reaped = Reaper(other.ledger).reap(other.store)
    assert reaped == Reaped(found=4, settled=3, put_aside=1)
    assert states(acme) == ["held", "unknown", "unknown", "unknown"]


def without_period(desk: Desk, acme: Organization) -> UUID:
    """Make a hold that cannot be settled."""
    beat(desk)
    asked, _ = desk.hold(acme, 100)
    HoldPeriod.objects.filter(hold_id=asked.id).delete()
    return asked.id


def test_hold_that_cannot_be_settled_is_reported_once_and_tried_at_growing_intervals(
    desk: Desk, other: Desk, acme: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    hold_id = without_period(desk, acme)
    desk.pass_s(60)
    one = Reaper(other.ledger)
    assert one.reap(other.store) == Reaped(found=1, settled=0, put_aside=1)
    pauses_s = [10 * 2**n for n in range(9)]
    for pause_s in (*pauses_s, PAUSE_MAX.total_seconds(), PAUSE_MAX.total_seconds()):
        desk.pass_s(pause_s - 0.001)
        assert one.reap(other.store) == Reaped(found=0, settled=0, put_aside=0)
        desk.pass_s(0.001)
        assert one.reap(other.store) == Reaped(found=1, settled=0, put_aside=1)
    reports = [record for record in caplog.records if str(hold_id) in record.getMessage()]
    assert len(reports) == 1
    report = verify.verify()
    checks = {finding.check for finding in report.findings}
    assert checks == {"hold_without_period", "period_balance"}
    assert [note.check for note in report.notes] == ["pending_too_long"]


def test_put_aside_hold_is_settled_once_that_is_possible(
    desk: Desk, other: Desk, acme: Organization
) -> None:
    hold_id = without_period(desk, acme)
    desk.pass_s(60)
    one = Reaper(other.ledger)
    assert one.reap(other.store) == Reaped(found=1, settled=0, put_aside=1)
    HoldPeriod.objects.create(hold_id=hold_id, period_id=period_ids(acme)[0])
    assert one.reap(other.store) == Reaped(found=0, settled=0, put_aside=0)
    desk.pass_s(PAUSE_MIN.total_seconds())
    assert one.reap(other.store) == Reaped(found=1, settled=1, put_aside=0)
    check_the_books()


def test_many_holds_that_cannot_be_settled_do_not_hide_others(
    desk: Desk, other: Desk, acme: Organization
) -> None:
    for _ in range(7):
        without_period(desk, acme)
    desk.pass_s(1)
    desk.hold(acme, 100)
    desk.pass_s(60)
    one = Reaper(other.ledger, at_once=3)
    reaped = [one.reap(other.store) for _ in range(4)]
    assert [each.put_aside for each in reaped] == [3, 3, 1, 0]
    assert [each.settled for each in reaped] == [0, 0, 1, 0]


def test_reap_command_settles_others_and_fails_for_what_cannot_be_settled(
    desk: Desk, acme: Organization
) -> None:
    without_period(desk, acme)
    desk.hold(acme, 100)
    out = StringIO()  # the test's clock is in the past, so that both are abandoned
    with pytest.raises(CommandError, match="Holds that cannot be settled: 1"):
        call_command("ledger", "reap", stdout=out)
    assert out.getvalue().startswith("Settled 1 abandoned calls")
    assert states(acme) == ["held", "unknown"]


def test_withdrawn_call_is_released_if_held(desk: Desk, acme: Organization) -> None:
    asked, _ = desk.hold(acme, 100)
    never = ask(acme, 100)
    withdrawn = [reaper.withdrawal(asked), reaper.withdrawal(never)]
    assert reaper.settle_left(desk.store, desk.ledger, withdrawn) == 1
    assert (states(acme), events(acme)) == (["released"], [])
    check_the_books()
