"""The pages of alerts as plain values: lines with their links and deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from gateway.alerts.delivery.confirmation import Asked
from gateway.alerts.delivery.messages import EVENTS
from gateway.alerts.reports import deliveries_of, last_deliveries, unconfirmed
from gateway.models import Alert, AlertChannel, AlertDelivery, Budget
from gateway.requests.timeline import Status

COLUMNS: Final = (
    *("alertId", "raisedAt", "kind", "percent", "sentence", "budgetId", "acknowledgedAt"),
    *("acknowledgedBy", "deliveries"),
)
KIND_WORDS: Final = {
    Alert.Kind.BUDGET: "Budget",
    Alert.Kind.FORECAST: "Forecast",
    Alert.Kind.DAY_LIMIT: "Daily limit",
    Alert.Kind.SPIKE: "Spike",
    Alert.Kind.REFUSAL: "Refused call",
    Alert.Kind.EXCHANGE_RATE: "Exchange rate",
    Alert.Kind.PROVIDER_CREDENTIALS: "Provider credentials",
    Alert.Kind.ABOVE_HOLD: "Bill above its hold",
}
_DELIVERY: Final = {
    AlertDelivery.State.DELIVERED: Status(word="delivered", tone="good", sign="✓"),
    AlertDelivery.State.WAITING: Status(word="pending", tone="wait", sign="…"),
    AlertDelivery.State.FAILED: Status(word="failed", tone="bad", sign="✕"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try of a delivery, and what came of it."""

    at: datetime
    detail: str
    took_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLine:
    """One delivery as the page shows it, with its tries, oldest first."""

    delivery: AlertDelivery
    status: Status
    tries: tuple[Try, ...]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLine:
    """An alert as the list shows it. `costs_query` leads to the costs behind it."""

    alert: Alert
    kind: str
    status: Status
    budget_id: UUID | None
    costs_query: str
    deliveries: tuple[DeliveryLine, ...]
    sent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLine:
    """A channel as the list shows it: never more of a URL than its host."""

    channel: AlertChannel
    where: str
    is_paused: bool
    unconfirmed: list[str]
    last: DeliveryLine | None


def alert_lines(alerts: Sequence[Alert], *, organization_id: UUID) -> list[AlertLine]:
    """Return the alerts as lines: two queries."""
    deliveries = deliveries_of(alerts)
    ids = {alert.budget_id for alert in alerts if alert.budget_id}
    rows = Budget.objects.filter(org=organization_id, id__in=ids)
    budgets = set(rows.values_list("id", flat=True)) if ids else set()
    return [_line(alert, deliveries[alert.pk], budgets) for alert in alerts]


def channel_lines(channels: Sequence[AlertChannel], now: datetime) -> list[ChannelLine]:
    """Return the channels as lines."""
    last = last_deliveries(channels)
    return [
        ChannelLine(
            channel=channel,
            where=where(channel),
            is_paused=is_paused(channel, now),
            unconfirmed=unconfirmed(channel),
            last=delivery_line(last[channel.pk]) if channel.pk in last else None,
        )
        for channel in channels
    ]


def is_paused(channel: AlertChannel, now: datetime) -> bool:
    """Whether nothing is sent through the channel because it failed too often."""
    return channel.paused_until is not None and now < channel.paused_until


def sent_links(asked: Asked) -> str:
    """Return a sentence on links that were sent to addresses, empty when there were none."""
    parts = []
    if asked.emails:
        parts.append(f"A link to confirm was sent to {', '.join(asked.emails)}.")
    if asked.fault:
        parts.append(f"Not every address got a link: {asked.fault}.")
    return " ".join(parts)


def where(channel: AlertChannel) -> str:
    """Return where a channel leads; the rest of a webhook's URL is often a secret."""
    if channel.kind == AlertChannel.Kind.EMAIL:
        return ", ".join(channel.emails)
    parts = urlsplit(channel.url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}/…"


def exported(alert: Alert, deliveries: Sequence[AlertDelivery]) -> dict[str, Any]:
    """Return an alert as the row of a file."""
    at = alert.acknowledged_at
    return {
        "alertId": str(alert.pk),
        "raisedAt": alert.raised_at.isoformat(),
        "kind": EVENTS[Alert.Kind(alert.kind)],
        "percent": alert.percent,
        "sentence": alert.sentence,
        "budgetId": str(alert.budget_id) if alert.budget_id else None,
        "acknowledgedAt": at.isoformat() if at else None,
        "acknowledgedBy": alert.acknowledged_by or None,
        "deliveries": "; ".join(f"{each.channel.name}: {each.state}" for each in deliveries),
    }


def delivery_line(delivery: AlertDelivery) -> DeliveryLine:
    """Return a delivery as a line."""
    attempts: Sequence[Mapping[str, Any]] = delivery.attempts
    tries = tuple(
        Try(at=datetime.fromisoformat(each["at"]), detail=each["said"], took_ms=each["took_ms"])
        for each in attempts
    )
    detail = tries[-1].detail if tries else ""
    return DeliveryLine(
        delivery=delivery,
        status=_DELIVERY[AlertDelivery.State(delivery.state)],
        tries=tries,
        detail=f"{detail}, {len(tries)} tries" if len(tries) > 1 else detail,
    )


def _line(alert: Alert, deliveries: Sequence[AlertDelivery], budgets: set[UUID]) -> AlertLine:
    lines = tuple(map(delivery_line, deliveries))
    return AlertLine(
        alert=alert,
        kind=KIND_WORDS[Alert.Kind(alert.kind)],
        status=_status(alert),
        budget_id=alert.budget_id if alert.budget_id in budgets else None,
        costs_query=f"{alert.figures.get('costs_query') or ''}",
        deliveries=lines,
        sent=_sent_summary(lines),
    )


def _status(alert: Alert) -> Status:
    if alert.acknowledged_at is not None:
        return Status(word="acknowledged", tone="", sign="✓")
    is_over = alert.percent == 100 or alert.kind in {Alert.Kind.SPIKE, Alert.Kind.REFUSAL}
    return (
        Status(word="open", tone="bad", sign="!")
        if is_over
        else Status(word="open", tone="wait", sign="!")
    )


def _sent_summary(lines: Sequence[DeliveryLine]) -> str:
    """Return a summary of an alert's deliveries."""
    if not lines:
        return "shown here only"
    counts = dict.fromkeys(("delivered", "pending", "failed"), 0)
    for line in lines:
        counts[line.status.word] += 1
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
