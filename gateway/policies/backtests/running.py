"""How many backtests run at once: one of an organization, two in a process.

A backtest reads and judges up to 90 days of rows, which keeps the interpreter busy. The count is
the process's own; `manage.py policies backtest` runs in another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from gateway.core.errors import Refused

RUNNING_MAX: Final = 2
# The next try: most backtests are over by then.
RETRY_AFTER_S: Final = 5


class RunningBacktests:
    """The organizations whose backtests run. Safe to use from any thread."""

    def __init__(self) -> None:
        self._organizations: set[UUID] = set()
        self._changed = threading.Condition()

    @contextmanager
    def one_of(self, organization_id: UUID, *, wait_s: float = 0.0) -> Iterator[None]:
        """Run one backtest of the organization. Raises Refused (429) if it cannot start in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(organization_id), wait_s):
                raise self._refusal(organization_id)
            self._organizations.add(organization_id)
        try:
            yield
        finally:
            with self._changed:
                self._organizations.remove(organization_id)
                self._changed.notify_all()

    def _has_room(self, organization_id: UUID) -> bool:
        is_running = organization_id in self._organizations
        return not is_running and len(self._organizations) < RUNNING_MAX

    def _refusal(self, organization_id: UUID) -> Refused:
        sentence = "Too many backtests are running; try again later"
        if organization_id in self._organizations:
            sentence = "Another backtest of this organization is running; try again later"
        return Refused("rate_limited", sentence, status=429, retry_after_s=RETRY_AFTER_S)


RUNNING: Final = RunningBacktests()
