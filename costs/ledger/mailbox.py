"""Queue items of the ledger's thread, and the delivery of results to their event loops."""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from costs.core.admission import ReserveRequest, Settlement
from costs.core.growth import HoldGrowth

Unheard = Callable[[ReserveRequest | None, Any], None]


@dataclass(slots=True, eq=False)
class Item:
    """A reservation, a settlement or a growth, and the future that waits for it in its own loop.

    `may_be_there` means that a try failed at a point where it may have committed unnoticed.
    `give_up_at` is when one whose organization is locked fails, on the monotonic clock; never a
    settlement.
    """

    request: ReserveRequest | None
    settlement: Settlement | None
    org_id: UUID
    loop: AbstractEventLoop
    future: Future[Any]
    may_be_there: bool = False
    give_up_at: float = math.inf
    growth: HoldGrowth | None = None

    @property
    def is_cancelled(self) -> bool:
        """Whether its caller is gone. A settlement is written nevertheless."""
        return self.settlement is None and self.future.cancelled()


def answer(items: Sequence[Item], results: Sequence[Any], *, unheard: Unheard) -> None:
    """Deliver every result, with one wake-up for each event loop. Never raises.

    `unheard` is called with results that have no waiter: it was cancelled, or its loop closed.
    """
    by_loop: dict[AbstractEventLoop, list[tuple[Item, Any]]] = {}
    for item, result in zip(items, results, strict=True):
        by_loop.setdefault(item.loop, []).append((item, result))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers, unheard)
        except RuntimeError:  # the loop has closed
            for item, result in answers:
                unheard(item.request, result)


def _resolve(answers: Sequence[tuple[Item, Any]], unheard: Unheard) -> None:
    for item, result in answers:
        if item.future.done():
            unheard(item.request, result)
        elif isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
