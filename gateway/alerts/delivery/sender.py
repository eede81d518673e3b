"""Sends what is due: several at once, within bounds, organizations in turn.

Only the network is used in threads of their own; the caller's thread reads and writes the rows.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Final

from django.db import connection
from django.db.models import Min, QuerySet
from django.utils.timezone import now as current_time

from gateway.alerts.delivery.deliver import (
    CLAIM,
    DeliveryAttempt,
    DeliveryResult,
    Prepared,
    prepare,
    record,
    send,
)
from gateway.alerts.delivery.turns import IN_FLIGHT_MAX, DueChannel, next_channels
from gateway.alerts.delivery.webhook import Outcome
from gateway.models import AlertChannel, AlertDelivery

# Those that failed least come first, so that dead ones beyond this number hide no other.
CHANNELS_SEEN_MAX: Final = 1_000
# How often a sender that waits looks for what has become due, and whether it goes on.
LOOK_EVERY_S: Final = 1.0
# How long it waits at its end for what runs; longer than a webhook may take.
FINISH_MAX_S: Final = 12.0

Clock = Callable[[], datetime]
logger = logging.getLogger("pulse.alerts")


@dataclass(slots=True, eq=False, kw_only=True)
class Sender:
    """The deliveries that this process sends. Each try is claimed first, by a conditional update.

    No transaction is open while it lasts: several processes never send the same at the same time.
    One that dies in the middle leaves it to be tried again, under the same id.
    """

    clock: Clock = current_time
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(IN_FLIGHT_MAX, "alert-delivery")
    )
    _running: dict[Future[DeliveryAttempt], AlertDelivery] = field(default_factory=dict)

    def run(
        self, goes_on: Callable[[], bool] = lambda: True, *, lasts_s: float = inf
    ) -> list[DeliveryResult]:
        """Send until nothing is due or in flight, or for `lasts_s`; return what has ended.

        What is in flight then stays so, and is recorded by the next call.
        """
        ends_at = time.monotonic() + lasts_s
        results = []
        while goes_on():
            results += (not_sent := self._start(goes_on))
            left_s = ends_at - time.monotonic()
            if left_s <= 0 or not (self._running or not_sent):
                break
            results += self._finished(0 if not_sent else min(left_s, LOOK_EVERY_S))
        return results + self._finished(0)

    def finish(self) -> list[DeliveryResult]:
        """Wait for what is in flight, FINISH_MAX_S at most; what still is will be tried again."""
        ends_at = time.monotonic() + FINISH_MAX_S
        results = []
        while self._running and (left_s := ends_at - time.monotonic()) > 0:
            results += self._finished(left_s)
        self._running.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        return results

    def _start(self, goes_on: Callable[[], bool]) -> list[DeliveryResult]:
        """Begin as many as there is room for; return those of which nothing is sent."""
        if len(self._running) >= IN_FLIGHT_MAX:
            return []
        results = []
        for channel in self._chosen():
            delivery = self._oldest_due(channel)
            if not goes_on():
                break
            if delivery is None or not claimed(delivery, self.clock()):
                continue
            prepared = prepare(delivery, self.clock())
            if isinstance(prepared, Prepared):
                self._running[self._pool.submit(send, prepared)] = delivery
            else:
                results.append(record(delivery, prepared, self.clock()))
        return results

    def _chosen(self) -> list[DueChannel]:
        busy = [delivery.channel for delivery in self._running.values()]
        rows = self._due().exclude(channel__in=busy).exclude(channel__paused_until__gt=self.clock())
        by_channel = rows.order_by().values_list(
            "channel", "channel__org", "channel__kind", "channel__failures"
        )
        found = by_channel.annotate(due_at=Min("next_try_at"))
        due = [
            DueChannel(
                channel_id=channel_id,
                organization_id=organization_id,
                is_email=kind == AlertChannel.Kind.EMAIL,
                failures=failures,
                due_at=due_at,
            )
            for channel_id, organization_id, kind, failures, due_at in found.order_by(
                "channel__failures", "due_at"
            )[:CHANNELS_SEEN_MAX]
        ]
        return next_channels(
            due,
            running=Counter(channel.org_id for channel in busy),
            emails_running=sum(channel.kind == AlertChannel.Kind.EMAIL for channel in busy),
        )

    def _oldest_due(self, channel: DueChannel) -> AlertDelivery | None:
        rows = self._due().filter(channel=channel.channel_id).order_by("next_try_at", "id")
        return rows.select_related("channel__org", "alert").first()

    def _due(self) -> QuerySet[AlertDelivery]:
        waiting = AlertDelivery.objects.filter(state=AlertDelivery.State.WAITING)
        return waiting.filter(next_try_at__lte=self.clock())

    def _finished(self, timeout_s: float) -> list[DeliveryResult]:
        """Wait for one to end, and record all that have."""
        if timeout_s > 0 and not connection.in_atomic_block:
            connection.close()  # PostgreSQL has few, and the network may take its time
        ended, _ = wait(self._running, timeout=max(timeout_s, 0), return_when=FIRST_COMPLETED)
        return [
            record(self._running.pop(future), _attempt_of(future), self.clock()) for future in ended
        ]


def claimed(delivery: AlertDelivery, now: datetime) -> bool:
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


def _attempt_of(future: Future[DeliveryAttempt]) -> DeliveryAttempt:
    try:
        return future.result()
    except Exception:  # a defect in one delivery delays no other
        logger.exception("sending an alert failed")
        outcome = Outcome(is_delivered=False, detail="internal error, see the log", may_pass=True)
        return DeliveryAttempt(outcome=outcome)
