"""Many streams grow against one limit: their holds never pass it, and none of it is left over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from threading import Barrier

import pytest

from costs.core.admission import ReserveRequest, ReserveResult
from costs.core.holds import State
from costs.ledger.writer import Writer
from orgs.models import Organization
from tests.costs.books import (
    Books,
    Desk,
    admitted_and_full,
    ask,
    books,
    check_the_books,
    growth,
    settlement,
)
from tests.costs.clients import reserve_together
from tests.costs.ledger.test_ledger_race import without_the_wall

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

STREAMS = 16
SLICE = 1_000
# What is left for growth after the first slices: 34 slices and a rest.
LIMIT = STREAMS * SLICE + 34 * SLICE + 999


def grow_together(
    writers: list[Writer], streams: list[tuple[ReserveRequest, ReserveResult]]
) -> list[int]:
    """Let each stream grow by one slice after the other until it may not; return what they hold."""
    ready = Barrier(len(streams))

    async def run(writer: Writer, stream: tuple[ReserveRequest, ReserveResult]) -> int:
        for nanoeur in range(SLICE, LIMIT, SLICE):
            grown = await writer.grow(growth(*stream, nanoeur + SLICE))
            if grown.amount_nanoeur == nanoeur:
                break
        return grown.amount_nanoeur

    def client(stream: tuple[ReserveRequest, ReserveResult], writer: Writer) -> int:
        ready.wait(timeout=120)
        return asyncio.run(run(writer, stream))

    with ThreadPoolExecutor(len(streams)) as threads:
        return list(threads.map(client, streams, cycle(writers)))


def test_streams_of_several_processes_take_exactly_what_is_left(
    new_writer: Callable[..., Writer], acme: Organization
) -> None:
    writers = [new_writer() for _ in range(4)]
    asks = [ask(acme, SLICE, limit=LIMIT) for _ in range(STREAMS)]
    streams = list(zip(asks, reserve_together(writers, asks), strict=True))
    with without_the_wall():
        held = grow_together(writers, streams)  # type: ignore[arg-type]  # all are admitted
    assert sum(held) == STREAMS * SLICE + 34 * SLICE
    assert books(acme) == Books(held=sum(held), settled=0)
    check_the_books()


def test_streams_and_new_calls_share_one_limit(
    new_writer: Callable[..., Writer], today: Desk, acme: Organization
) -> None:
    writers = [new_writer() for _ in range(4)]
    asks = [ask(acme, SLICE, limit=LIMIT) for _ in range(STREAMS)]
    streams = list(zip(asks, reserve_together(writers, asks), strict=True))
    more = [ask(acme, SLICE, limit=LIMIT) for _ in range(40)]
    with without_the_wall(), ThreadPoolExecutor(2) as threads:
        growing = threads.submit(grow_together, writers, streams)  # type: ignore[arg-type]
        admitted, _ = admitted_and_full(reserve_together(writers, more))
        held = growing.result(timeout=120)
    assert sum(held) + admitted * SLICE == STREAMS * SLICE + 34 * SLICE
    assert books(acme) == Books(held=sum(held) + admitted * SLICE, settled=0)
    for stream in streams:
        today.settle(settlement(*stream, State.SETTLED, 1))  # type: ignore[arg-type]
    assert books(acme) == Books(held=admitted * SLICE, settled=STREAMS)
    check_the_books()
