"""The single thread of a process that writes the ledger: it takes all queued items, runs one
transaction, and answers all of them (group commit; no delay under low load).

It also writes the process's heartbeat, settles what a dead process left, and closes hours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import queue
import socket
import threading
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from costs.core.admission import Admitted, ReserveRequest, ReserveResult, Settled, Settlement
from costs.core.growth import Grown, HoldGrowth
from costs.ledger.aside import Aside
from costs.ledger.connection import BACKOFF_MIN_S, LedgerConnection
from costs.ledger.hours.closing import HourCloser
from costs.ledger.ledger import Ledger
from costs.ledger.mailbox import Item, answer
from costs.ledger.reaper import (
    REAPED_AT_ONCE_MAX,
    Reaper,
    beat,
    record_stopped,
    settle_left,
    withdrawal,
)
from costs.ledger.stores.base import (
    LOCK_WAIT_S,
    SHORT_LOCK_WAIT_S,
    Store,
    StoreLocked,
    StoreStalled,
    StoreUnavailable,
)

BATCH_MAX: Final = 256
# After a batch of this size more requests will follow soon, and fewer, larger batches cost less:
# with 32 clients 0.95 instead of 1.07 ms of CPU for each request, and no request waits longer.
BUSY_FROM: Final = 8
GATHER_S: Final = 0.004
QUEUE_MAX: Final = 20_000
TRIES: Final = 2
# A try that took longer was waiting for a lock or the network; the caller has waited enough.
RETRY_WITHIN_S: Final = 3.0
HOUSEKEEPING_EVERY_S: Final = 5.0

logger = logging.getLogger("pulse.ledger")


class LedgerUnavailable(Exception):
    """The ledger could not commit; nothing may be sent."""


class OrganizationLocked(LedgerUnavailable):
    """Another transaction kept rows of the organization locked; others are not affected."""


@dataclass(slots=True, eq=False)
class Writer:
    """Reserve, grow and settle for one process. Starts at its first use; `stop` ends it.

    `open_store` opens a connection; it is called again after every failure.
    """

    open_store: Callable[[], Store]
    ledger: Ledger
    on_housekeeping: Callable[[Store], None] = lambda store: None
    # Whether there are prices by the hour; None if that is not known yet.
    prices_by_hour: Callable[[], bool | None] = lambda: False
    _queue: queue.SimpleQueue[Item | None] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None
    _start_lock: threading.Lock = field(default_factory=threading.Lock)
    _taken: int = 0
    # Settlements that wait for the database, and holds whose caller is gone.
    _late: list[Item] = field(default_factory=list)
    _withdrawn: list[Settlement] = field(default_factory=list)
    aside: Aside = field(default_factory=Aside)
    _housekeeping_at: float = 0.0
    _committed_at: float | None = None
    _stopping: bool = False
    _ended: bool = False
    _connection: LedgerConnection = field(init=False)
    _reaper: Reaper = field(init=False)
    _hours: HourCloser = field(init=False)

    def __post_init__(self) -> None:
        self._connection = LedgerConnection(self.open_store)
        self._reaper = Reaper(self.ledger)
        self._hours = HourCloser(self.ledger)

    @property
    def commit_age_s(self) -> float | None:
        """The time since the last commit, or since the start before it; None if not started.

        The heartbeat is a commit too, so it grows only while nothing can be committed.
        """
        return None if self._committed_at is None else time.monotonic() - self._committed_at

    async def reserve(self, request: ReserveRequest) -> ReserveResult:
        """Queue one reservation and wait for its commit. Raises LedgerUnavailable.

        A cancelled caller sends nothing, so its hold is released.
        """
        future = self._submit(request, None, request.org_id)
        try:
            admission: ReserveResult = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._unheard(request, future.result())
            raise
        return admission

    async def settle(self, settlement: Settlement) -> Settled:
        """Queue one settlement and wait until it is committed, however long that takes.

        Raises LedgerUnavailable when its values cannot be written, or the process is stopping.
        """
        settled: Settled = await self._submit(None, settlement, settlement.org_id)
        return settled

    async def grow(self, growth: HoldGrowth) -> Grown:
        """Queue one growth and wait for its commit. Raises LedgerUnavailable.

        If the caller leaves, it may have grown nevertheless: its settlement frees all of the hold.
        """
        grown: Grown = await self._submit(None, None, growth.org_id, growth)
        return grown

    def start(self) -> None:
        """Start the thread, whose housekeeping settles what a dead process left."""
        with self._start_lock:
            if self._thread is None and not self._ended:
                self._committed_at = time.monotonic()
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()

    def stop(self, *, timeout_s: float) -> bool:
        """Write what is queued, record that the instance stopped, and end the thread."""
        with self._start_lock:
            self._stopping = True
            thread = self._thread
            if thread is None:
                self._ended = True
                return True
        self._queue.put(None)
        thread.join(timeout_s)
        return not thread.is_alive()

    def _submit(
        self,
        request: ReserveRequest | None,
        settlement: Settlement | None,
        org_id: UUID,
        growth: HoldGrowth | None = None,
    ) -> Future[Any]:
        if settlement is None and self._queue.qsize() > QUEUE_MAX:
            raise LedgerUnavailable("too many requests are waiting for the ledger")
        loop = asyncio.get_running_loop()
        item = Item(request, settlement, org_id, loop, loop.create_future(), growth=growth)
        self._queue.put(item)
        if self._thread is None:
            self.start()
        if self._ended:  # checked after the put: the thread has either seen the item, or never will
            item.future.cancel()
            raise LedgerUnavailable("this process is stopping")
        return item.future

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not (self._stopping and self._queue.empty() and not self._has_left_over()):
            if time.monotonic() >= self._housekeeping_at:
                self._keep_house()
            if self._taken >= BUSY_FROM:
                time.sleep(GATHER_S)
            batch = self._take()
            self._taken = len(batch)
            if self.aside:
                batch = self.aside.without_locked(batch)
            if batch:
                self._process(batch)
            if self.aside:
                self._try_aside()
        self._with_store(lambda store: record_stopped(store, self.ledger.instance_id))
        self._connection.drop()
        self._ended = True
        while left := self._queued(0, at_most=BATCH_MAX):
            self._refuse(left, LedgerUnavailable("this process is stopping"))

    def _has_left_over(self) -> bool:
        return bool(self._late or self._withdrawn or self.aside)

    def _take(self) -> list[Item]:
        """Return queued items, waiting for the first one; deferred settlements come first."""
        if self._late and not self._connection.is_away:
            late, self._late = self._late[:BATCH_MAX], self._late[BATCH_MAX:]
            return late + self._queued(0, at_most=BATCH_MAX - len(late))
        wait_until = min(
            self._housekeeping_at,
            self._connection.away_until if self._late else math.inf,
            max(self._connection.away_until, self.aside.next_at),
        )
        wait_s = wait_until - time.monotonic()
        return self._queued(
            min(wait_s, BACKOFF_MIN_S) if self._stopping else wait_s, at_most=BATCH_MAX
        )

    def _queued(self, wait_s: float, *, at_most: int) -> list[Item]:
        items: list[Item] = []
        with contextlib.suppress(queue.Empty):
            while len(items) < at_most:
                block = wait_s > 0 and not items
                item = self._queue.get(block, wait_s if block else None)
                if item is None:  # a wake-up
                    wait_s = 0
                elif not item.is_cancelled:
                    items.append(item)
        return items

    def _process(self, batch: Sequence[Item], *, lock_wait_s: float = LOCK_WAIT_S) -> None:
        if self._connection.is_away:
            self._give_up(batch)
            return
        try:
            self._commit(batch, lock_wait_s=lock_wait_s)
        except StoreLocked:
            self._process_unlocked(batch)
        except StoreUnavailable as exc:
            if not self._connection.is_away:
                self._connection.start_backoff(exc)
            self._give_up(batch)
        except Exception:  # one item's data must not fail the others
            if len(batch) > 1:
                for item in batch:
                    self._process([item], lock_wait_s=SHORT_LOCK_WAIT_S)
            else:
                logger.exception("the ledger could not write a row")
                self._refuse(batch, LedgerUnavailable("the ledger could not write this request"))

    def _process_unlocked(self, batch: Sequence[Item]) -> None:
        """Put aside the organizations of a batch whose rows are locked, and commit the others.

        Each half is tried by itself: PostgreSQL does not name the row that it waited for.
        """
        org_ids = sorted({item.org_id for item in batch})
        if len(org_ids) == 1:
            self.aside.put(batch)
            return
        first = set(org_ids[: len(org_ids) // 2])
        for is_first in (True, False):
            half = [item for item in batch if (item.org_id in first) is is_first]
            self._process(half, lock_wait_s=SHORT_LOCK_WAIT_S)

    def _try_aside(self) -> None:
        """Try one organization again whose rows were locked, by itself."""
        if time.monotonic() < self.aside.next_at:
            return
        gone, given_up = self.aside.ended()
        self._withdraw([each.request for each in gone if each.request and each.may_be_there])
        self._refuse(given_up, OrganizationLocked("rows of the organization are locked"))
        if not self._connection.is_away:
            with self.aside.turn(at_most=BATCH_MAX) as items:
                if items:
                    self._process(items, lock_wait_s=SHORT_LOCK_WAIT_S)

    def _commit(self, batch: Sequence[Item], *, lock_wait_s: float) -> None:
        requests = [(item, item.request) for item in batch if item.request is not None]
        settlements = [(item, item.settlement) for item in batch if item.settlement is not None]
        growths = [(item, item.growth) for item in batch if item.growth is not None]
        give_up_at = time.monotonic() + RETRY_WITHIN_S
        for attempt in range(1, TRIES + 1):
            try:
                store = self._connection.opened()
                answers, settled, grown = self.ledger.commit(
                    store,
                    requests=[request for _, request in requests],
                    settlements=[settlement for _, settlement in settlements],
                    growths=[growth for _, growth in growths],
                    again=any(item.may_be_there for item, _ in requests),
                    lock_wait_s=lock_wait_s,
                )
            except StoreLocked:  # nothing was written, and the connection is as good as before
                store.rollback()
                raise
            except BaseException as exc:
                if self._connection.store is not None:
                    for item, _ in requests:
                        item.may_be_there = True
                    self._connection.store.rollback()
                    self._connection.drop()
                is_last = (
                    attempt == TRIES or time.monotonic() > give_up_at or self._connection.is_away
                )
                if is_last or not isinstance(exc, StoreUnavailable):
                    raise
            else:
                break
        self._connection.end_backoff()
        self._committed_at = time.monotonic()
        items = [item for item, _ in (*requests, *settlements, *growths)]
        self._answer(items, [*answers, *settled, *grown])

    # --- answers ------------------------------------------------------------------------------

    def _answer(self, items: Sequence[Item], results: Sequence[Any]) -> None:
        answer(items, results, unheard=self._unheard)

    def _unheard(self, request: ReserveRequest | None, result: Any) -> None:
        """Release a hold whose caller is gone: nothing was sent for it, and nothing will be."""
        if request is not None and isinstance(result, Admitted):
            self._withdraw([request])
            self._queue.put(None)

    def _refuse(self, items: Sequence[Item], error: LedgerUnavailable) -> None:
        """Answer with the error.

        A lost connection may hide a commit, so the hold of a failed request is released later:
        nothing was sent for it.
        """
        self._withdraw([each.request for each in items if each.request and each.may_be_there])
        self._answer(items, [error] * len(items))

    def _withdraw(self, requests: Sequence[ReserveRequest]) -> None:
        if requests:
            self._withdrawn += map(withdrawal, requests)
            self._housekeeping_at = min(self._housekeeping_at, self._connection.away_until)

    # --- database unavailable -----------------------------------------------------------------

    def _give_up(self, batch: Sequence[Item]) -> None:
        """Fail the reservations and growths, keep the settlements for the next try."""
        self._late += [item for item in batch if item.settlement is not None]
        self._refuse(
            [item for item in batch if item.settlement is None],
            LedgerUnavailable("the ledger's database is unavailable; nothing was sent"),
        )

    # --- housekeeping -------------------------------------------------------------------------

    def _keep_house(self) -> None:
        """Run each duty separately: one that fails must not prevent the others."""
        self._housekeeping_at = time.monotonic() + HOUSEKEEPING_EVERY_S
        duties = (self._beat, self._release_withdrawn, self._reap, self._close_hours)
        for duty in (*duties, self.on_housekeeping):
            if not self._connection.is_away:
                self._with_store(duty)

    def _beat(self, store: Store) -> None:
        beat(store, self.ledger.instance_id, host=socket.gethostname(), pid=os.getpid())
        self._committed_at = time.monotonic()

    def _release_withdrawn(self, store: Store) -> None:
        locked: list[Settlement] = []
        try:
            while some := self._withdrawn[:BATCH_MAX]:
                settle_left(store, self.ledger, some, locked=locked.extend)
                del self._withdrawn[: len(some)]
        finally:  # in place, since event loops add to it; one that comes twice is released once
            self._withdrawn.extend(locked)

    def _reap(self, store: Store) -> None:
        reaped = self._reaper.reap(store)
        if reaped.settled:
            logger.warning("settled %d abandoned calls as unknown", reaped.settled)
        if reaped.found == REAPED_AT_ONCE_MAX:
            self._housekeeping_at = 0.0

    def _close_hours(self, store: Store) -> None:
        if self._hours.close_due(store, is_used=self.prices_by_hour()):
            self._housekeeping_at = 0.0

    def _with_store(self, work: Callable[[Store], None]) -> None:
        try:
            work(self._connection.opened())
        except StoreLocked as exc:
            logger.warning("the ledger's housekeeping is postponed: %s", exc)
            self._connection.opened().rollback()
        except StoreUnavailable as exc:
            logger.warning("the ledger's housekeeping is postponed: %s", exc)
            if isinstance(exc, StoreStalled):  # the other duties would only wait as long again
                self._connection.start_backoff(exc)
            self._connection.drop()
        except Exception:
            logger.exception("the ledger's housekeeping failed")
            self._connection.drop()
