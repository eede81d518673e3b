"""Send the alerts of a test that are due."""

from __future__ import annotations

from datetime import timedelta

from django.utils.timezone import now

from gateway.alerts.delivery.deliver import DeliveryResult
from gateway.alerts.delivery.sender import Sender


def deliver(after: timedelta = timedelta(0)) -> list[DeliveryResult]:
    """Send everything that is due some time from now, and return what came of each."""
    sender = Sender(clock=lambda: now() + after)
    return [*sender.run(), *sender.finish()]
