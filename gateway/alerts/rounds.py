"""One round of alerts: find new ones and send what is due, in one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Final
from uuid import UUID

from django.utils.timezone import now as current_time

from gateway.alerts import lease
from gateway.alerts.delivery.deliver import DeliveryResult
from gateway.alerts.delivery.sender import Sender
from gateway.alerts.evaluate import EvaluationCache, evaluate
from gateway.models import Alert, Lease
from orgs.fields import new_id

JOB: Final = "alerts"
# Longer than any one step of a round; it is renewed while a round lasts, but not at each step.
LEASE_LASTS: Final = timedelta(minutes=3)
LEASE_RENEWED_AFTER: Final = timedelta(minutes=1)

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round did; `is_ours` is False where another process has the lease."""

    is_ours: bool
    raised: list[Alert] = field(default_factory=list)
    sent: list[DeliveryResult] = field(default_factory=list)


def last_began_at() -> datetime | None:
    """Return when a round of any process began or went on last, None before the first.

    A process that stopped gave its lease back: then up to LEASE_LASTS earlier than it was.
    """
    ends_at = Lease.objects.filter(name=JOB).values_list("expires_at", flat=True).first()
    return None if ends_at is None else ends_at - LEASE_LASTS


@dataclass(slots=True, kw_only=True)
class Rounds:
    """The rounds of one process."""

    holder_id: UUID = field(default_factory=new_id)
    memory: EvaluationCache = field(default_factory=EvaluationCache)
    clock: Clock = current_time
    _sender: Sender = field(init=False)
    _taken_at: datetime | None = None

    def __post_init__(self) -> None:
        self._sender = Sender(clock=self.clock)

    def run(self, goes_on: Callable[[], bool] = lambda: True, *, lasts_s: float = inf) -> Round:
        """Do one round, unless another process does them. Raises Django's database errors.

        After `lasts_s` it is over, and what is being sent is left to the next: a receiver that
        does not answer delays no alert of others.
        """

        def goes_on_with_lease() -> bool:
            return goes_on() and (self._is_fresh() or self._takes_lease())

        if not self._takes_lease():
            return Round(is_ours=False, sent=self._sender.run(lambda: False))
        raised = evaluate(self.clock(), self.memory, goes_on=goes_on_with_lease)
        sent = self._sender.run(goes_on_with_lease, lasts_s=lasts_s)
        return Round(is_ours=True, raised=raised, sent=sent)

    def end(self) -> None:
        """Record what is being sent, and give the lease back."""
        self._sender.finish()
        lease.give_back(JOB, holder_id=self.holder_id, now=self.clock())

    def _takes_lease(self) -> bool:
        now = self.clock()
        is_ours = lease.take(JOB, holder_id=self.holder_id, now=now, lasts=LEASE_LASTS)
        self._taken_at = now if is_ours else None
        return is_ours

    def _is_fresh(self) -> bool:
        return self._taken_at is not None and (
            self._taken_at <= self.clock() < self._taken_at + LEASE_RENEWED_AFTER
        )
