"""`ledger verify` finds hours whose shares do not add up, and charges that are not their share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from costs.core.hours import HOUR
from costs.ledger.verify import verify
from costs.models import Hold, HourCost, HourlyPrice, HourShare
from orgs.models import Organization
from tests.costs.books import NOON, Clock, Desk
from tests.costs.hours.calls import call, close_all, known_call
from tests.factories import CostEventFactory, HourlyPriceFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

FAULTS: dict[str, tuple[Callable[[], object], set[str]]] = {
    "divided": (lambda: HourCost.objects.update(divided_nanoeur=7), {"hour_cost"}),
    "amount": (lambda: HourCost.objects.update(amount_nanoeur=7), {"hour_cost"}),
    "calls": (lambda: HourCost.objects.update(calls=7), {"hour_cost"}),
    "waits": (lambda: HourShare.objects.update(charged_at=None), {"hour_cost"}),
    "share": (lambda: HourShare.objects.update(nanoeur=7), {"hour_cost", "hour_share"}),
    "no share": (
        lambda: HourShare.objects.all().delete(),
        {"hour_cost", "adjustment_without_share"},
    ),
}


@pytest.fixture
def closed(desk: Desk, clock: Clock, acme: Organization) -> HourlyPrice:
    """An hour that two calls share."""
    price = HourlyPriceFactory.create(starts_at=NOON)
    for tokens in (10, 20):
        known_call(desk, acme, tokens=tokens, cost_nanoeur=9)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    return price


def found() -> set[str]:
    return {finding.check for finding in verify().findings}


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("fault", FAULTS)
def test_hour_that_does_not_add_up_is_found(fault: str) -> None:
    change, checks = FAULTS[fault]
    assert found() == set()
    change()
    assert found() == checks


def test_share_marked_as_charged_without_adjustment_is_found(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    HourlyPriceFactory.create(starts_at=NOON)
    known_call(desk, acme, tokens=10)
    call(desk, acme, 10, deadline_s=99_999)  # so that the hour is not counted
    share = HourShare(id=known_call(desk, acme, tokens=3).asked.id, nanoeur=5)
    share.hour_cost = HourCost.objects.create(
        **dict.fromkeys(("unknown_nanoeur", "tokens"), 0),
        **{"provider": "own", "starts_at": NOON, "ends_at": NOON + HOUR, "counted_at": NOON},
        **{"amount_nanoeur": 5, "divided_nanoeur": 5, "calls": 1},
    )
    HourCost.objects.update(tokens=3)
    share.save(force_insert=True)
    assert found() == set()
    HourShare.objects.update(charged_at=clock.now)
    assert found() == {"hour_share"}


def test_adjustment_that_leaves_estimate_is_found(desk: Desk, acme: Organization) -> None:
    made = known_call(desk, acme, tokens=10, cost_nanoeur=5)
    Hold.objects.update(charged_nanoeur=7)
    by_hand = {"amount_nanoeur": 2, "estimated_nanoeur": 2}
    CostEventFactory.create(org=acme, hold_id=made.asked.id, kind="adjustment", **by_hand)
    assert "hold_events" in found()
