"""RESERVE and SETTLE, one step at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection

from costs.core.admission import Admitted, InsufficientRoom, RefusalRecorded, Repeated
from costs.core.holds import State
from costs.models import CostEvent, Hold, HoldPeriod, Period
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.costs.books import (
    Books,
    Clock,
    Desk,
    admitted_and_full,
    ask,
    books,
    check_the_books,
    events,
    period_ids,
    settlement,
    states,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def row_of(request_id: UUID) -> AiRequestLog:
    return AiRequestLog.objects.get(pk=request_id)


def test_call_is_held_before_it_is_charged(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    assert books(acme) == Books(held=100, settled=0)
    assert row_of(asked.request_id).status == "pending"
    desk.settle(settlement(asked, admitted, State.SETTLED, 40))
    assert books(acme) == Books(held=0, settled=40)
    assert events(acme) == [("usage", 40)]
    assert row_of(asked.request_id).cost_nanoeur == 40
    check_the_books()


def test_unbilled_call_costs_nothing(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100)
    desk.settle(settlement(asked, admitted, State.RELEASED))
    assert books(acme) == Books(held=0, settled=0)
    assert (events(acme), row_of(asked.request_id).cost_nanoeur) == ([], 0)
    check_the_books()


def test_call_without_usage_is_charged_full_hold_until_usage_arrives(
    desk: Desk, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100)
    desk.settle(settlement(asked, admitted, State.UNKNOWN))
    assert books(acme) == Books(held=0, settled=100)
    check_the_books()
    desk.settle(settlement(asked, admitted, State.SETTLED, 30))
    assert books(acme) == Books(held=0, settled=30)
    assert events(acme) == [("bound", 100), ("correction", -70)]
    assert row_of(asked.request_id).status == "ok"
    check_the_books()


def test_overrun_counts_against_limit(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=200)
    settled = desk.settle(settlement(asked, admitted, State.SETTLED, 150))
    assert (settled.charged_nanoeur, settled.overrun_nanoeur) == (150, 50)
    assert books(acme) == Books(held=0, settled=100, overrun=50)
    assert isinstance(desk.reserve(ask(acme, 51, limit=200)), InsufficientRoom)
    desk.hold(acme, 50, limit=200)
    check_the_books()


def test_call_up_to_limit_is_admitted(desk: Desk, acme: Organization) -> None:
    asks = [ask(acme, 100, limit=299) for _ in range(3)]
    assert admitted_and_full(desk.commit(asks)[0]) == (2, 1)
    desk.hold(acme, 99, limit=299)
    assert isinstance(desk.reserve(ask(acme, 1, limit=299)), InsufficientRoom)
    desk.hold(acme, 0, limit=299)
    check_the_books()


def test_settlements_of_batch_free_room_for_its_reservations(
    desk: Desk, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100, limit=100)
    ended = settlement(asked, admitted, State.SETTLED, 10)
    answers, _ = desk.commit([ask(acme, 90, limit=100), ask(acme, 1, limit=100)], [ended])
    assert admitted_and_full(answers) == (1, 1)
    assert books(acme) == Books(held=90, settled=10)
    check_the_books()


def test_call_is_settled_once(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100)
    assert desk.settle(settlement(asked, admitted, State.SETTLED, 40)).changed
    for outcome, cost in ((State.SETTLED, 60), (State.UNKNOWN, None), (State.RELEASED, None)):
        again = desk.settle(settlement(asked, admitted, outcome, cost))
        assert (again.changed, again.state, again.charged_nanoeur) == (False, State.SETTLED, 40)
    assert (books(acme), events(acme)) == (Books(held=0, settled=40), [("usage", 40)])
    check_the_books()


def test_last_settlement_in_batch_wins(desk: Desk, acme: Organization) -> None:
    for _ in range(5):  # a database that picks one of two changes may pick the right one
        asked, admitted = desk.hold(acme, 100)
        unknown = settlement(asked, admitted, State.UNKNOWN)
        late = settlement(asked, admitted, State.SETTLED, 40)
        _, settled = desk.commit((), [unknown, late])
        assert [each.changed for each in settled] == [True, True]
        assert row_of(asked.request_id).status == "ok"
    assert (books(acme), set(states(acme))) == (Books(held=0, settled=200), {"settled"})
    check_the_books()


def test_settling_unknown_hold_does_nothing(desk: Desk, acme: Organization) -> None:
    _, admitted = desk.hold(acme, 100)
    never = settlement(ask(acme, 100), admitted, State.SETTLED, 40)
    assert not desk.settle(never).changed
    assert (books(acme), events(acme)) == (Books(held=100, settled=0), [])


def test_call_across_midnight_counts_on_day_of_admission(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    clock.now = datetime(2025, 6, 2, 21, 59, 59, tzinfo=UTC)  # a second before Acme's midnight
    asked, admitted = desk.hold(acme, 100, limit=100)
    clock.pass_s(1)
    desk.hold(acme, 100, limit=100)
    desk.settle(settlement(asked, admitted, State.SETTLED, 70))
    first, second = Period.objects.filter(org=acme).order_by("starts_at")
    assert first.ends_at == second.starts_at == clock.now
    assert (first.held_nanoeur, first.settled_nanoeur) == (0, 70)
    assert (second.held_nanoeur, second.settled_nanoeur) == (100, 0)
    check_the_books()


def test_time_zone_change_grants_no_limit_twice(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    desk.hold(acme, 100, limit=100)
    Organization.objects.update(timezone="Pacific/Kiritimati")  # its day ends at 10:00 UTC
    assert isinstance(desk.reserve(ask(acme, 1, limit=100)), InsufficientRoom)
    clock.now = datetime(2025, 6, 2, 22, tzinfo=UTC)
    desk.hold(acme, 100, limit=100)
    clock.now = datetime(2025, 6, 3, 10, tzinfo=UTC)
    desk.hold(acme, 100, limit=100)
    windows = list(Period.objects.order_by("starts_at").values_list("starts_at", "ends_at"))
    assert [ends_at for _, ends_at in windows[:-1]] == [starts_at for starts_at, _ in windows[1:]]
    check_the_books()


def test_clock_set_back_finds_existing_period(desk: Desk, clock: Clock, acme: Organization) -> None:
    desk.hold(acme, 100, limit=100)
    clock.pass_s(-24 * 3600)
    desk.hold(acme, 100, limit=100)
    assert isinstance(desk.reserve(ask(acme, 1, limit=100)), InsufficientRoom)
    assert len(period_ids(acme)) == 2
    check_the_books()


def test_hold_and_charge_use_database_clock(today: Desk, acme: Organization) -> None:
    asked, admitted = today.hold(acme, 100)
    today.settle(settlement(asked, admitted, State.SETTLED, 40))
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        [[now]] = cursor.fetchall()
    hold, event = Hold.objects.get(pk=asked.id), CostEvent.objects.get()
    assert hold.resolved_at is not None
    assert admitted.now == hold.held_at < hold.resolved_at == event.recorded_at
    if connection.vendor == "postgresql":  # SQLite's own has no fractions
        assert abs(hold.resolved_at - now) < timedelta(seconds=0.5)


def test_hold_keeps_rates_of_admission(desk: Desk, acme: Organization) -> None:
    asked, _ = desk.hold(acme, 100, deadline_s=210)
    hold = Hold.objects.get(pk=asked.id)
    assert hold.rate_card.rates == {"model": "gpt-4o-mini"}
    assert hold.deadline_at - hold.held_at == timedelta(seconds=210)


def test_refusal_leaves_row_but_no_hold(desk: Desk, acme: Organization) -> None:
    refused = ask(acme, 101, limit=100)
    assert isinstance(desk.reserve(refused), InsufficientRoom)
    row = row_of(refused.request_id)
    assert (row.status, row.code, row.cost_nanoeur) == ("blocked", "daily_cost_limit", 0)
    judged_before = ask(acme, None)
    assert isinstance(desk.reserve(judged_before), RefusalRecorded)
    tighter = ask(acme, 101, limit=100, record_if_spent=False)
    assert isinstance(desk.reserve(tighter), InsufficientRoom)
    assert not AiRequestLog.objects.filter(pk=tighter.request_id).exists()
    assert states(acme) == []


# --- Idempotency-Keys ---------------------------------------------------------------------------


def test_repeat_is_found_within_batch_and_later(desk: Desk, acme: Organization) -> None:
    asks = [ask(acme, 100, repeat="k"), ask(acme, 100, repeat="k", body="another")]
    (first, second), _ = desk.commit(asks)
    assert isinstance(first, Admitted)
    running = Repeated(
        request_id=asks[0].request_id, same_body=False, running=True, cost_nanoeur=None
    )
    assert second == running
    desk.settle(settlement(asks[0], first, State.SETTLED, 40))
    done = desk.reserve(ask(acme, 100, repeat="k"))
    assert done == Repeated(
        request_id=asks[0].request_id, same_body=True, running=False, cost_nanoeur=40
    )
    assert states(acme) == ["settled"]
    check_the_books()


def test_idempotency_key_of_other_organization_is_no_repeat(
    desk: Desk, acme: Organization, globex: Organization
) -> None:
    answers, _ = desk.commit([ask(acme, 1, repeat="acme:k"), ask(globex, 1, repeat="globex:k")])
    assert admitted_and_full(answers) == (2, 0)


def test_idempotency_key_is_freed_by_release_or_after_day(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100, repeat="k")
    desk.settle(settlement(asked, admitted, State.RELEASED))
    asked, admitted = desk.hold(acme, 100, repeat="k")
    desk.settle(settlement(asked, admitted, State.SETTLED, 1))
    clock.pass_s(24 * 3600 - 1)
    assert isinstance(desk.reserve(ask(acme, 100, repeat="k")), Repeated)
    clock.pass_s(1)
    desk.hold(acme, 100, repeat="k")
    check_the_books()


# --- a try that committed unseen ------------------------------------------------------------------


def test_retried_batch_neither_doubles_nor_loses(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=300)
    asks = [
        ask(acme, 100, limit=300, repeat="k"),
        ask(acme, 100, limit=300),
        ask(acme, 1, limit=300),
    ]
    ended = [settlement(asked, admitted, State.UNKNOWN)]
    first, _ = desk.commit(asks, ended)
    again, _ = desk.commit(asks, ended, again=True)
    assert admitted_and_full(first) == admitted_and_full(again) == (2, 1)
    assert books(acme) == Books(held=200, settled=100)
    assert events(acme) == [("bound", 100)]
    check_the_books()


def test_hold_found_by_retry_keeps_its_day(desk: Desk, clock: Clock, acme: Organization) -> None:
    clock.now = datetime(2025, 6, 2, 21, 59, 59, tzinfo=UTC)
    asked = ask(acme, 100, limit=100)
    desk.reserve(asked)
    clock.pass_s(2)  # the answer was lost, and midnight has passed
    (admitted,), _ = desk.commit([asked], again=True)
    assert isinstance(admitted, Admitted)
    assert list(admitted.period_ids) == list(
        HoldPeriod.objects.filter(hold_id=asked.id).values_list("period_id", flat=True)
    )
    desk.settle(settlement(asked, admitted, State.SETTLED, 70))
    assert books(acme) == Books(held=0, settled=70)
    check_the_books()


def test_hold_found_by_retry_is_admitted_despite_changes(desk: Desk, acme: Organization) -> None:
    asked = ask(acme, 100)
    desk.reserve(asked)
    Organization.objects.update(ai_gateway_enabled=False)
    (admitted,), _ = desk.commit([asked], again=True)
    assert isinstance(admitted, Admitted)
    assert states(acme) == ["held"]
