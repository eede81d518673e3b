"""The one thread of a process that writes the ledger: it takes all that is queued, runs one
transaction, and answers all (group commit: no timer, so no delay when idle).

It also keeps the process's heartbeat, and settles as unknown what a dead process left.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from costs.core.admission import Answer, Ask, Settled, Settlement
from costs.core.holds import State
from costs.ledger import Ledger
from costs.reaper import abandoned, beat, located, say_stopped
from costs.stores.base import Store, StoreUnavailable

BATCH_MAX: Final = 256
QUEUE_MAX: Final = 20_000
TRIES: Final = 2
HOUSEKEEPING_EVERY_S: Final = 5.0
BACKOFF_MIN_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0

logger = logging.getLogger("pulse.ledger")


class LedgerUnavailable(Exception):
    """The ledger could not commit; nothing may be sent."""


@dataclass(slots=True)
class _Item:
    """Something queued, and the future that waits for it in its own loop."""

    ask: Ask | None
    settlement: Settlement | None
    loop: AbstractEventLoop
    future: Future[Any]


@dataclass(slots=True, eq=False)
class Writer:
    """Admits and settles for one process. Starts with its first use; `stop` ends it.

    `open_store` opens a connection; it is called again after every failure.
    """

    open_store: Callable[[], Store]
    ledger: Ledger
    on_housekeeping: Callable[[Store], None] = lambda store: None
    _queue: queue.SimpleQueue[_Item | None] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None
    _start_lock: threading.Lock = field(default_factory=threading.Lock)
    _store: Store | None = None
    _late: list[_Item] = field(default_factory=list)
    _withdrawn: list[Settlement] = field(default_factory=list)
    _backoff_s: float = 0.0
    _housekeeping_at: float = 0.0
    _stopping: bool = False

    async def reserve(self, ask: Ask) -> Answer:
        """Queue one ask and wait for its commit. Raises LedgerUnavailable."""
        answer: Answer = await self._submit(ask=ask, settlement=None)
        return answer

    async def settle(self, settlement: Settlement) -> Settled:
        """Queue one settlement and wait until it is committed, however long that takes."""
        settled: Settled = await self._submit(ask=None, settlement=settlement)
        return settled

    def stop(self, *, timeout_s: float) -> bool:
        """Write what is queued, say that the instance stopped, and end the thread."""
        with self._start_lock:
            thread = self._thread
        if thread is None:
            return True
        self._stopping = True
        self._queue.put(None)
        thread.join(timeout_s)
        return not thread.is_alive()

    def _submit(self, *, ask: Ask | None, settlement: Settlement | None) -> Future[Any]:
        if self._stopping and not (self._thread and self._thread.is_alive()):
            raise LedgerUnavailable("this process is stopping")
        if ask is not None and self._queue.qsize() > QUEUE_MAX:
            raise LedgerUnavailable("too many requests wait for the ledger")
        loop = get_running_loop()
        item = _Item(ask, settlement, loop, loop.create_future())
        self._queue.put(item)
        if self._thread is None:
            self._start()
        return item.future

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            if time.monotonic() >= self._housekeeping_at:
                self._housekeeping_at = time.monotonic() + HOUSEKEEPING_EVERY_S
                self._with_store(self._keep_house)
            batch = self._take()
            if batch:
                self._process(batch)
            if self._stopping and self._queue.empty() and not self._late:
                self._with_store(lambda store: say_stopped(store, self.ledger.instance_id))
                self._drop_store()
                return

    def _take(self) -> list[_Item]:
        """Return everything that is queued, waiting for the first; late settlements first."""
        batch, self._late = self._late, []
        if batch:
            time.sleep(self._backoff_s)
        wait_s = 0.0 if batch else max(0.0, self._housekeeping_at - time.monotonic())
        try:
            item = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
            while True:
                if item is not None:
                    batch.append(item)
                if len(batch) >= BATCH_MAX:
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        return batch

    def _process(self, batch: list[_Item]) -> None:
        try:
            self._commit(batch)
        except StoreUnavailable as exc:
            logger.warning("the ledger's database is away: %s", exc)
            self._give_up(batch)
        except Exception:  # one item's data must not take the others down with it
            if len(batch) > 1:
                for item in batch:
                    self._process([item])
            else:
                logger.exception("the ledger could not write a row")
                error = LedgerUnavailable("the ledger could not write this request")
                _deliver([(batch[0], error)])

    def _commit(self, batch: list[_Item]) -> None:
        asks = [item for item in batch if item.ask is not None]
        settlements = [item for item in batch if item.settlement is not None]
        for attempt in range(1, TRIES + 1):
            try:
                answers, settled = self._transaction(
                    [item.ask for item in asks if item.ask],
                    [item.settlement for item in settlements if item.settlement],
                    again=attempt > 1,
                )
            except StoreUnavailable:
                if attempt == TRIES:
                    raise
                continue
            self._backoff_s = 0.0
            _deliver([*zip(asks, answers, strict=True), *zip(settlements, settled, strict=True)])
            return

    def _transaction(
        self, asks: Sequence[Ask], settlements: Sequence[Settlement], *, again: bool
    ) -> tuple[list[Answer], list[Settled]]:
        store = self._opened()
        try:
            withdrawn = located(store, self._withdrawn)
            answers, settled = self.ledger.commit(
                store, asks=asks, settlements=[*settlements, *withdrawn], again=again
            )
        except BaseException:
            store.rollback()
            self._drop_store()
            raise
        del self._withdrawn[: len(withdrawn)]
        return answers, settled[: len(settlements)]

    def _give_up(self, batch: list[_Item]) -> None:
        """Refuse the asks, keep the settlements for the next try.

        A lost connection may hide a commit, so a refused ask's hold is released when the
        database is back: nothing was sent for it.
        """
        self._backoff_s = min(BACKOFF_MAX_S, max(BACKOFF_MIN_S, self._backoff_s * 2))
        self._late += [item for item in batch if item.settlement is not None]
        refused = [item for item in batch if item.ask is not None]
        self._withdrawn += [_withdrawal(item.ask) for item in refused if item.ask]
        error = LedgerUnavailable("the ledger's database is away; nothing was sent")
        _deliver([(item, error) for item in refused])

    # --- housekeeping -------------------------------------------------------------------------

    def _keep_house(self, store: Store) -> None:
        beat(store, self.ledger.instance_id, host=socket.gethostname(), pid=os.getpid())
        left = abandoned(store)
        if left or self._withdrawn:
            self._transaction([], left, again=False)
            if left:
                logger.warning("settled %d abandoned calls as unknown", len(left))
        self.on_housekeeping(store)

    def _with_store(self, work: Callable[[Store], None]) -> None:
        try:
            work(self._opened())
        except StoreUnavailable as exc:
            logger.warning("the ledger's database is away: %s", exc)
            self._drop_store()
        except Exception:
            logger.exception("the ledger's housekeeping failed")
            self._drop_store()

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self.open_store()
        return self._store

    def _drop_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()


def _withdrawal(ask: Ask) -> Settlement:
    return Settlement(
        hold_id=ask.id,
        request_id=ask.request_id,
        org_id=ask.org_id,
        period_ids=(),
        outcome=State.RELEASED,
        cost_nanoeur=None,
        usage=None,
        charge_to=ask.charge_to,
        rates=ask.rates,
        entry=None,
    )


def _deliver(results: Sequence[tuple[_Item, Any]]) -> None:
    """Answer every waiter, with one wake-up for each event loop."""
    by_loop: dict[AbstractEventLoop, list[tuple[Future[Any], Any]]] = {}
    for item, result in results:
        by_loop.setdefault(item.loop, []).append((item.future, result))
    for loop, answers in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple[Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.done():  # its waiter was cancelled
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
