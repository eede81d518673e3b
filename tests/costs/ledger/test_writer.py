"""The writer of a process: many callers, one transaction, and database outages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from costs.core.admission import Admitted, ReserveRequest
from costs.core.holds import State
from costs.ledger.connect import open_store
from costs.ledger.stores.base import Store, StoreUnavailable
from costs.ledger.writer import LedgerUnavailable, Writer
from costs.models import Instance
from orgs.models import Organization
from tests.costs.books import (
    Books,
    admitted_and_full,
    ask,
    books,
    check_the_books,
    events,
    settlement,
    states,
)
from tests.costs.clients import together, until
from tests.costs.faulty import Faults, FaultyStore

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

NewWriter = Callable[..., Writer]


@pytest.fixture
def writer(new_writer: NewWriter, faults: Faults) -> Writer:
    """A writer whose database can be made unavailable."""

    def opener() -> Store:
        faults.check()
        return FaultyStore(open_store(), faults)

    return new_writer(opener)


def test_queued_items_are_written_in_one_batch(
    writer: Writer, faults: Faults, acme: Organization
) -> None:
    asks = [ask(acme, 10, limit=450) for _ in range(64)]
    assert admitted_and_full(together(writer, *asks)) == (45, 19)
    housekeeping, in_batches = 4, faults.commits
    assert in_batches <= housekeeping + 10  # far fewer than 64
    assert books(acme) == Books(held=450, settled=0)
    check_the_books()


def test_call_that_cannot_be_written_does_not_fail_others(
    writer: Writer, acme: Organization
) -> None:
    asks = [ask(acme, 10) for _ in range(5)]
    impossible = ask(acme, 2**70)  # fits no column
    *others, refused = together(writer, *asks, impossible)
    assert admitted_and_full(others) == (5, 0)
    assert isinstance(refused, LedgerUnavailable)
    check_the_books()


def test_settlement_that_cannot_be_written_leaves_hold_to_reaper(
    writer: Writer, acme: Organization
) -> None:
    asked = ask(acme, 10)
    (admitted,) = together(writer, asked)
    (failed,) = together(writer, settlement(asked, admitted, State.SETTLED, 2**70))
    assert isinstance(failed, LedgerUnavailable)
    assert states(acme) == ["held"]
    check_the_books()


# --- database unavailable -------------------------------------------------------------------------


def test_call_fails_immediately_without_database(
    writer: Writer, faults: Faults, acme: Organization
) -> None:
    faults.is_away = True
    asks = [ask(acme, 10) for _ in range(300)]
    answers = together(writer, *asks)  # while it is away: who waited for it had no answer
    assert all(isinstance(answer, LedgerUnavailable) for answer in answers)
    faults.is_away = False
    asked = ask(acme, 10)
    until(lambda: isinstance(together(writer, asked)[0], Admitted))
    assert states(acme) == ["held"]


def test_only_settlements_wait_for_database(
    writer: Writer, faults: Faults, acme: Organization
) -> None:
    asks = [ask(acme, 10) for _ in range(600)]
    ends = [
        settlement(asked, admitted, State.SETTLED, 4)
        for asked, admitted in zip(asks, together(writer, *asks), strict=True)
    ]
    late_ask = ask(acme, 10)

    async def while_it_is_away() -> list[Any]:
        faults.is_away = True
        waiting = [asyncio.ensure_future(writer.settle(end)) for end in ends]
        await asyncio.sleep(0.3)
        with pytest.raises(LedgerUnavailable):
            await writer.reserve(late_ask)
        assert not any(future.done() for future in waiting)
        faults.is_away = False
        return await asyncio.wait_for(asyncio.gather(*waiting), timeout=120)

    settled = asyncio.run(while_it_is_away())
    assert all(each.changed for each in settled)
    assert books(acme) == Books(held=0, settled=2400)
    check_the_books()


def test_commit_with_lost_reply_is_found_by_retry(
    writer: Writer, faults: Faults, acme: Organization
) -> None:
    together(writer, ask(acme, 1))
    asks = [ask(acme, 10, limit=101, repeat=f"k{n}") for n in range(12)]
    faults.loses_commits = 1
    assert admitted_and_full(together(writer, *asks)) == (10, 2)
    assert books(acme) == Books(held=101, settled=0)
    check_the_books()


def test_hold_of_failed_reservation_is_released(
    writer: Writer, faults: Faults, acme: Organization
) -> None:
    together(writer, ask(acme, 1))
    faults.loses_commits = 2  # the second try finds the first one's hold, and is lost too
    (refused,) = together(writer, ask(acme, 100, limit=1000))
    assert isinstance(refused, LedgerUnavailable)
    until(lambda: states(acme) == ["held", "released"])
    assert books(acme) == Books(held=1, settled=0)
    check_the_books()


def test_settlement_with_lost_reply_charges_once(
    writer: Writer, faults: Faults, acme: Organization
) -> None:
    asked = ask(acme, 100)
    (admitted,) = together(writer, asked)
    faults.loses_commits = 3
    (settled,) = together(writer, settlement(asked, admitted, State.SETTLED, 40))
    assert (settled.state, settled.charged_nanoeur) == (State.SETTLED, 40)
    assert events(acme) == [("usage", 40)]
    check_the_books()


# --- waiters that leave ---------------------------------------------------------------------------


def test_cancelled_caller_leaves_no_hold(writer: Writer, acme: Organization) -> None:
    together(writer, ask(acme, 1))

    async def leave(asked: ReserveRequest, after_s: float) -> bool:
        waiting = asyncio.ensure_future(writer.reserve(asked))
        await asyncio.sleep(after_s)
        had_no_answer = waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0.05)
        return had_no_answer

    leaves_after_s = [0, 0.0005, 0.001, 0.002, 0.003, 0.005] * 4
    left = [asyncio.run(leave(ask(acme, 100), after_s)) for after_s in leaves_after_s]
    assert sum(left) >= 4
    # Who had an answer before leaving could have sent the call.
    until(lambda: books(acme).held == 1 + 100 * left.count(False))
    check_the_books()


def test_caller_cancelled_during_delivery_leaves_no_hold(
    writer: Writer, acme: Organization
) -> None:
    async def leave(asked: ReserveRequest) -> None:
        waiting = asyncio.ensure_future(writer.reserve(asked))
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251  the loop is busy while its answer comes in
        asyncio.get_running_loop().call_soon(waiting.cancel)
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    asyncio.run(leave(ask(acme, 100)))
    until(lambda: states(acme) == ["released"])
    check_the_books()


def test_closed_event_loop_does_not_fail_others(
    writer: Writer, faults: Faults, acme: Organization
) -> None:
    together(writer, ask(acme, 1))
    faults.may_go_on.clear()  # an answer on its way into a loop that closes is the reaper's
    loop = asyncio.new_event_loop()
    task = loop.create_task(writer.reserve(ask(acme, 100)))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()  # avoids a warning
    loop.close()
    faults.may_go_on.set()
    assert isinstance(together(writer, ask(acme, 2))[0], Admitted)
    until(lambda: books(acme).held == 3)
    check_the_books()


# --- the end --------------------------------------------------------------------------------------


def test_stopping_writer_writes_everything(new_writer: NewWriter, acme: Organization) -> None:
    writer = new_writer()
    asks = [ask(acme, 1) for _ in range(300)]

    async def stop_in_the_middle() -> list[Any]:
        waiting = [asyncio.ensure_future(writer.reserve(asked)) for asked in asks]
        await asyncio.sleep(0)
        assert await asyncio.to_thread(writer.stop, timeout_s=120)
        return await asyncio.gather(*waiting)

    assert admitted_and_full(asyncio.run(stop_in_the_middle())) == (300, 0)
    assert Instance.objects.get(pk=writer.ledger.instance_id).stopped_at is not None
    check_the_books()


@pytest.mark.parametrize("started", [True, False])
def test_stopped_writer_raises_ledger_unavailable(
    new_writer: NewWriter, acme: Organization, started: bool
) -> None:
    writer = new_writer()
    if started:
        together(writer, ask(acme, 1))
    assert writer.stop(timeout_s=120)
    (refused,) = together(writer, ask(acme, 1))
    assert isinstance(refused, LedgerUnavailable)


def test_store_that_cannot_be_opened_raises_ledger_unavailable(
    new_writer: NewWriter, acme: Organization
) -> None:
    def opener() -> Store:
        raise StoreUnavailable("connection refused")

    (refused,) = together(new_writer(opener), ask(acme, 1))
    assert isinstance(refused, LedgerUnavailable)
