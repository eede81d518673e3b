"""The page of a request that is priced by the hour, before and after its hour is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client

from costs.core.holds import State
from costs.core.hours import HOUR
from costs.ledger.balances import added_by_hours
from costs.models import Period
from gateway.policies.reports import spend_today
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.costs.books import NOON, Clock, Desk
from tests.costs.hours.calls import EUR, HourlyCall, call, close_all, known_call
from tests.factories import HourlyPriceFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock() -> Clock:
    """A test clock at noon."""
    return Clock()


@pytest.fixture
def desk(transactional_db: None, clock: Clock) -> Iterator[Desk]:
    """A ledger on the test's clock, with 2.40 EUR an hour from noon on."""
    HourlyPriceFactory.create(starts_at=NOON)
    desk = Desk(clock=clock)
    yield desk
    desk.close()


def page_of(client: Client, made: HourlyCall) -> str:
    return client.get(f"/admin/ai/requests/{made.asked.request_id}").content.decode()


def test_page_says_whether_hour_is_over(
    desk: Desk, clock: Clock, acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    made = known_call(desk, acme, tokens=300, cost_nanoeur=7)
    late = call(desk, acme, EUR)
    late.settle(desk, State.UNKNOWN)
    client = client_for(member_user)
    page = page_of(client, made)
    assert "Priced by the hour, which is not over" in page
    assert "2.4 EUR, divided over the hour" in page
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    late.settle(desk, State.SETTLED, 9, 11)
    page = page_of(client, made)
    assert "Adjusted" in page
    assert "an estimate until the hour was divided" in page
    assert "2025-06-02 12:00 UTC" in page
    assert 'value="2400000000"' in page  # the hour's cost
    assert 'value="1400000000"' in page  # of it divided
    assert "divided before this was known: it stays an estimate" in page_of(client, late)


def test_shares_of_hours_are_not_billed_above_hold(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    known_call(desk, acme, tokens=10, cost_nanoeur=1_200, hold_nanoeur=1_000)
    known_call(desk, acme, tokens=10, cost_nanoeur=10, hold_nanoeur=1_000)
    day = spend_today(organization_id=acme.pk, moment=clock.now)
    assert (day.charged_nanoeur, day.overrun_nanoeur) == (1_210, 200)
    clock.now = NOON + 2 * HOUR
    close_all(desk)
    day = spend_today(organization_id=acme.pk, moment=clock.now)
    assert (day.charged_nanoeur, day.overrun_nanoeur) == (2_400_000_000, 200)
    assert added_by_hours(Period.objects.get()) == 2_400_000_000 - 1_210
