"""Whether an organization's day costs more than its weekday usually has by now, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings

from costs.core.calendar.periods import local_day
from costs.core.money import format_eur
from gateway.alerts.rules import past
from gateway.alerts.rules.findings import AlertFinding
from gateway.alerts.rules.spikes import (
    Driver,
    Spike,
    days_like,
    driver_of,
    is_repeated,
    spent_by,
    spike_in,
)
from gateway.models import Alert
from orgs.models import Organization


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualDays:
    """The days that `of` is compared with, and what their hours have cost."""

    of: date
    days: tuple[date, ...]
    by_hour: dict[datetime, int]


# By the organization's id; the past is read once a day.
Remembered = dict[UUID, UsualDays]


def findings_on_today(
    organization: Organization, now: datetime, spent_nanoeur: int, remembered: Remembered
) -> list[AlertFinding]:
    """Return the spike to raise, if there is one."""
    least = settings.ALERTS_SPIKE_MIN_NANOEUR
    if spent_nanoeur < least:
        return []
    zone = ZoneInfo(organization.timezone)
    today, clock = local_day(now, zone), now.astimezone(zone).timetz().replace(tzinfo=None)
    usual = _usual_days(organization.pk, today, zone, remembered)
    spent = [spent_by(clock, day, zone, usual.by_hour) for day in usual.days]
    spike = spike_in(spent_nanoeur, spent, least_nanoeur=least)
    if spike is None:
        return []
    number = _number(organization.pk, today, spent_nanoeur)
    if number is None:
        return []
    driver = _driver(organization.pk, today, usual, spike, sum(spent))
    query = {"from": f"{today}", "to": f"{today}", "groupBy": "model"}
    if driver is not None:
        query |= {past.parameter_of(driver): driver.value}
        query["groupBy"] = "team" if driver.dimension == "Model" else "model"
    return [
        AlertFinding(
            key=f"spike:{today}:{number}",
            kind=Alert.Kind.SPIKE,
            sentence=_sentence(
                spike, now.astimezone(zone), _driver_sentence(organization.pk, driver)
            ),
            figures={
                "spent_nanoeur": spike.spent_nanoeur,
                "usual_nanoeur": spike.usual_nanoeur,
                "starts_on": f"{today}",
                "last_day": f"{today}",
                "dimension": driver.dimension.lower() if driver else None,
                "value": driver.value if driver else None,
                "rise_percent": driver.percent if driver else None,
                "costs_query": urlencode(query),
            },
        )
    ]


def _usual_days(
    organization_id: UUID, today: date, zone: ZoneInfo, remembered: Remembered
) -> UsualDays:
    known = remembered.get(organization_id)
    if known is not None and known.of == today:
        return known
    first = past.first_charged_day(organization_id)
    days = days_like(today, first_charged=first) if first else []
    usual = UsualDays(
        of=today,
        days=tuple(days),
        by_hour=past.costs_by_hour(organization_id, days, zone),
    )
    remembered[organization_id] = usual
    return usual


def _number(organization_id: UUID, today: date, spent_nanoeur: int) -> int | None:
    """Return which spike of the day this is: the first, or one since which costs have doubled."""
    sent = Alert.objects.filter(org=organization_id, key__startswith=f"spike:{today}:")
    last = sent.order_by("-id").first()
    if last is None:
        return 1
    if not is_repeated(spent_nanoeur, int(last.figures["spent_nanoeur"])):
        return None
    return int(last.key.rpartition(":")[2]) + 1


def _driver(
    organization_id: UUID, today: date, usual: UsualDays, spike: Spike, by_now_nanoeur: int
) -> Driver | None:
    whole_nanoeur = sum(usual.by_hour.values())
    return driver_of(
        spike,
        past.parts(organization_id, today=today, days=usual.days),
        days=len(usual.days),
        usual_part=by_now_nanoeur / whole_nanoeur if whole_nanoeur > 0 else 0.0,
    )


def _driver_sentence(organization_id: UUID, driver: Driver | None) -> str:
    if driver is None:
        return ""
    return (
        f' {driver.dimension} "{past.named(organization_id, driver)}" '
        f"accounts for {driver.percent} % of the increase."
    )


def _sentence(spike: Spike, local: datetime, driven: str) -> str:
    spent, usual = format_eur(spike.spent_nanoeur), format_eur(spike.usual_nanoeur)
    times = spike.spent_nanoeur / spike.usual_nanoeur if spike.usual_nanoeur else 0.0
    often = f"{times:.1f} times the usual amount" if 0 < times < 100 else "unusual"
    return (
        f"Today's costs are {often}: {spent} by {local:%H:%M}; a usual {local:%A} has "
        f"{usual} by then.{driven}"
    )
