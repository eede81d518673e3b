"""Read the database in threads, within a time limit; a read can be shared by all that wait."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeVar

import django.db
import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway.core.errors import Refused, overloaded
from orgs.threads import Threads

READ_TIMEOUT_S: Final = 10.0
READS_WAITING_MAX: Final = 1000
# A new connection now and then finds a server that took over, and gives memory back.
KEPT_MAX_S: Final = 60.0
DATABASE_UNAVAILABLE: Final = (django.db.OperationalError, django.db.InterfaceError)

P = ParamSpec("P")
T = TypeVar("T")


async def read(
    threads: Threads, caller: object, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a short function that only reads, by the ORM, in one of the threads.

    `caller` takes turns with the others there. Connections are PostgreSQL's few: only the threads
    that say so keep theirs, and a request keeps none. Raises Refused (503) if the database is
    unavailable or does not answer within READ_TIMEOUT_S: fails closed.
    """
    work = partial(function, *args, **kwargs)
    return await run_within(READ_TIMEOUT_S, threads, caller, work)


async def run_within(
    timeout_s: float, threads: Threads, caller: object, function: Callable[[], T]
) -> T:
    """Run a function as `read` does, with another time limit.

    It may write: a transaction that is given up may still be committed.
    """
    reading = _Reading(function, keeps_connection=threads.keeps_connections)
    try:
        async with asyncio.timeout(timeout_s):
            return await threads.run(caller, reading.run)
    except TimeoutError as exc:
        reading.give_up()
        raise _unavailable() from exc


class SharedReads:
    """Reads of the database in one thread, each shared by all that wait for its subject.

    Safe to use from any thread and any event loop. An error is raised to all that wait for the
    read, and is not kept: the next call reads again. The thread keeps its connection, since
    opening one takes longer than a read.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._lock = threading.Lock()
        self._begun = 0
        self._running: dict[Any, _SharedRead] = {}

    async def read(
        self, subject: Any, function: Callable[[], T], *, suffices: Callable[[T], bool]
    ) -> T:
        """Return the result of a read that begins after this call, so that it sees every change
        committed before; or that of one already running, if it `suffices`.

        Raises Refused (503) if the database is unavailable or does not answer in READ_TIMEOUT_S.
        """
        begun_before = self._begun
        while True:
            running = self._begin(subject, function)
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    found: T = await asyncio.shield(asyncio.wrap_future(running.result))
            except TimeoutError as exc:
                running.reading.give_up()
                raise _unavailable() from exc
            if running.number > begun_before or suffices(found):
                return found

    def close(self) -> None:
        """Close the thread's connection; another read would open it again."""
        self._thread.submit(django.db.connections.close_all).result()

    def _begin(self, subject: Any, function: Callable[[], T]) -> _SharedRead:
        """Return the running read of the subject, begun now if there is none."""
        with self._lock:
            if subject not in self._running:
                if len(self._running) >= READS_WAITING_MAX:
                    raise overloaded()
                self._begun += 1
                reading = _Reading(function, keeps_connection=True)
                result = self._thread.submit(self._read, subject, reading)
                self._running[subject] = _SharedRead(self._begun, reading, result)
            return self._running[subject]

    def _read(self, subject: Any, reading: _Reading[T]) -> T:
        try:
            return reading.run()
        finally:
            with self._lock:
                del self._running[subject]


class _Reading(Generic[T]):
    """A function that uses the ORM, in a thread of its own or in one that keeps its connection."""

    def __init__(self, function: Callable[[], T], *, keeps_connection: bool = False) -> None:
        self._function = function
        self._keeps_connection = keeps_connection
        self._lock = threading.Lock()
        self._database: BaseDatabaseWrapper | None = None
        self._is_given_up = False

    def run(self) -> T:
        """Run the function. A connection that was kept may be lost: then with a new one, once."""
        if self._keeps_connection:
            _close_old_connection()
            with suppress(*DATABASE_UNAVAILABLE):
                return self._run()
            django.db.connections.close_all()
        try:
            return self._run()
        except DATABASE_UNAVAILABLE as exc:
            raise _unavailable() from exc
        finally:
            if not self._keeps_connection:
                django.db.connections.close_all()

    def _run(self) -> T:
        with self._lock:
            if self._is_given_up:
                raise _unavailable()
            self._database = django.db.connections[django.db.DEFAULT_DB_ALIAS]
        try:
            return self._function()
        finally:
            with self._lock:
                self._database = None

    def give_up(self) -> None:
        """End the wait of the thread for a PostgreSQL that does not answer; SQLite ends its own.

        The driver has no time limit of its own. It notices that its socket is shut down, and the
        thread is free again.
        """
        with self._lock:
            self._is_given_up = True
            made = self._database.connection if self._database is not None else None
            if isinstance(made, psycopg.Connection) and not made.closed:
                with suppress(OSError), socket.socket(fileno=os.dup(made.fileno())) as ours:
                    ours.shutdown(socket.SHUT_RDWR)


def _close_old_connection() -> None:
    """Close the thread's connection if it is KEPT_MAX_S old or had an error, as Django's own do."""
    database = django.db.connections[django.db.DEFAULT_DB_ALIAS]
    opened_at = database.close_at  # CONN_MAX_AGE is 0
    is_old = opened_at is not None and time.monotonic() - opened_at >= KEPT_MAX_S
    if database.errors_occurred or is_old:
        database.close()


class _SharedRead(NamedTuple):
    number: int
    reading: _Reading[Any]
    result: Future[Any]


def _unavailable() -> Refused:
    sentence = "The gateway's database is unavailable; nothing was sent"
    return Refused("ledger_unavailable", sentence, status=503, retry_after_s=1)
