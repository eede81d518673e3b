"""Deliver alerts to their channels, with retries after temporary failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils.timezone import now as current_time

from gateway.alerts.delivery import mail, messages, webhook
from gateway.alerts.delivery.addresses import Reach
from gateway.alerts.delivery.messages import AlertMessage
from gateway.alerts.delivery.signing import secret_of, signature
from gateway.alerts.delivery.webhook import Outcome
from gateway.models import AlertChannel, AlertDelivery
from orgs.console.commands import installation_url

TRIES_MAX: Final = 8
FIRST_RETRY: Final = timedelta(seconds=30)  # doubled each time: 30 s, 1 min, … 32 min
# A process that claimed a try and did not report by then has died; a try is over long before.
CLAIM: Final = timedelta(minutes=2)
AT_ONCE_MAX: Final = 100
USER_AGENT: Final = "Pulse-AI-Gateway"

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """A try of a delivery and its outcome."""

    delivery: AlertDelivery
    outcome: Outcome


def deliver_due(
    *, clock: Clock, goes_on: Callable[[], bool] = lambda: True
) -> list[DeliveryResult]:
    """Try everything that is due, the longest waiting first, and return what came of each.

    Each try is claimed first, by a conditional update, and no transaction is open while it lasts:
    several processes never send the same at the same time. One that dies in the middle leaves it
    to be tried again, under the same id.
    """
    due = AlertDelivery.objects.filter(
        state=AlertDelivery.State.WAITING, next_try_at__lte=clock()
    ).order_by("next_try_at", "id")
    results = []
    for delivery in due.select_related("channel__org", "alert")[:AT_ONCE_MAX]:
        if not goes_on():
            break
        if _claimed(delivery, clock()):
            results.append(_tried(delivery, clock))
    return results


def deliver_test(channel: AlertChannel) -> DeliveryResult:
    """Send a test through a channel, once, and keep what came of it."""
    now = current_time()
    delivery = AlertDelivery.objects.create(channel=channel, tries=1, next_try_at=now + CLAIM)
    return _tried(delivery, current_time, is_only_try=True)


def reach() -> Reach:
    """Return what webhooks of this installation may reach."""
    private = settings.ALERTS_PRIVATE_HOSTS
    return Reach(loopback=settings.LOCAL or private, private=private)


def secret_for(channel: AlertChannel) -> str:
    """Return what a channel's deliveries are signed with."""
    return secret_of(channel.pk, channel.secret_version, settings.WEBHOOK_PEPPER)


def _claimed(delivery: AlertDelivery, now: datetime) -> bool:
    """Begin the next try; False where another process has, or it has ended meanwhile."""
    rows = AlertDelivery.objects.filter(
        pk=delivery.pk,
        state=AlertDelivery.State.WAITING,
        tries=delivery.tries,
        next_try_at=delivery.next_try_at,
    )
    taken = rows.update(tries=delivery.tries + 1, next_try_at=now + CLAIM)
    delivery.tries += 1
    return bool(taken)


def _tried(delivery: AlertDelivery, clock: Clock, *, is_only_try: bool = False) -> DeliveryResult:
    started = time.monotonic()
    if not connection.in_atomic_block:
        connection.close()  # PostgreSQL has few, and the network may take its time
    channel, outcome = delivery.channel, None
    if not channel.enabled and not is_only_try:
        outcome = Outcome(is_delivered=False, detail="the channel is off")
    outcome = outcome or _sent(delivery, _message(delivery, clock()))
    took_ms = round((time.monotonic() - started) * 1000)
    _close_try(delivery, outcome, clock(), took_ms, is_last=is_only_try)
    return DeliveryResult(delivery=delivery, outcome=outcome)


def _message(delivery: AlertDelivery, now: datetime) -> AlertMessage:
    organization, base_url = delivery.channel.org, installation_url()
    if delivery.alert is None:
        return messages.of_test(delivery.pk, organization, now, base_url=base_url)
    return messages.of_alert(delivery.alert, organization, base_url=base_url)


def _sent(delivery: AlertDelivery, message: AlertMessage) -> Outcome:
    channel = delivery.channel
    if channel.kind == AlertChannel.Kind.EMAIL:
        subject, text = messages.as_email(message)
        message_id = f"{delivery.pk}@pulse-ai-gateway"
        return mail.send(channel.emails, subject, text, message_id=message_id)
    body = messages.as_json(message)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Idempotency-Key": str(delivery.pk),
        "X-Pulse-Event": message.event,
        "X-Pulse-Signature": signature(
            body, secret=secret_for(channel), at=int(current_time().timestamp())
        ),
    }
    return webhook.post(channel.url, body, headers, reach())


def _close_try(
    delivery: AlertDelivery, outcome: Outcome, now: datetime, took_ms: int, *, is_last: bool
) -> None:
    """Write down how the try went. One that another process has claimed since keeps its claim."""
    attempt = {
        "at": now.isoformat(timespec="seconds"),
        "delivered": outcome.is_delivered,
        "said": outcome.detail,
        "took_ms": took_ms,
    }
    is_last = is_last or delivery.tries >= TRIES_MAX or not outcome.may_pass
    changes: dict[str, Any] = {"state": AlertDelivery.State.WAITING}
    if outcome.is_delivered:
        changes = {"state": AlertDelivery.State.DELIVERED, "delivered_at": now}
    elif is_last:
        changes = {"state": AlertDelivery.State.FAILED}
    else:
        changes |= {"next_try_at": now + retry_after(delivery.tries)}
    with transaction.atomic():
        row = AlertDelivery.objects.select_for_update().filter(pk=delivery.pk).first()
        if row is None:  # its channel was deleted meanwhile
            return
        row.attempts = [*row.attempts, attempt]
        if row.tries == delivery.tries or outcome.is_delivered:
            for name, value in changes.items():
                setattr(row, name, value)
        row.save()
    delivery.attempts, delivery.state = row.attempts, row.state


def retry_after(tries: int) -> timedelta:
    """Return how long to wait after so many tries."""
    return FIRST_RETRY * (1 << tries - 1)
