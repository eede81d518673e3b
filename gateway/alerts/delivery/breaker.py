"""The breaker of a channel: failures in a row pause it, longer each time, for every process."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.models import AlertChannel

FAILURES_MAX: Final = 5
FIRST_PAUSE: Final = timedelta(minutes=5)  # doubled with each further failure
PAUSE_MAX: Final = timedelta(hours=1)

logger = logging.getLogger("pulse.alerts")


def pause_after(failures: int) -> timedelta | None:
    """Return how long a channel is paused after so many failures in a row, or None."""
    beyond = failures - FAILURES_MAX
    if beyond < 0:
        return None
    return min(FIRST_PAUSE * (1 << min(beyond, 8)), PAUSE_MAX)


def count_try(channel_id: UUID, *, is_delivered: bool, now: datetime) -> None:
    """Count a try in the channel's row, in the caller's transaction."""
    rows = AlertChannel.objects.filter(pk=channel_id)
    if is_delivered:
        rows.exclude(failures=0, paused_until=None).update(failures=0, paused_until=None)
        return
    channel = rows.select_for_update().first()
    if channel is None:  # deleted meanwhile
        return
    channel.failures += 1
    if pause := pause_after(channel.failures):
        channel.paused_until = now + pause
        logger.warning(
            "alert channel %s is paused until %s after %d failures",
            channel_id,
            channel.paused_until.isoformat(timespec="seconds"),
            channel.failures,
        )
    channel.save(update_fields=["failures", "paused_until"])
