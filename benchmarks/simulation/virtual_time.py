"""An event loop in virtual time: where a real one would sleep, its clock goes on at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from selectors import DefaultSelector, SelectorKey
from typing import Any, TypeVar
from unittest.mock import patch

from gateway.call.waiting import room

T = TypeVar("T")


class VirtualClock(DefaultSelector):
    """The clock of a loop, in seconds, and its selector: no file is ever ready."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def monotonic(self) -> float:
        """Return the time as `time.monotonic` does."""
        return self.now_s

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Let the time pass that the loop would have slept."""
        if timeout is None:
            raise AssertionError("all wait, and nothing will happen any more")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is that of its clock. Nothing may wait for threads or the network in it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        super().__init__(clock)

    def time(self) -> float:
        """Return the virtual time."""
        return self._clock.now_s


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run work in virtual time, which begins at 0. The waiting room reads the same clock."""
    clock = VirtualClock()
    with (
        patch.object(room, "time", clock),
        asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner,
    ):
        return runner.run(work)
