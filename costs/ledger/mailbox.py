"""Queue items of the ledger's thread, and the delivery of results to their event loops."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from costs.core.admission import ReserveRequest, Settlement

Unheard = Callable[[ReserveRequest | None, Any], None]


@dataclass(slots=True, eq=False)
class Item:
    """A reservation or a settlement, and the future that waits for it in its own loop.

    `may_be_there` means that a try failed at a point where it may have committed unnoticed.
    """

    request: ReserveRequest | None
    settlement: Settlement | None
    loop: AbstractEventLoop
    future: Future[Any]
    may_be_there: bool = False


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
