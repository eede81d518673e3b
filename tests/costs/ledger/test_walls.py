"""Writes that triggers and constraints reject."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from costs.models import CostEvent, ExchangeRate, Period, PriceFactor, Rate
from orgs.fields import new_id
from orgs.models import Organization
from tests.costs.books import prices_version
from tests.databases import by_hand
from tests.factories import (
    CostEventFactory,
    ExchangeRateFactory,
    PeriodFactory,
    PriceFactorFactory,
    RateFactory,
)

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

WALL = "held would pass the limit"


@pytest.fixture
def period(acme: Organization) -> Period:
    """700 of 1000 are held, settled or billed above a hold."""
    return PeriodFactory.create(
        org=acme, limit_nanoeur=1000, held_nanoeur=300, settled_nanoeur=300, overrun_nanoeur=100
    )


def test_trigger_alone_rejects_increase_past_limit(period: Period) -> None:
    by_hand("UPDATE period SET held_nanoeur = 600 WHERE id = %s", period.pk)
    with pytest.raises(DatabaseError, match=WALL):
        by_hand("UPDATE period SET held_nanoeur = held_nanoeur + 1 WHERE id = %s", period.pk)
    period.refresh_from_db()
    assert period.held_nanoeur == 600


def test_trigger_also_covers_new_period(period: Period) -> None:
    day = {
        "starts_at": datetime(2025, 6, 2, tzinfo=UTC),
        "ends_at": datetime(2025, 6, 3, tzinfo=UTC),
    }
    with pytest.raises(DatabaseError, match=WALL), transaction.atomic():
        PeriodFactory.create(org=period.org, limit_nanoeur=10, held_nanoeur=11, **day)


def test_charge_is_recorded_regardless_of_limit(period: Period) -> None:
    """The trigger checks new holds only: an overrun and a lowered limit are allowed."""
    by_hand(
        "UPDATE period SET held_nanoeur = 0, settled_nanoeur = 900, overrun_nanoeur = 500 "
        "WHERE id = %s",
        period.pk,
    )
    by_hand("UPDATE period SET limit_nanoeur = 5 WHERE id = %s", period.pk)
    with pytest.raises(DatabaseError, match=WALL):
        by_hand("UPDATE period SET held_nanoeur = 1 WHERE id = %s", period.pk)
    by_hand("UPDATE period SET limit_nanoeur = NULL, held_nanoeur = 9000 WHERE id = %s", period.pk)


@pytest.mark.parametrize("column", ["held_nanoeur", "settled_nanoeur", "overrun_nanoeur"])
def test_no_balance_is_negative(period: Period, column: str) -> None:
    with pytest.raises(IntegrityError):
        by_hand(f"UPDATE period SET {column} = -1 WHERE id = %s", period.pk)  # noqa: S608


def test_cost_event_cannot_be_changed(acme: Organization) -> None:
    event = CostEventFactory.create(org=acme)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        CostEvent.objects.filter(pk=event.pk).update(amount_nanoeur=0)
    with pytest.raises(DatabaseError, match="never changed"):
        by_hand("UPDATE cost_event SET team_id = 'other' WHERE id = %s", event.pk)


def test_period_starts_once(period: Period) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        PeriodFactory.create(org=period.org, starts_at=period.starts_at, ends_at=period.ends_at)


def test_every_price_change_raises_price_list_version(db: None) -> None:
    versions = [prices_version()]
    for change in (
        RateFactory.create,
        ExchangeRateFactory.create,
        PriceFactorFactory.create,
        lambda: Rate.objects.update(source="other"),
        lambda: ExchangeRate.objects.update(usd_per_eur=2),
        lambda: PriceFactor.objects.update(factor=1),
        lambda: by_hand("DELETE FROM rate"),
        lambda: by_hand("DELETE FROM exchange_rate"),
        lambda: by_hand("DELETE FROM price_factor"),
    ):
        change()
        versions.append(prices_version())
    assert versions == sorted(set(versions))


def test_id_is_found_by_its_text(acme: Organization) -> None:
    event = CostEventFactory.create(org=acme, request_id=(request_id := new_id()))
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM cost_event WHERE request_id = %s", [str(request_id)])
        assert str(cursor.fetchone()[0]) == str(event.pk)
