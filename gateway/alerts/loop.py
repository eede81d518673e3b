"""The thread of a serving process that does the rounds of alerts. It imports them when it begins.

It has a connection of its own while it works, and none while it waits.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from django.db import Error as DatabaseError
from django.db import connections
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from gateway.alerts.rounds import Rounds

# A process that has just started has better to do; and not all begin in the same moment.
FIRST_AFTER_S: Final = 2.0
JITTER: Final = 0.1

logger = logging.getLogger("pulse.alerts")


@dataclass(slots=True, eq=False)
class AlertLoop:
    """A round every so many seconds, until it is stopped; with 0 there are none."""

    every_s: float
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the first round is soon."""
        if self.every_s > 0:
            self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Tell it to end after the step that runs."""
        self._stopping.set()

    def join(self, *, timeout_s: float) -> None:
        """Wait until it has ended and given the lease back."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        chance = random.Random()  # noqa: S311  not for secrets
        wait_s = min(FIRST_AFTER_S, self.every_s)
        rounds: Rounds | None = None
        while not self._stopping.wait(wait_s * (1 + JITTER * chance.random())):
            began = time.monotonic()
            # By name: to import it takes a while, which the start need not wait for.
            rounds = rounds or import_string("gateway.alerts.rounds.Rounds")()
            self._do(rounds)
            wait_s = max(0.0, began + self.every_s - time.monotonic())
        if rounds is not None:
            self._end(rounds)

    def _do(self, rounds: Rounds) -> None:
        try:
            rounds.run(lambda: not self._stopping.is_set(), lasts_s=self.every_s)
        except DatabaseError as exc:
            logger.warning("alerts are delayed, the database is unavailable: %s", exc)
        except Exception:  # the next round may succeed, and nothing else would start one
            logger.exception("running the alerts failed")
        finally:
            connections.close_all()

    def _end(self, rounds: Rounds) -> None:
        try:
            rounds.end()
        except DatabaseError as exc:
            logger.warning("could not release the lease of the alerts: %s", exc)
        finally:
            connections.close_all()
