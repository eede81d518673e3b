"""Money of a Monday in June and of the Mondays before it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from costs.core.calendar.periods import day_around, first_instant
from gateway.models import Budget
from orgs.models import Organization
from tests.factories import (
    CostEventFactory,
    DailyCostFactory,
    PeriodFactory,
)

EUR = 10**9
PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2025, 6, 16, 12, tzinfo=UTC)  # a Monday, 14:00 in Paris
TODAY = date(2025, 6, 16)


def count(budget: Budget, charged: int, held: int = 0) -> None:
    """Set the amount that a budget has counted in June."""
    PeriodFactory.create(
        org=budget.org,
        scope=budget.scope,
        starts_at=datetime(2025, 5, 31, 22, tzinfo=UTC),
        ends_at=datetime(2025, 6, 30, 22, tzinfo=UTC),
        settled_nanoeur=charged,
        held_nanoeur=held,
    )


def charge_day(org: Organization, day: date, hours: dict[int, float], **fields: Any) -> None:
    """Charge euros by hour of a local day."""
    zone = ZoneInfo(org.timezone)
    starts_at, ends_at = day_around(first_instant(day, zone), zone)
    nanoeur = round(sum(hours.values()) * EUR)
    period = PeriodFactory.create(
        org=org, starts_on=day, starts_at=starts_at, ends_at=ends_at, settled_nanoeur=nanoeur
    )
    for hour, amount in hours.items():
        at = datetime.combine(day, time(hour, 5), tzinfo=zone).astimezone(UTC)
        CostEventFactory.create(
            org=org, occurred_at=at, amount_nanoeur=round(amount * EUR), **fields
        )
    DailyCostFactory.create(org=org, period=period, day=day, amount_nanoeur=nanoeur, **fields)


def mondays(org: Organization, weeks: int = 8, **fields: Any) -> None:
    """Charge two euros by noon and eight after it, on each previous Monday."""
    for back in range(1, weeks + 1):
        charge_day(org, TODAY - timedelta(weeks=back), {9: 2, 18: 8}, **fields)
