"""Charges at any moment, with the daily lines that the ledger would write."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid5
from zoneinfo import ZoneInfo

from django.db.models import F

from costs.core.calendar.periods import day_around, local_day
from costs.ledger.stores.tables import LINE_NAMES, SUMS
from costs.models import CostEvent, CostLine, DailyCost, MonthlyCost, Period, SessionCost
from orgs.models import Organization
from tests.factories import CostEventFactory

NOON = datetime(2025, 6, 10, 12, tzinfo=UTC)
NOTHING = dict.fromkeys(SUMS, 0)


def charge(organization: Organization, amount_nanoeur: int, **fields: object) -> CostEvent:
    """Charge an organization, at NOON unless `occurred_at` is given."""
    event = CostEventFactory.create(
        org=organization, **{"occurred_at": NOON, "amount_nanoeur": amount_nanoeur} | fields
    )
    zone = ZoneInfo(organization.timezone)
    day = local_day(event.occurred_at, zone)
    starts_at, ends_at = day_around(event.occurred_at, zone)
    named = {name: getattr(event, name) for name in LINE_NAMES}
    period, _ = Period.objects.get_or_create(
        id=uuid5(organization.pk, f"{day}"),
        defaults={"org": organization, "scope": "org", "starts_on": day}
        | {"starts_at": starts_at, "ends_at": ends_at},
    )
    # A day of the ledger never has less than nothing.
    Period.objects.filter(pk=period.pk).update(
        settled_nanoeur=max(0, period.settled_nanoeur + amount_nanoeur)
    )
    of_line = {"org": organization} | named
    lines: tuple[tuple[CostLine | SessionCost, bool], ...] = (
        DailyCost.objects.get_or_create(
            **of_line | {"period_id": period.pk, "day": day}, defaults=NOTHING
        ),
        MonthlyCost.objects.get_or_create(
            **of_line | {"month": day.replace(day=1)}, defaults=NOTHING
        ),
    )
    if event.session_id is not None:
        of_session = {"session_id": event.session_id, "agent_id": event.agent_id}
        lines += (
            SessionCost.objects.get_or_create(
                **of_line | of_session | {"period_id": period.pk, "day": day},
                defaults=NOTHING | {"cache_read_tokens": 0},
            ),
        )
    for line, _ in lines:
        type(line)._default_manager.filter(pk=line.pk).update(
            amount_nanoeur=F("amount_nanoeur") + amount_nanoeur,
            estimated_nanoeur=F("estimated_nanoeur") + event.estimated_nanoeur,
            events=F("events") + 1,
            requests=F("requests") + int(event.kind != CostEvent.Kind.CORRECTION),
            input_tokens=F("input_tokens") + (event.input_tokens or 0),
            output_tokens=F("output_tokens") + (event.output_tokens or 0),
        )
    return event
