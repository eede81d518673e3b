"""GROW: a hold takes more from its limits, or nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from costs.core.growth import Grown
from costs.core.holds import State
from costs.ledger.connect import open_store
from costs.ledger.reaper import Reaper
from costs.ledger.stores.base import StoreUnavailable
from costs.ledger.writer import LedgerUnavailable, Writer
from costs.models import Hold, Period
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.costs.books import (
    Books,
    Desk,
    ask,
    books,
    check_the_books,
    events,
    growth,
    new_ledger,
    settlement,
    states,
)
from tests.costs.clients import together, until
from tests.costs.faulty import Faults, FaultyStore
from tests.costs.ledger.test_ledger_failures import WRITES_MAX
from tests.costs.ledger.test_several_limits import limit as budget

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def held(nanoeur: int, left: int | None) -> Grown:
    return Grown(is_held=True, amount_nanoeur=nanoeur, left_nanoeur=left)


def test_hold_grows_in_exactly_its_periods(desk: Desk, acme: Organization) -> None:
    others = (budget("budget:b", 1000),)
    desk.hold(acme, 5, limit=1000, budgets=others)
    asked, admitted = desk.hold(acme, 100, limit=1000, budgets=(budget("budget:a", 500),))
    assert desk.grow(growth(asked, admitted, 300)) == [held(300, 200)]
    found = Period.objects.order_by("scope").values_list("scope", "held_nanoeur")
    assert list(found) == [("budget:a", 300), ("budget:b", 5), ("org", 305)]
    assert Hold.objects.get(pk=asked.id).amount_nanoeur == 300
    assert AiRequestLog.objects.get(pk=asked.request_id).hold_nanoeur == 300
    check_the_books()


def test_hold_grows_up_to_its_limit_and_no_further(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=300)
    desk.hold(acme, 50, limit=300)
    assert desk.grow(growth(asked, admitted, 251)) == [held(100, 150)]
    assert books(acme) == Books(held=150, settled=0)
    assert desk.grow(growth(asked, admitted, 250)) == [held(250, 0)]
    assert books(acme) == Books(held=300, settled=0)
    check_the_books()


def test_hold_without_room_in_one_limit_grows_in_none(desk: Desk, acme: Organization) -> None:
    budgets = (budget("budget:a", 150),)
    asked, admitted = desk.hold(acme, 100, limit=1000, budgets=budgets)
    assert desk.grow(growth(asked, admitted, 200)) == [held(100, 50)]
    assert {each.held_nanoeur for each in Period.objects.all()} == {100}
    check_the_books()


def test_hold_grows_without_any_limit(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100)
    assert desk.grow(growth(asked, admitted, 10**12)) == [held(10**12, None)]
    assert books(acme) == Books(held=10**12, settled=0)


def test_spent_money_and_overrun_leave_less_to_grow(desk: Desk, acme: Organization) -> None:
    desk.settle(settlement(*desk.hold(acme, 50, limit=300), State.SETTLED, 120))
    asked, admitted = desk.hold(acme, 100, limit=300)
    assert desk.grow(growth(asked, admitted, 181)) == [held(100, 80)]
    assert desk.grow(growth(asked, admitted, 180)) == [held(180, 0)]
    check_the_books()


def test_growth_is_held_to_limit_of_last_admission(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    desk.hold(acme, 10, limit=200)
    assert desk.grow(growth(asked, admitted, 191)) == [held(100, 90)]
    assert desk.grow(growth(asked, admitted, 190)) == [held(190, 0)]


def test_growth_that_comes_twice_counts_once(desk: Desk, acme: Organization) -> None:
    more = growth(*desk.hold(acme, 100, limit=1000), 300)
    assert desk.grow(more, more) == [held(300, 700), held(300, 700)]
    assert desk.grow(more) == [held(300, 700)]
    assert books(acme) == Books(held=300, settled=0)


def test_hold_never_shrinks(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    assert desk.grow(growth(asked, admitted, 60)) == [held(100, 900)]
    assert books(acme) == Books(held=100, settled=0)


@pytest.mark.parametrize("outcome", [State.SETTLED, State.RELEASED, State.UNKNOWN])
def test_ended_hold_does_not_grow(desk: Desk, acme: Organization, outcome: State) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    ended = settlement(asked, admitted, outcome, 40 if outcome is State.SETTLED else None)
    desk.settle(ended)
    before = books(acme)
    grown = desk.grow(growth(asked, admitted, 300))
    assert grown == [Grown(is_held=False, amount_nanoeur=100, left_nanoeur=None)]
    assert books(acme) == before
    check_the_books()


def test_reaped_hold_is_charged_as_it_grew_and_grows_no_more(
    desk: Desk, acme: Organization
) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    desk.grow(growth(asked, admitted, 300))
    desk.pass_s(211)
    assert Reaper(desk.ledger).reap(desk.store).settled == 1
    assert (states(acme), events(acme)) == (["unknown"], [("bound", 300)])
    assert not desk.grow(growth(asked, admitted, 400))[0].is_held
    assert books(acme) == Books(held=0, settled=300)
    check_the_books()


@pytest.mark.parametrize("cost", [40, 250, 320])
def test_grown_hold_is_settled_whole(desk: Desk, acme: Organization, cost: int) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    desk.grow(growth(asked, admitted, 300))
    desk.settle(settlement(asked, admitted, State.SETTLED, cost))
    assert books(acme) == Books(held=0, settled=min(cost, 300), overrun=max(0, cost - 300))
    check_the_books()


@pytest.mark.parametrize("late", [60, 400])
def test_estimate_above_grown_hold_is_overrun_until_known(
    desk: Desk, acme: Organization, late: int
) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    desk.grow(growth(asked, admitted, 300))
    desk.settle(settlement(asked, admitted, State.UNKNOWN, 340))
    assert books(acme) == Books(held=0, settled=300, overrun=40)
    check_the_books()
    desk.settle(settlement(asked, admitted, State.SETTLED, late))
    assert books(acme) == Books(held=0, settled=min(late, 300), overrun=max(0, late - 300))
    check_the_books()


def test_running_call_of_disabled_organization_grows(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=1000)
    Organization.objects.filter(pk=acme.pk).update(ai_gateway_enabled=False)
    assert desk.grow(growth(asked, admitted, 300)) == [held(300, 700)]


def test_settlement_makes_room_for_growth_and_growth_goes_before_new_call(
    desk: Desk, acme: Organization
) -> None:
    ended = settlement(*desk.hold(acme, 200, limit=300), State.RELEASED)
    running = desk.hold(acme, 100, limit=300)
    answers, settled, grown = desk.ledger.commit(
        desk.store,
        requests=[ask(acme, 100, limit=300)],
        settlements=[ended],
        growths=[growth(*running, 300)],
    )
    assert (settled[0].changed, grown) == (True, [held(300, 0)])
    assert answers[0].__class__.__name__ == "InsufficientRoom"
    assert books(acme) == Books(held=300, settled=0)
    check_the_books()


def test_other_organizations_neither_limit_nor_notice_growth(
    desk: Desk, acme: Organization, globex: Organization
) -> None:
    desk.hold(globex, 100, limit=100)
    asked, admitted = desk.hold(acme, 100, limit=1000)
    assert desk.grow(growth(asked, admitted, 900)) == [held(900, 100)]
    assert (books(acme), books(globex)) == (Books(900, 0), Books(100, 0))
    check_the_books()


def test_growth_that_fails_at_any_write_is_rolled_back(
    desk: Desk, acme: Organization, faults: Faults
) -> None:
    more, faulty = growth(*desk.hold(acme, 100, limit=1000), 300), FaultyStore(desk.store, faults)
    for n in range(WRITES_MAX):
        faults.writes, faults.fails_at_write = 0, n
        try:
            new_ledger().commit(faulty, requests=(), settlements=(), growths=[more])
        except StoreUnavailable:
            faulty.rollback()
            assert books(acme) == Books(held=100, settled=0)
            check_the_books()
        else:
            break
    assert n > 2, "the wrapper met no writes"
    assert books(acme) == Books(held=300, settled=0)
    check_the_books()


# --- by the writer --------------------------------------------------------------------------------


def test_writer_grows_in_batch_with_other_work(
    new_writer: Callable[..., Writer], today: Desk, acme: Organization
) -> None:
    writer, first = new_writer(), today.hold(acme, 100, limit=1000)
    second = today.hold(acme, 100, limit=1000)
    found = together(
        writer,
        growth(*first, 300),
        settlement(*second, State.SETTLED, 30),
        ask(acme, 50, limit=1000),
    )
    assert found[0].amount_nanoeur == 300
    assert books(acme) == Books(held=350, settled=30)
    check_the_books()


def test_growth_fails_while_database_is_away(
    new_writer: Callable[..., Writer], today: Desk, acme: Organization, faults: Faults
) -> None:
    more = growth(*today.hold(acme, 100, limit=1000), 300)
    writer = new_writer(lambda: FaultyStore(open_store(), faults))
    faults.is_away = True
    [found] = together(writer, more)
    assert isinstance(found, LedgerUnavailable)
    faults.is_away = False

    def grows() -> bool:
        [again] = together(writer, more)
        return not isinstance(again, LedgerUnavailable)

    until(grows)
    assert books(acme) == Books(held=300, settled=0)


def test_growth_with_lost_commit_counts_once(
    new_writer: Callable[..., Writer], today: Desk, acme: Organization, faults: Faults
) -> None:
    more = growth(*today.hold(acme, 100, limit=1000), 300)
    writer = new_writer(lambda: FaultyStore(open_store(), faults))
    faults.loses_commits = 1
    [found] = together(writer, more)
    assert found == held(300, 700)
    assert books(acme) == Books(held=300, settled=0)
    check_the_books()
