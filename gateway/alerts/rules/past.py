"""What the ledger has of days like today: their hours, and their parts by dimension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q, Sum

from costs.core.calendar.periods import first_instant
from costs.explorer.names import emails, key_names
from costs.models import DailyCost
from gateway.alerts.rules.spikes import DimensionCost, Driver
from orgs.core.spelling import folded
from orgs.database import kept_id

# What may explain a rise, its column, what the explorer calls it, what people do. What comes
# first is named where several explain as much: it says best what to look at.
DIMENSIONS: Final = (
    ("App", "app_id", "appId"),
    ("Project", "project_id", "projectId"),
    ("Team", "team_id", "teamId"),
    ("User", "user_id", "userId"),
    ("Key", "key_id", "keyId"),
    ("Model", "model", "model"),
)
# The hour in which an event was admitted, as each database has it: a function that it brings
# along, and no call of Python for every row.
_HOUR: Final = {
    "postgresql": "to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24')",
    "sqlite": "substr(occurred_at, 1, 13)",
}
_DAY: Final = timedelta(days=1)
# Callers can make any number of values; what rose most is among the highest of today.
VALUES_MAX: Final = 1_000


def first_charged_day(organization_id: UUID) -> date | None:
    """Return the first day on which anything was charged."""
    lines = DailyCost.objects.filter(org=organization_id).order_by("day")
    return lines.values_list("day", flat=True).first()


def costs_by_hour(
    organization_id: UUID, days: Sequence[date], zone: ZoneInfo
) -> dict[datetime, int]:
    """Return what the hours of these local days have cost, by the beginning of each in UTC.

    One statement, which reads the events of these days alone. Of an hour in which a day begins or
    ends, it adds up that day's part.
    """
    if not days:
        return {}
    hour = _HOUR[connection.vendor]
    one_day = (
        f"SELECT {hour} AS at, SUM(amount_nanoeur) AS nanoeur FROM cost_event "  # noqa: S608
        "WHERE org_id = %s AND occurred_at >= %s AND occurred_at < %s GROUP BY 1"
    )
    values: list[Any] = []
    for day in days:
        instants = first_instant(day, zone), first_instant(day + _DAY, zone)
        values += [kept_id(organization_id), *map(_instant, instants)]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([one_day] * len(days)), values)
        rows = cursor.fetchall()
    return {
        datetime.strptime(at, "%Y-%m-%d %H").replace(tzinfo=UTC): int(nanoeur)
        for at, nanoeur in rows
    }


def parts(organization_id: UUID, *, today: date, days: Sequence[date]) -> list[DimensionCost]:
    """Return what the values of each dimension with the highest costs today have cost today and
    on those days."""
    is_today = Q(day=today)
    lines = DailyCost.objects.filter(org=organization_id, day__in=[today, *days])
    found: list[DimensionCost] = []
    for label, column, _ in DIMENSIONS:
        sums = (
            lines.exclude(**{column: None})
            .order_by()
            .values_list(column)
            .annotate(
                now=Sum("amount_nanoeur", filter=is_today, default=0),
                before=Sum("amount_nanoeur", filter=~is_today, default=0),
            )
        )
        found += _parts(label, sums.order_by("-now", column).iterator())
    return found


def _parts(label: str, sums: Iterable[tuple[Any, int, int]]) -> Iterable[DimensionCost]:
    """Return what VALUES_MAX names have cost in all their spellings, each shown in its first.

    The sums have the highest of today first.
    """
    parts: dict[str, DimensionCost] = {}
    for value, today, before in sums:
        name = folded(f"{value}")
        part = parts.get(name)
        if part is None:
            if today <= 0 or len(parts) == VALUES_MAX:
                continue
            part = DimensionCost(
                dimension=label, value=f"{value}", today_nanoeur=0, before_nanoeur=0
            )
        parts[name] = replace(
            part,
            today_nanoeur=part.today_nanoeur + int(today),
            before_nanoeur=part.before_nanoeur + int(before),
        )
    return [
        replace(part, before_nanoeur=max(0, part.before_nanoeur))
        for part in parts.values()
        if part.today_nanoeur > 0
    ]


def named(organization_id: UUID, driver: Driver) -> str:
    """Return what people call a driver's value."""
    names: dict[str, str] = {}
    if driver.dimension == "User":
        names = emails(organization_id=organization_id, user_ids=[driver.value])
    elif driver.dimension == "Key":
        names = key_names(organization_id=organization_id, key_ids=[driver.value])
    return names.get(driver.value, driver.value)


def parameter_of(driver: Driver) -> str:
    """Return what the cost explorer calls a driver's dimension."""
    return next(name for label, _, name in DIMENSIONS if label == driver.dimension)


def _instant(moment: datetime) -> datetime | str:
    """Return an instant as the column keeps it: SQLite compares texts."""
    if connection.vendor == "postgresql":
        return moment
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
