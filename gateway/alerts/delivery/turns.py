"""Which channels are next: organizations take turns, so that none waits for another's dead ones."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

IN_FLIGHT_MAX: Final = 16
OF_ONE_ORGANIZATION_MAX: Final = 4
# All email goes through one server: while it hangs, webhooks go on.
EMAILS_IN_FLIGHT_MAX: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DueChannel:
    """A channel with a delivery that is due since `due_at`, and none in flight."""

    channel_id: UUID
    organization_id: UUID
    is_email: bool
    failures: int
    due_at: datetime

    @property
    def rank(self) -> tuple[int, datetime]:
        """The order within an organization: those that work first, then the longest waiting."""
        return self.failures, self.due_at


def next_channels(
    due: Iterable[DueChannel], *, running: Counter[UUID], emails_running: int
) -> list[DueChannel]:
    """Choose those to send through now, in order; `running` counts by organization.

    An organization with fewer in flight comes first.
    """
    waiting: dict[UUID, deque[DueChannel]] = defaultdict(deque)
    for channel in sorted(due, key=lambda each: each.rank):
        waiting[channel.organization_id].append(channel)
    counts = Counter(running)
    turns = [(counts[org], row[0].rank, org) for org, row in waiting.items()]
    heapq.heapify(turns)
    chosen: list[DueChannel] = []
    while turns and counts.total() < IN_FLIGHT_MAX:
        _, _, org = heapq.heappop(turns)
        if counts[org] >= OF_ONE_ORGANIZATION_MAX:
            continue
        channel = waiting[org].popleft()
        if not channel.is_email or emails_running < EMAILS_IN_FLIGHT_MAX:
            chosen.append(channel)
            counts[org] += 1
            emails_running += channel.is_email
        if waiting[org]:
            heapq.heappush(turns, (counts[org], waiting[org][0].rank, org))
    return chosen
