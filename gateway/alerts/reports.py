"""What the console and the commands show of alerts, as rows: lists, and how many are open."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import QuerySet

from gateway.alerts.delivery.confirmation import confirmed
from gateway.models import Alert, AlertChannel, AlertDelivery

ALERTS_PER_PAGE: Final = 50
OPEN, ACKNOWLEDGED = "open", "acknowledged"
# A badge need not say more.
OPEN_COUNTED_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertQuery:
    """Filters of the list of alerts; None matches any."""

    state: str | None = None
    kind: str | None = None
    alert_id: UUID | None = None
    older_than: UUID | None = None


def alerts(
    *, organization_id: UUID, query: AlertQuery, limit: int = ALERTS_PER_PAGE
) -> tuple[list[Alert], bool]:
    """Return the alerts that match, newest first, and whether there are more."""
    rows = Alert.objects.filter(org=organization_id).order_by("-id")
    if query.state is not None:
        rows = rows.filter(acknowledged_at__isnull=query.state == OPEN)
    if query.kind is not None:
        rows = rows.filter(kind=query.kind)
    if query.alert_id is not None:
        rows = rows.filter(id=query.alert_id)
    if query.older_than is not None:
        rows = rows.filter(id__lt=query.older_than)
    found = list(rows[: limit + 1])
    return found[:limit], len(found) > limit


def deliveries_of(alerts: Collection[Alert]) -> dict[UUID, list[AlertDelivery]]:
    """Return the deliveries of each alert by its id: one query."""
    found: dict[UUID, list[AlertDelivery]] = {alert.pk: [] for alert in alerts}
    if found:
        rows = AlertDelivery.objects.filter(alert__in=found).select_related("channel")
        for delivery in rows.order_by("id"):
            if delivery.alert_id is not None:
                found[delivery.alert_id].append(delivery)
    return found


def channels(*, organization_id: UUID) -> list[AlertChannel]:
    """Return the organization's channels, oldest first."""
    return list(AlertChannel.objects.filter(org=organization_id))


def unconfirmed(channel: AlertChannel) -> list[str]:
    """Return the channel's addresses to which nothing is sent: their owners did not confirm."""
    known = confirmed(channel.org_id, channel.emails)
    return [email for email in channel.emails if email not in known]


def last_deliveries(channels: Collection[AlertChannel]) -> dict[UUID, AlertDelivery]:
    """Return the last thing that was sent through each channel, tests included."""
    found = {}
    for channel in channels:
        tried = AlertDelivery.objects.filter(channel=channel, tries__gt=0)
        if (last := tried.order_by("-id").first()) is not None:
            found[channel.pk] = last
    return found


def open_count(organization_id: UUID) -> int:
    """Return the number of unacknowledged alerts, counted to OPEN_COUNTED_MAX: one query."""
    rows: QuerySet[Alert] = Alert.objects.filter(org=organization_id, acknowledged_at=None)
    return rows.order_by()[:OPEN_COUNTED_MAX].count()
