"""One try of a delivery: prepare it, send it, record what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils.timezone import now as current_time

from gateway.alerts.delivery import breaker, mail, messages, webhook
from gateway.alerts.delivery.confirmation import confirmed
from gateway.alerts.delivery.messages import AlertMessage
from gateway.alerts.delivery.signing import secret_of, signature
from gateway.alerts.delivery.webhook import Outcome
from gateway.core.providers import Reach
from gateway.models import AlertChannel, AlertDelivery
from orgs.console.commands import installation_url

TRIES_MAX: Final = 8
# What could not be delivered by then, because the channel is paused, is no news any more.
EXPIRES_AFTER: Final = timedelta(hours=24)
# A process that claimed a try and did not report by then has died; a try is over long before.
CLAIM: Final = timedelta(minutes=2)
USER_AGENT: Final = "Pulse-AI-Gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """A try of a delivery and its outcome."""

    delivery: AlertDelivery
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A delivery with all that sending it needs; `emails` are the confirmed ones."""

    delivery: AlertDelivery
    message: AlertMessage
    emails: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """What came of a try. One that was not sent says nothing about the channel's receiver."""

    outcome: Outcome
    took_ms: int = 0
    was_sent: bool = True


def deliver_test(channel: AlertChannel) -> DeliveryResult:
    """Send a test through a channel, once, and keep what came of it."""
    now = current_time()
    delivery = AlertDelivery.objects.create(channel=channel, tries=1, next_try_at=now + CLAIM)
    prepared = prepare(delivery, now)
    if isinstance(prepared, Prepared):
        if not connection.in_atomic_block:
            connection.close()  # PostgreSQL has few, and the network may take its time
        prepared = send(prepared)
    return record(delivery, prepared, current_time())


def reach() -> Reach:
    """Return what webhooks of this installation may reach."""
    private = settings.ALERTS_PRIVATE_HOSTS
    return Reach(loopback=settings.LOCAL or private, private=private)


def secret_for(channel: AlertChannel) -> str:
    """Return what a channel's deliveries are signed with."""
    return secret_of(channel.pk, channel.secret_version, settings.WEBHOOK_PEPPER)


def prepare(delivery: AlertDelivery, now: datetime) -> Prepared | DeliveryAttempt:
    """Return what is to be sent, or why nothing is."""
    channel, alert = delivery.channel, delivery.alert
    if alert is not None and not channel.enabled:
        return not_sent("the channel is off")
    if alert is not None and now > alert.raised_at + EXPIRES_AFTER:
        return not_sent(f"could not be delivered within {EXPIRES_AFTER // timedelta(hours=1)} h")
    if channel.kind != AlertChannel.Kind.EMAIL:
        return Prepared(delivery=delivery, message=_message(delivery, now))
    known = confirmed(channel.org_id, channel.emails)
    emails = tuple(email for email in channel.emails if email in known)
    if not emails:
        return not_sent("no address of the channel is confirmed")
    return Prepared(delivery=delivery, message=_message(delivery, now), emails=emails)


def send(prepared: Prepared) -> DeliveryAttempt:
    """Send it and return what came of it. Blocks; does not use the database."""
    started = time.monotonic()
    outcome = _send_email(prepared) if prepared.emails else _post(prepared)
    return DeliveryAttempt(outcome=outcome, took_ms=round((time.monotonic() - started) * 1000))


def record(delivery: AlertDelivery, attempt: DeliveryAttempt, now: datetime) -> DeliveryResult:
    """Write down how the try went. One that another process has claimed since keeps its claim."""
    outcome = attempt.outcome
    with transaction.atomic():
        row = AlertDelivery.objects.select_for_update().filter(pk=delivery.pk).first()
        if row is not None:  # else its channel was deleted meanwhile
            row.attempts = [*row.attempts, entry(attempt, now)]
            if row.tries == delivery.tries or outcome.is_delivered:
                for name, value in _changes(delivery, outcome, now).items():
                    setattr(row, name, value)
            row.save()
            delivery.attempts, delivery.state = row.attempts, row.state
            # A person sees that a test fails; one that arrives ends a pause.
            if attempt.was_sent and (delivery.alert_id or outcome.is_delivered):
                breaker.count_try(delivery.channel_id, is_delivered=outcome.is_delivered, now=now)
    return DeliveryResult(delivery=delivery, outcome=outcome)


def retry_after(tries: int) -> timedelta:
    """Return how long to wait after so many tries: doubled each time."""
    return timedelta(seconds=settings.ALERTS_RETRY_S) * (1 << tries - 1)


def _changes(delivery: AlertDelivery, outcome: Outcome, now: datetime) -> dict[str, Any]:
    if outcome.is_delivered:
        return {"state": AlertDelivery.State.DELIVERED, "delivered_at": now}
    if delivery.alert_id is None or delivery.tries >= TRIES_MAX or not outcome.may_pass:
        return {"state": AlertDelivery.State.FAILED}
    return {
        "state": AlertDelivery.State.WAITING,
        "next_try_at": now + retry_after(delivery.tries),
    }


def entry(attempt: DeliveryAttempt, now: datetime) -> dict[str, Any]:
    """Return the attempt as it is kept in its delivery's row."""
    return {
        "at": now.isoformat(timespec="seconds"),
        "delivered": attempt.outcome.is_delivered,
        "said": attempt.outcome.detail,
        "took_ms": attempt.took_ms,
    }


def not_sent(detail: str) -> DeliveryAttempt:
    """Return the attempt of a delivery that must not be sent."""
    return DeliveryAttempt(outcome=Outcome(is_delivered=False, detail=detail), was_sent=False)


def _message(delivery: AlertDelivery, now: datetime) -> AlertMessage:
    organization, base_url = delivery.channel.org, installation_url()
    if delivery.alert is None:
        return messages.of_test(delivery.pk, organization, now, base_url=base_url)
    return messages.of_alert(delivery.alert, organization, base_url=base_url)


def _send_email(prepared: Prepared) -> Outcome:
    subject, text = messages.as_email(prepared.message)
    message_id = f"{prepared.delivery.pk}@pulse-ai-gateway"
    return mail.send(prepared.emails, subject, text, message_id=message_id)


def _post(prepared: Prepared) -> Outcome:
    delivery, message = prepared.delivery, prepared.message
    body = messages.as_json(message)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Idempotency-Key": str(delivery.pk),
        "X-Pulse-Event": message.event,
        "X-Pulse-Signature": signature(
            body, secret=secret_for(delivery.channel), at=int(current_time().timestamp())
        ),
    }
    return webhook.post(delivery.channel.url, body, headers, reach())
