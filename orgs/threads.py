"""Threads of the process by purpose, so that no kind of work waits for another's.

A caller with much slow work keeps the threads of that purpose busy, and at most some of them:
each caller's work is done in its order, callers take turns, and one may use at most `of_one`
threads at once. Authentication, what a request needs to be admitted, and readiness have threads of
their own.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")

EACH_MAX_S: Final = 5.0  # how long `run_in_each` waits for a thread that is busy


class TooManyWaiting(Exception):
    """The caller has as much work waiting as it may have."""


@dataclass(slots=True, eq=False)
class _Task:
    caller: object
    work: Callable[[], Any]
    done: Future[Any] = field(default_factory=Future)


class Threads:
    """At most `most` threads, of which one caller uses at most `of_one`; made when first used.

    A thread that worked for a second rests for `rest` seconds, where several callers at once would
    otherwise keep the interpreter from the event loop. With `keeps_connections` each keeps its
    connection to the database (`gateway.call.reads`). Safe to use from any thread and any loop.
    """

    def __init__(
        self,
        name: str,
        most: int,
        *,
        of_one: int | None = None,
        rest: float = 0.0,
        keeps_connections: bool = False,
    ) -> None:
        self.name = name
        self.most = most
        self.of_one = of_one or most
        self.rest = rest
        self.keeps_connections = keeps_connections
        self._begin()
        # After a fork the object exists but not its threads, and one of them may have had the lock.
        os.register_at_fork(after_in_child=self._begin)

    async def run(
        self, caller: object, work: Callable[[], T], *, waiting_max: int | None = None
    ) -> T:
        """Run `work` in a thread, unless it is cancelled before its turn.

        `caller` is any hashable value; it has its turn after every other that waits. Raises
        TooManyWaiting if `waiting_max` of its works wait already.
        """
        context = contextvars.copy_context()
        task = _Task(caller, lambda: context.run(work))
        self._take(task, waiting_max)
        result: T = await asyncio.wrap_future(task.done)
        return result

    def run_in_each(self, work: Callable[[], object]) -> None:
        """Run `work` in each of the threads and wait for all; in none if they were never used."""
        with self._lock:
            if not self._is_used:
                return
            together = threading.Barrier(self.most)  # so that no thread takes two

            def once() -> None:
                with suppress(threading.BrokenBarrierError):
                    together.wait(EACH_MAX_S)
                work()

            works = [self._pool.submit(once) for _ in range(self.most)]
        wait(works)

    def _begin(self) -> None:
        self._is_used = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(self.most, self.name)
        self._waiting: OrderedDict[object, deque[_Task]] = OrderedDict()
        self._running: Counter[object] = Counter()

    def _take(self, task: _Task, waiting_max: int | None) -> None:
        with self._lock:
            before = self._waiting.get(task.caller, ())
            if waiting_max is not None and len(before) >= waiting_max:
                raise TooManyWaiting
            self._waiting.setdefault(task.caller, deque()).append(task)
            self._start()

    def _start(self) -> None:
        """Start what may run now. The lock is held."""
        while self._running.total() < self.most:
            task = self._next()
            if task is None:
                return
            self._running[task.caller] += 1
            self._is_used = True
            self._pool.submit(self._work, task)

    def _next(self) -> _Task | None:
        for caller, tasks in self._waiting.items():
            if self._running[caller] < self.of_one:
                task = tasks.popleft()
                if tasks:
                    self._waiting.move_to_end(caller)
                else:
                    del self._waiting[caller]
                return task
        return None

    def _work(self, task: _Task) -> None:
        began_s = time.thread_time()
        if task.done.set_running_or_notify_cancel():
            try:
                task.done.set_result(task.work())
            except BaseException as exc:  # noqa: BLE001  handed to the waiting caller
                task.done.set_exception(exc)
        if self.rest:
            time.sleep(self.rest * (time.thread_time() - began_s))
        with self._lock:
            self._running[task.caller] -= 1
            if not self._running[task.caller]:
                del self._running[task.caller]
            self._start()


# Sessions of requests to the API, by network address.
SESSIONS: Final = Threads("sessions", 4, of_one=2)
READINESS: Final = Threads("readiness", 1)
# Lists, single requests and quotes of the JSON API. Opening a connection takes 3 ms of CPU, more
# than most of these reads.
READS: Final = Threads("reads", 4, of_one=2, keeps_connections=True)
# What providers keep: an id is written before its client gets it.
KEPT: Final = Threads("kept", 4, of_one=2, keeps_connections=True)
# Two run at most (`gateway.policies.backtests.running`); the others refuse at once.
BACKTESTS: Final = Threads("backtests", 4)
EXPORTS: Final = Threads("exports", 2, of_one=1)
TOKENS: Final = Threads("tokens", 2, of_one=1)
# What authenticates requests to providers' clouds: their libraries, and hashing for AWS.
CREDENTIALS: Final = Threads("credentials", 4, of_one=1)
# Importing a vendor's library takes up to two seconds.
LIBRARIES: Final = Threads("libraries", 1)
# Whatever takes long for a large body. It keeps the interpreter busy, in part without a pause: one
# at a time, and then as long a rest for the event loop.
BODIES: Final = Threads("bodies", 1, rest=1.0)
