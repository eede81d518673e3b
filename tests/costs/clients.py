"""Many clients that ask at the same moment, each from a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from threading import Barrier

from costs.core.admission import Answer, Ask
from costs.writer import LedgerUnavailable, Writer


def reserve_together(
    writers: Sequence[Writer], asks: Sequence[Ask], *, barrier: Barrier | None = None
) -> list[Answer | LedgerUnavailable]:
    """Send every ask at once, over the writers in turn; return the answers."""
    ready = barrier or Barrier(len(asks))

    def client(asked: Ask, writer: Writer) -> Answer | LedgerUnavailable:
        ready.wait(timeout=30)
        try:
            return asyncio.run(writer.reserve(asked))
        except LedgerUnavailable as exc:
            return exc

    with ThreadPoolExecutor(len(asks)) as threads:
        return list(threads.map(client, asks, cycle(writers)))
