"""The event loop on which a process runs its calls, usable from any thread and loop; its lag.

A call outlives its client, so it cannot run on a loop that ends with a request (sync code, the
WSGI development server, `asyncio.run`). Under the ASGI server it runs on the server's own loop,
at no extra cost; elsewhere on a loop in a thread, started when first needed.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

LOOK_EVERY_S: Final = 0.1
# Below this, a loop is busy but not lagging.
LAG_MIN_S: Final = 0.02
# The rest is this many times the measured lag.
RESTS: Final = 5
REST_MAX_S: Final = 0.25

T = TypeVar("T")


class CallLoop:
    """The loop on which calls run. Safe to use from any thread and any loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._starting = threading.Lock()

    def adopt_running_loop(self) -> None:
        """Run calls on the currently running loop, if the process has no loop for them yet."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()

    def is_current(self) -> bool:
        """Whether the currently running loop is the one on which calls run."""
        return asyncio.get_running_loop() is self._started()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` on this loop. Cancelling the caller cancels it."""
        loop = self._started()
        if asyncio.get_running_loop() is loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    def call_sync(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on this loop and wait for it, from code that has no running loop.

        Raises RuntimeError inside async code, which must await instead.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(work, self._started()).result()
        work.close()
        raise RuntimeError("called from async code; await the async variant instead")

    def call_soon(self, message: Callable[[], None]) -> None:
        """Schedule a plain function on this loop."""
        loop = self._started()
        try:
            is_current = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_current = False
        if is_current:
            message()
        else:
            loop.call_soon_threadsafe(message)

    def _started(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None or loop.is_closed() or self._pid != os.getpid():
            return self._start()
        return loop

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None or self._loop.is_closed() or self._pid != os.getpid():
                self._pid = os.getpid()  # after a fork the object exists but not its thread
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True).start()
            return self._loop


@dataclass(slots=True, eq=False)
class LoopLag:
    """Measure the loop's lag; streams coalesce chunks under load. `rest_s` is 0 without lag.

    When more chunks arrive than a process can forward one by one, each stream waits `rest_s` after
    a chunk: what arrives meanwhile is then read and sent as one. So an overload adds latency and
    does not amplify itself: 2,000 streams of 20 chunks a second are forwarded completely, whereas
    without the rest the loop falls behind at 16,000 chunks a second and new requests wait for
    seconds.
    """

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
