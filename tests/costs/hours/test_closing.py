"""Hours that are over: when they are counted, what their calls are charged, and only once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from costs.core.holds import State
from costs.core.hours import HOUR, hour_of
from costs.ledger.hours.closing import COUNTED_AT_ONCE_MAX, HourCloser
from costs.ledger.stores.base import StoreUnavailable
from costs.ledger.writer import Writer
from costs.models import (
    CostEvent,
    DailyCost,
    Hold,
    HoldPeriod,
    HourCost,
    HourlyPrice,
    HourShare,
    Instance,
    SessionCost,
)
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.costs.books import (
    NOON,
    Clock,
    Desk,
    books,
    check_the_books,
    events,
    settlement,
)
from tests.costs.clients import until
from tests.costs.faulty import Faults, FaultyStore
from tests.costs.hours.calls import (
    EUR,
    LosesCommit,
    Overtaken,
    call,
    card,
    close_all,
    close_badly,
    hour_costs,
    known_call,
)
from tests.factories import CostEventFactory, HourlyPriceFactory, OrganizationFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture
def price(transactional_db: None) -> HourlyPrice:
    """2.40 EUR an hour from noon on."""
    return HourlyPriceFactory.create(starts_at=NOON)


@pytest.mark.usefixtures("price")
def test_calls_share_hour_by_tokens(desk: Desk, clock: Clock, acme: Organization) -> None:
    known_call(desk, acme, tokens=300, cost_nanoeur=7)
    clock.pass_s(3599)
    other = OrganizationFactory.create()
    known_call(desk, other, tokens=100, cost_nanoeur=9)
    clock.now = NOON + HOUR + FIVE_MINUTES
    close_all(desk)
    assert events(acme) == [("usage", 7), ("adjustment", 1_800_000_000 - 7)]
    assert events(other) == [("usage", 9), ("adjustment", 600_000_000 - 9)]
    assert hour_costs() == [(NOON, 2_400_000_000, 0, 2_400_000_000, 400, 2)]
    assert not CostEvent.objects.filter(kind="adjustment", input_tokens__isnull=False).exists()
    check_the_books()


@pytest.mark.usefixtures("price")
def test_adjustment_is_in_lines_of_day_session_and_audit_row(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    made = known_call(desk, acme, tokens=10, cost_nanoeur=7, session_id="s-1")
    [line] = DailyCost.objects.all()
    assert (line.amount_nanoeur, line.estimated_nanoeur) == (7, 7)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    for sums in (DailyCost.objects.get(), SessionCost.objects.get()):
        assert (sums.amount_nanoeur, sums.estimated_nanoeur) == (2_400_000_000, 0)
        assert (sums.requests, sums.events, sums.input_tokens + sums.output_tokens) == (1, 2, 10)
    row = AiRequestLog.objects.get(id=made.asked.request_id)
    assert (row.cost_nanoeur, row.estimated_nanoeur, row.status) == (2_400_000_000, 0, "ok")
    assert row.input_tokens == 7  # as it was completed
    check_the_books()


@pytest.mark.usefixtures("price")
def test_hour_is_counted_five_minutes_after_its_end(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    known_call(desk, acme, tokens=10)
    clock.now = NOON + HOUR + FIVE_MINUTES - timedelta(seconds=1)
    close_all(desk)
    assert not HourCost.objects.exists()
    clock.pass_s(1)
    close_all(desk)
    assert HourCost.objects.get().done_at == clock.now


@pytest.mark.usefixtures("price")
def test_hour_waits_for_calls_that_run(desk: Desk, clock: Clock, acme: Organization) -> None:
    known_call(desk, acme, tokens=10)
    running = call(desk, acme, 500, deadline_s=9999)
    clock.now = NOON + HOUR
    later = call(desk, acme, 500, deadline_s=9999)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    assert not HourCost.objects.exists()
    running.settle(desk, State.SETTLED, 30, 12)
    close_all(desk)
    assert hour_costs() == [(NOON, 2_400_000_000, 0, 2_400_000_000, 40, 2)]
    assert later.asked.id not in CostEvent.objects.values_list("hold_id", flat=True)


@pytest.mark.usefixtures("price")
def test_call_of_another_provider_does_not_hold_up_hour(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    call(desk, acme, 500, provider="openai", deadline_s=9999)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    assert HourCost.objects.count() == 1


@pytest.mark.usefixtures("price")
def test_calls_of_unknown_outcome_keep_their_bound(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    known_call(desk, acme, tokens=10)
    call(desk, acme, EUR).settle(desk, State.UNKNOWN)
    call(desk, acme, EUR).settle(desk, State.RELEASED)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    assert hour_costs() == [(NOON, 2_400_000_000, EUR, 1_400_000_000, 10, 1)]
    assert books(acme).settled + books(acme).overrun == 2_400_000_000
    check_the_books()


@pytest.mark.usefixtures("price")
def test_unknown_calls_above_hour_leave_nothing_to_divide(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    made = known_call(desk, acme, tokens=10, cost_nanoeur=5)
    call(desk, acme, 3 * EUR).settle(desk, State.UNKNOWN)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    assert hour_costs() == [(NOON, 2_400_000_000, 3 * EUR, 0, 10, 1)]
    assert Hold.objects.get(id=made.asked.id).charged_nanoeur == 0
    check_the_books()


@pytest.mark.usefixtures("price")
def test_late_usage_counts_before_hour_is_counted_and_stays_estimate_after(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    early, late = call(desk, acme, EUR), call(desk, acme, EUR)
    for made in (early, late):
        made.settle(desk, State.UNKNOWN)
    early.settle(desk, State.SETTLED, 10, 5)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    late.settle(desk, State.SETTLED, 10, 6)
    clock.pass_s(3600)
    close_all(desk)
    charged = dict(Hold.objects.values_list("id", "charged_nanoeur"))
    assert charged == {early.asked.id: 1_400_000_000, late.asked.id: 6}
    assert AiRequestLog.objects.get(id=late.asked.request_id).estimated_nanoeur == 6
    check_the_books()


@pytest.mark.usefixtures("price")
def test_hour_without_tokens_divides_nothing(desk: Desk, clock: Clock, acme: Organization) -> None:
    known_call(desk, acme, tokens=0, cost_nanoeur=3)
    clock.now = NOON + 3 * HOUR
    close_all(desk)
    assert hour_costs() == [
        (NOON, 2_400_000_000, 0, 0, 0, 1),
        (NOON + HOUR, 2_400_000_000, 0, 0, 0, 0),
    ]
    assert events(acme) == [("usage", 3), ("adjustment", -3)]
    check_the_books()


def test_hour_can_cost_nothing(desk: Desk, clock: Clock, acme: Organization) -> None:
    HourlyPriceFactory.create(nanoeur_per_hour=0, starts_at=NOON)
    known_call(desk, acme, tokens=10, cost_nanoeur=3)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    assert events(acme) == [("usage", 3), ("adjustment", -3)]


def test_models_with_own_prices_are_divided_apart(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    for model, nanoeur in (("a", EUR), ("b", 3 * EUR)):
        HourlyPriceFactory.create(model=model, nanoeur_per_hour=nanoeur, starts_at=NOON)
    of_a = known_call(desk, acme, tokens=10, rates=card("a"))
    of_b = known_call(desk, acme, tokens=90, rates=card("b"))
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    charged = dict(Hold.objects.values_list("id", "charged_nanoeur"))
    assert charged == {of_a.asked.id: EUR, of_b.asked.id: 3 * EUR}
    check_the_books()


@pytest.mark.usefixtures("price")
def test_call_priced_by_tokens_is_not_adjusted(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100)  # its rates name no price by the hour
    desk.settle(settlement(asked, admitted, State.SETTLED, 40))
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    assert events(acme) == [("usage", 40)]


@pytest.mark.usefixtures("price")
def test_what_adjustment_adds_never_makes_period_pass_its_limit(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    """What a settled call left of its hold was given to others meanwhile."""
    known_call(desk, acme, tokens=10, cost_nanoeur=1, hold_nanoeur=1_000, limit=1_000)
    call(desk, acme, 999, limit=1_000, deadline_s=99_999).settle(desk, State.UNKNOWN)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    assert books(acme) == (0, 1_000, 2_400_000_000 - 1_000)
    check_the_books()


@pytest.mark.usefixtures("price")
def test_two_processes_count_hour_once(
    desk: Desk, new_desk: Callable[[], Desk], clock: Clock, acme: Organization
) -> None:
    for _ in range(5):
        known_call(desk, acme, tokens=10)
    clock.now = NOON + 2 * HOUR
    other = new_desk()
    for _ in range(4):
        for each in (desk, other):
            HourCloser(each.ledger, at_once=2).close(each.store)
    assert HourCost.objects.count() == 1
    assert CostEvent.objects.filter(kind="adjustment").count() == 5
    check_the_books()


@pytest.mark.usefixtures("price")
def test_hour_that_another_process_has_counted_meanwhile_is_left(
    desk: Desk, new_desk: Callable[[], Desk], clock: Clock, acme: Organization
) -> None:
    made = call(desk, acme, EUR)
    made.settle(desk, State.UNKNOWN)
    known_call(desk, acme, tokens=10)
    clock.now = NOON + 2 * HOUR

    def counted_by_other() -> None:
        close_all(new_desk())
        made.settle(desk, State.SETTLED, 10, 5)  # now it would have a share

    HourCloser(desk.ledger).close(Overtaken(desk.store, Faults(), at=2, by=counted_by_other))
    assert hour_costs() == [(NOON, 2_400_000_000, EUR, 1_400_000_000, 10, 1)]
    assert HourShare.objects.count() == 1
    check_the_books()


@pytest.mark.usefixtures("price")
def test_call_is_adjusted_once(desk: Desk, clock: Clock, acme: Organization) -> None:
    made = known_call(desk, acme, tokens=10)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    again = replace(made.adjustment(5), cost_nanoeur=5)
    _, settled = desk.commit((), [again, again])
    assert [each.changed for each in settled] == [False, False]
    check_the_books()
    with pytest.raises(IntegrityError), transaction.atomic():
        CostEventFactory.create(org=acme, kind="adjustment", hold_id=made.asked.id)


@pytest.mark.usefixtures("price")
def test_two_adjustments_in_one_batch_are_one(desk: Desk, clock: Clock, acme: Organization) -> None:
    made = known_call(desk, acme, tokens=10, cost_nanoeur=3)
    _, settled = desk.commit((), [made.adjustment(5), made.adjustment(7)])
    assert [each.changed for each in settled] == [True, False]
    assert events(acme) == [("usage", 3), ("adjustment", 2)]


@pytest.mark.usefixtures("price")
def test_call_that_cannot_be_charged_keeps_its_share_and_no_other_waits(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    broken, sound = (known_call(desk, acme, tokens=10) for _ in "ab")
    HoldPeriod.objects.filter(hold=broken.asked.id).delete()
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    charged = dict(HourShare.objects.values_list("id", "charged_at"))
    assert charged == {broken.asked.id: None, sound.asked.id: clock.now}
    assert HourCost.objects.get().done_at is None


@pytest.mark.usefixtures("price")
def test_round_can_end_at_any_write(
    desk: Desk, new_desk: Callable[[], Desk], clock: Clock, acme: Organization
) -> None:
    """The next round of another process goes on, whatever was written."""
    for n in range(40):
        clock.now = NOON + n * HOUR
        for tokens in (10, 20, 30):
            known_call(desk, acme, tokens=tokens, cost_nanoeur=4)
        clock.now += HOUR + FIVE_MINUTES
        close_badly(FaultyStore(desk.store, Faults(fails_at_write=n)), desk, at_once=2)
        close_all(new_desk(), at_once=2)
        assert sum(amount for _, amount in events(acme)) == (n + 1) * 2_400_000_000
    check_the_books()
    assert not HourCost.objects.filter(done_at=None).exists()


@pytest.mark.usefixtures("price")
def test_lost_commit_doubles_nothing(
    desk: Desk, new_desk: Callable[[], Desk], clock: Clock, acme: Organization
) -> None:
    for n in range(6):
        clock.now = NOON + n * HOUR
        known_call(desk, acme, tokens=10)
        clock.now += HOUR + FIVE_MINUTES
        close_badly(LosesCommit(desk.store, Faults(), nth=n + 1), desk)
        close_all(new_desk())
        assert CostEvent.objects.filter(kind="adjustment").count() == n + 1
    check_the_books()


def test_process_without_prices_by_hour_asks_nothing(desk: Desk) -> None:
    store = FaultyStore(desk.store, Faults(is_away=True))
    closer = HourCloser(desk.ledger)
    assert not closer.close_due(store, is_used=False)
    with pytest.raises(StoreUnavailable):
        closer.close_due(store, is_used=None)
    assert not closer.close_due(store, is_used=True)  # only once a minute


@pytest.mark.usefixtures("price")
def test_round_is_done_again_at_once_while_there_is_more(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    for _ in range(3):
        known_call(desk, acme, tokens=10)
    clock.now = NOON + 2 * HOUR
    closer = HourCloser(desk.ledger, at_once=2)
    assert closer.close_due(desk.store, is_used=True)
    assert HourCost.objects.get().done_at is None
    assert not closer.close_due(desk.store, is_used=True)
    assert HourCost.objects.get().done_at is not None


def test_long_pause_is_made_up_for_in_several_rounds(desk: Desk, clock: Clock) -> None:
    HourlyPriceFactory.create(starts_at=NOON)
    HourlyPriceFactory.create(starts_at=NOON + 30 * HOUR, is_end=True)
    clock.now = NOON + 1_000 * HOUR
    assert HourCloser(desk.ledger).close(desk.store).counted == COUNTED_AT_ONCE_MAX
    close_all(desk)
    assert HourCost.objects.count() == 30


def test_writer_closes_hours_by_itself(new_writer: Callable[..., Writer]) -> None:
    HourlyPriceFactory.create(starts_at=hour_of(now()) - 2 * HOUR)
    writer = new_writer()
    writer.start()
    until(lambda: Instance.objects.exists())
    time.sleep(0.3)
    assert not HourCost.objects.exists()  # it has heard of no price by the hour
    other = new_writer()
    other.prices_by_hour = lambda: None
    other.start()
    until(lambda: HourCost.objects.filter(done_at__isnull=False).exists())
