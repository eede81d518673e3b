"""Concurrent clients, each with its own thread and event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from threading import Barrier
from typing import Any, Final

from costs.core.admission import ReserveRequest, ReserveResult, Settlement
from costs.core.growth import HoldGrowth
from costs.ledger.writer import LedgerUnavailable, Writer

ANSWER_MAX_S: Final = 120.0


def reserve_together(
    writers: Sequence[Writer], asks: Sequence[ReserveRequest], *, barrier: Barrier | None = None
) -> list[ReserveResult | LedgerUnavailable]:
    """Send all requests at once, round-robin over the writers; return the results."""
    ready = barrier or Barrier(len(asks))

    def client(asked: ReserveRequest, writer: Writer) -> ReserveResult | LedgerUnavailable:
        ready.wait(timeout=ANSWER_MAX_S)
        try:
            return asyncio.run(writer.reserve(asked))
        except LedgerUnavailable as exc:
            return exc

    with ThreadPoolExecutor(len(asks)) as threads:
        return list(threads.map(client, asks, cycle(writers)))


def until(condition: Callable[[], bool], *, within_s: float = ANSWER_MAX_S) -> None:
    """Wait for another thread."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.02)


def together(writer: Writer, *work: Any) -> list[Any]:
    """Reserve, grow or settle everything at once, in one event loop.

    Raises TimeoutError if the writer does not answer within ANSWER_MAX_S.
    """

    async def all_of_it() -> list[Any]:
        async with asyncio.timeout(ANSWER_MAX_S):
            return await asyncio.gather(
                *(_done(writer, each) for each in work),
                return_exceptions=True,
            )

    return asyncio.run(all_of_it())


def _done(writer: Writer, work: Any) -> Awaitable[Any]:
    if isinstance(work, HoldGrowth):
        return writer.grow(work)
    return writer.settle(work) if isinstance(work, Settlement) else writer.reserve(work)
