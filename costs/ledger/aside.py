"""Items of organizations whose rows another transaction has locked, until they can be written.

They wait here so that the others of their batch need not. Each organization is tried again by
itself, in turns, and in a small part of the thread's time.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from costs.ledger.mailbox import Item

# How long a reservation or a growth waits for the lock. A settlement waits until it is gone.
RESERVATION_WAIT_MAX_S: Final = 5.0
FIRST_TRY_AFTER_S: Final = 0.05
# A try that found the rows locked is followed by a rest of so many times its length.
REST: Final = 4.0


@dataclass(slots=True, eq=False)
class Aside:
    """Items by organization, in the order of their arrival. Belongs to one thread."""

    reservation_wait_max_s: float = RESERVATION_WAIT_MAX_S
    _waiting: dict[UUID, deque[Item]] = field(default_factory=dict)
    _next_at: float = math.inf

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def next_at(self) -> float:
        """When the next organization is to be tried, on the monotonic clock."""
        return self._next_at if self._waiting else math.inf

    def put(self, items: Sequence[Item]) -> None:
        """Put aside items of one organization, before those that came later."""
        now = time.monotonic()
        give_up_at = now + self.reservation_wait_max_s
        for item in items:
            if item.settlement is None:
                item.give_up_at = min(item.give_up_at, give_up_at)
        if not self._waiting:
            self._next_at = now + FIRST_TRY_AFTER_S
        self._waiting.setdefault(items[0].org_id, deque()).extendleft(reversed(items))

    def without_locked(self, batch: Sequence[Item]) -> list[Item]:
        """Keep the items of organizations that are put aside already; return the others."""
        give_up_at = time.monotonic() + self.reservation_wait_max_s
        others: list[Item] = []
        for item in batch:
            waiting = self._waiting.get(item.org_id)
            if waiting is None:
                others.append(item)
                continue
            if item.settlement is None:
                item.give_up_at = give_up_at
            waiting.append(item)
        return others

    def ended(self) -> tuple[list[Item], list[Item]]:
        """Remove and return the items whose caller is gone, and those that waited too long."""
        now = time.monotonic()
        gone: list[Item] = []
        too_late: list[Item] = []
        for org_id, waiting in list(self._waiting.items()):
            kept: deque[Item] = deque()
            for item in waiting:
                is_late = item.give_up_at <= now
                (gone if item.is_cancelled else too_late if is_late else kept).append(item)
            self._waiting[org_id] = kept
            self._drop_if_empty(org_id)
        return gone, too_late

    @contextmanager
    def turn(self, *, at_most: int) -> Iterator[list[Item]]:
        """Yield the first items of the next organization; those still locked are `put` again."""
        org_id = next(iter(self._waiting), None)
        if org_id is None:
            yield []
            return
        began = time.monotonic()
        waiting = self._waiting[org_id] = self._waiting.pop(org_id)  # the last one from now on
        items = [waiting.popleft() for _ in range(min(at_most, len(waiting)))]
        later = len(waiting)
        yield items
        ended = time.monotonic()
        is_locked = len(waiting) > later
        self._next_at = ended + REST * (ended - began) if is_locked else ended
        self._drop_if_empty(org_id)

    def _drop_if_empty(self, org_id: UUID) -> None:
        if not self._waiting[org_id]:
            del self._waiting[org_id]
