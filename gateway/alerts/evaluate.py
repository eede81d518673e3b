"""Evaluate the rules of alerts against the ledger and record new alerts, each once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import Error as DatabaseError
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q, Sum

from costs.core.calendar.periods import local_day
from costs.models import Period
from gateway.alerts.delivery.deliver import entry, not_sent
from gateway.alerts.rules.findings import AlertFinding
from gateway.alerts.rules.installation import (
    organizations_without,
    refused_credentials,
    stale_exchange_rate,
)
from gateway.alerts.rules.limits import bills_above_holds, findings_on_limits
from gateway.alerts.rules.unusual import Remembered, findings_on_today
from gateway.models import Alert, AlertChannel, AlertDelivery
from gateway.policies.reports import spend_today
from orgs.models import Organization

ORGANIZATIONS_AT_ONCE: Final = 200
SENTENCE_MAX_CHARS: Final = 1000
WAITING_MAX: Final = 100  # deliveries of one channel

logger = logging.getLogger("pulse.alerts")


@dataclass(slots=True)
class EvaluationCache:
    """What a process need not look at again: how organizations stood, and their usual days.

    It saves work and decides nothing: an empty one finds the same.
    """

    stood: dict[UUID, tuple[Any, ...]] = field(default_factory=dict)
    usual: Remembered = field(default_factory=dict)


def evaluate(
    now: datetime, memory: EvaluationCache, *, goes_on: Callable[[], bool] = lambda: True
) -> list[Alert]:
    """Evaluate every organization in which money has moved, and return the new alerts.

    What is wrong with the installation concerns all, ORGANIZATIONS_AT_ONCE in a round. What fails
    is logged, and does not stop the others. Stops where `goes_on` says so. Raises Django's database
    errors.
    """
    raised: list[Alert] = []
    with _logged("could not evaluate the installation"):
        raised += _on_installation(now, goes_on)
    for organization, stands in _moved(now, memory):
        if not goes_on():
            break
        with _logged("could not evaluate the alerts of %s", organization.slug):
            findings, watches = _look_at(organization, now, memory)
            raised += record(organization, findings, now)
            if not watches:
                memory.stood[organization.pk] = stands
    return raised


def _on_installation(now: datetime, goes_on: Callable[[], bool]) -> list[Alert]:
    raised: list[Alert] = []
    stale = stale_exchange_rate(now)
    for finding in (*([stale] if stale else []), *refused_credentials(now)):
        for organization in organizations_without(finding, most=ORGANIZATIONS_AT_ONCE):
            if not goes_on():
                return raised
            raised += record(organization, [finding], now)
    return raised


@contextmanager
def _logged(sentence: str, *about: str) -> Iterator[None]:
    """Log any error but the database's."""
    try:
        yield
    except DatabaseError:
        raise
    except Exception:
        logger.exception(sentence, *about)


def record(
    organization: Organization, findings: Sequence[AlertFinding], now: datetime
) -> list[Alert]:
    """Record findings that are new, with a delivery for each channel; return their alerts."""
    keys = {key for finding in findings for key in finding.keys}
    rows = Alert.objects.filter(org=organization, key__in=keys)
    known = set(rows.values_list("key", flat=True)) if keys else set()
    new = [finding for finding in findings if known.isdisjoint(finding.keys)]
    return [alert for finding in new if (alert := _written(organization, finding, now))]


def _written(organization: Organization, finding: AlertFinding, now: datetime) -> Alert | None:
    """Write an alert and its deliveries, or None where another process was first."""
    try:
        with transaction.atomic():
            alert = Alert.objects.create(
                org=organization,
                key=finding.key,
                kind=finding.kind,
                percent=finding.percent,
                sentence=finding.sentence[:SENTENCE_MAX_CHARS],
                figures=dict(finding.figures),
                budget_id=finding.budget_id,
                raised_at=now,
            )
            channels = AlertChannel.objects.filter(org=organization, enabled=True)
            is_waiting = Q(deliveries__state=AlertDelivery.State.WAITING)
            AlertDelivery.objects.bulk_create(
                _delivery(alert, channel, waiting=channel.waiting, now=now)
                for channel in channels.annotate(waiting=Count("deliveries", filter=is_waiting))
            )
            return alert
    except IntegrityError:
        if Alert.objects.filter(org=organization, key=finding.key).exists():
            return None
        raise


def _delivery(alert: Alert, channel: AlertChannel, *, waiting: int, now: datetime) -> AlertDelivery:
    """Return a new delivery, which failed already if too many wait for the channel."""
    delivery = AlertDelivery(alert=alert, channel=channel, next_try_at=now)
    if waiting >= WAITING_MAX:
        delivery.state = AlertDelivery.State.FAILED
        full = not_sent(f"not sent: {WAITING_MAX} alerts were waiting for this channel")
        delivery.attempts = [entry(full, now)]
    return delivery


def _look_at(
    organization: Organization, now: datetime, memory: EvaluationCache
) -> tuple[list[AlertFinding], bool]:
    day = spend_today(organization_id=organization.pk, moment=now)
    findings, watches = findings_on_limits(organization, now, day)
    findings += bills_above_holds(organization, now, day)
    findings += findings_on_today(organization, now, day.charged_nanoeur, memory.usual)
    return findings, watches


# --- where money has moved ----------------------------------------------------------------------


def _moved(
    now: datetime, memory: EvaluationCache
) -> Iterator[tuple[Organization, tuple[Any, ...]]]:
    """Give the organizations whose money, day or settings are not as they are remembered."""
    last: UUID | None = None
    while True:
        page = Organization.objects.order_by("id")
        some = list((page if last is None else page.filter(id__gt=last))[:ORGANIZATIONS_AT_ONCE])
        sums = _sums(some, now)
        for organization in some:
            if (money := sums.get(organization.pk)) is None:
                continue
            today = local_day(now, ZoneInfo(organization.timezone))
            stands = (today, organization.config_version, *money)
            if memory.stood.get(organization.pk) != stands:
                yield organization, stands
        if len(some) < ORGANIZATIONS_AT_ONCE:
            return
        last = some[-1].pk


def _sums(organizations: Sequence[Organization], now: datetime) -> dict[UUID, tuple[int, int]]:
    """Return what is charged and held in the periods that run, by organization: one query."""
    running = Period.objects.filter(
        org__in=[organization.pk for organization in organizations],
        ends_at__gt=now,
        starts_at__lte=now,
    )
    charged = F("settled_nanoeur") + F("overrun_nanoeur") + F("carried_nanoeur")
    by_organization = running.order_by().values_list("org")
    sums = by_organization.annotate(charged=Sum(charged), held=Sum("held_nanoeur"))
    return {org: (int(charged), int(held)) for org, charged, held in sums}
