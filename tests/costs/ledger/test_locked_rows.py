"""Rows of one organization that another transaction has locked: the others are not kept waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from costs.core.admission import Admitted, ReserveRequest, Settled, Settlement
from costs.core.holds import State
from costs.core.rate_limits import RateLimit
from costs.ledger.connect import open_store
from costs.ledger.reaper import PAUSE_MIN, Reaped, Reaper
from costs.ledger.stores.base import LOCK_WAIT_S, SHORT_LOCK_WAIT_S, RowKeys, StoreLocked
from costs.ledger.writer import OrganizationLocked, Writer
from costs.models import DailyCost
from orgs.models import Organization
from tests.costs.books import (
    Books,
    Desk,
    ask,
    books,
    check_the_books,
    events,
    period_ids,
    settlement,
    states,
)
from tests.costs.clients import ANSWER_MAX_S, together, until
from tests.costs.faulty import Faults, FaultyStore
from tests.factories import OrganizationFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres_only]

NewWriter = Callable[..., Writer]
OTHERS = 32
# More than a call of another organization takes that is in the batch which finds the lock: 0.5 s.
# A busy machine takes several times as long for everything, which a round without locks shows.
FOUND_WITHIN_S = 1.0
BUSY_TIMES = 15


@contextmanager
def locked_row(table: str, id_: UUID | str) -> Iterator[None]:
    """Lock a row in a transaction of another connection."""
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)
    statement = sql.SQL("SELECT 1 FROM {} WHERE id = %s FOR UPDATE")
    with psycopg.connect(**parameters) as other:
        assert other.execute(statement.format(sql.Identifier(table)), [id_]).fetchone()
        yield


@pytest.fixture
def others() -> list[Organization]:
    """Organizations whose rows are not locked."""
    return [OrganizationFactory.create() for _ in range(OTHERS)]


@pytest.fixture
def writer(new_writer: NewWriter, acme: Organization) -> Writer:
    """A writer that has written something, and lets reservations wait for longer than a test."""
    made = new_writer()
    made.aside.reservation_wait_max_s = ANSWER_MAX_S
    together(made, ask(acme, 1))
    return made


@pytest.fixture
def orgs() -> list[Organization]:
    """A few organizations whose rows are not locked."""
    return [OrganizationFactory.create() for _ in range(5)]


def ended_call(writer: Writer, asked: ReserveRequest) -> Settlement:
    """Reserve a call, and return its settlement."""
    (admitted,) = together(writer, asked)
    return settlement(asked, admitted, State.SETTLED, 40)


async def served(writer: Writer, asked: ReserveRequest) -> Settled:
    """Reserve a call, and settle it."""
    admitted = await writer.reserve(asked)
    return await writer.settle(settlement(asked, admitted, State.SETTLED, 4))


async def serve_others(writer: Writer, asks: list[ReserveRequest]) -> float:
    """Serve a call of each; return the seconds until the last one was settled."""
    started = time.monotonic()
    settled = await asyncio.gather(*(served(writer, asked) for asked in asks))
    assert all(each.changed for each in settled)
    return time.monotonic() - started


@pytest.mark.parametrize("table", ["organization", "period"])
def test_others_are_served_while_rows_of_one_organization_are_locked(
    writer: Writer, acme: Organization, others: list[Organization], table: str
) -> None:
    asked = [ask(acme, 100) for _ in range(8)]
    asks = [[ask(org, 10) for org in others] for _ in range(4)]
    row = acme.pk if table == "organization" else period_ids(acme)[0]

    async def under_lock() -> tuple[float, float]:
        without_lock_s = await serve_others(writer, asks[0])
        with locked_row(table, row):
            waiting = [asyncio.create_task(served(writer, each)) for each in asked]
            took_s = [await serve_others(writer, each) for each in asks[1:]]
            assert not any(task.done() for task in waiting)
        settled = await asyncio.wait_for(asyncio.gather(*waiting), ANSWER_MAX_S)
        assert all(each.charged_nanoeur == 4 for each in settled)
        return without_lock_s, max(took_s)

    without_lock_s, took_s = asyncio.run(under_lock())
    assert took_s < FOUND_WITHIN_S + BUSY_TIMES * without_lock_s
    assert books(acme) == Books(held=1, settled=8 * 4)
    assert all(books(org) == Books(held=0, settled=4 * 4) for org in others)
    check_the_books()


@pytest.mark.parametrize("table", ["hold", "period", "ai_request_log", "daily_cost"])
def test_settlement_waits_for_locked_row_and_is_not_lost(
    writer: Writer, acme: Organization, globex: Organization, table: str
) -> None:
    together(writer, ended_call(writer, ask(acme, 100)))  # which makes the line of the day
    asked = ask(acme, 100)
    ended = ended_call(writer, asked)
    rows = {
        "hold": asked.id,
        "period": period_ids(acme)[0],
        "ai_request_log": asked.request_id,
        "daily_cost": DailyCost.objects.get(org=acme).pk,
    }
    other = ask(globex, 10)

    async def under_lock() -> Settled:
        with locked_row(table, rows[table]):
            waiting = asyncio.create_task(writer.settle(ended))
            assert (await served(writer, other)).changed
            await asyncio.sleep(3 * LOCK_WAIT_S)
            assert not waiting.done()
        return await asyncio.wait_for(waiting, ANSWER_MAX_S)

    settled = asyncio.run(under_lock())
    assert (settled.changed, settled.charged_nanoeur) == (True, 40)
    assert events(acme) == [("usage", 40), ("usage", 40)]
    assert books(acme) == Books(held=1, settled=80)
    assert books(globex) == Books(held=0, settled=4)
    check_the_books()


def test_reservation_of_locked_organization_fails_after_its_wait(
    writer: Writer, acme: Organization, globex: Organization
) -> None:
    writer.aside.reservation_wait_max_s = 0.5
    asks = [ask(acme, 100), ask(acme, 100), ask(globex, 10)]

    async def under_lock() -> list[Any]:
        with locked_row("organization", acme.pk):
            answers = asyncio.gather(*map(writer.reserve, asks), return_exceptions=True)
            return await asyncio.wait_for(answers, ANSWER_MAX_S)

    first, second, other = asyncio.run(under_lock())
    assert isinstance(first, OrganizationLocked)
    assert isinstance(second, OrganizationLocked)
    assert isinstance(other, Admitted)
    assert isinstance(together(writer, ask(acme, 100))[0], Admitted)
    assert books(acme) == Books(held=101, settled=0)
    check_the_books()


def test_cancelled_reservation_of_locked_organization_leaves_no_hold(
    writer: Writer, acme: Organization
) -> None:
    leaving, staying = ask(acme, 100), ask(acme, 10)

    async def leave() -> None:
        with locked_row("organization", acme.pk):
            waiting = [asyncio.create_task(writer.reserve(each)) for each in (leaving, staying)]
            await asyncio.sleep(2 * LOCK_WAIT_S)
            waiting[0].cancel()
        assert isinstance(await asyncio.wait_for(waiting[1], ANSWER_MAX_S), Admitted)
        assert waiting[0].cancelled()

    asyncio.run(leave())
    # One that was written in the moment of its cancellation is withdrawn after.
    until(lambda: books(acme) == Books(held=11, settled=0))
    check_the_books()


def test_lost_commit_of_locked_organization_is_found(
    new_writer: NewWriter, acme: Organization
) -> None:
    """The first try commits unseen, the second meets a lock, the third finds the hold."""
    faults = Faults()
    writer = new_writer(lambda: FaultyStore(open_store(), faults))
    together(writer, ask(acme, 1))
    asked = ask(acme, 100)
    with ExitStack() as lock:

        def lose() -> None:
            lock.enter_context(locked_row("organization", acme.pk))

        faults.loses_commits, faults.on_lost_commit = 1, lose
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(together, writer, asked)
            until(lambda: bool(writer.aside))
            lock.close()
            (admitted,) = answer.result(timeout=120)
    assert isinstance(admitted, Admitted)
    assert books(acme) == Books(held=101, settled=0)
    check_the_books()


# --- housekeeping ---------------------------------------------------------------------------------


def test_reaper_settles_others_while_one_organization_is_locked(
    desk: Desk, acme: Organization, orgs: list[Organization]
) -> None:
    for org in (acme, *orgs):
        desk.hold(org, 100, deadline_s=60)
    desk.pass_s(61)
    one = Reaper(desk.ledger)
    with locked_row("organization", acme.pk):
        assert one.reap(desk.store) == Reaped(found=6, settled=5, put_aside=1, locked=1)
        assert one.reap(desk.store) == Reaped(found=0, settled=0, put_aside=0)
    assert states(acme) == ["held"]
    desk.pass_s(PAUSE_MIN.total_seconds())
    assert one.reap(desk.store) == Reaped(found=1, settled=1, put_aside=0)
    assert states(acme) == ["unknown"]
    check_the_books()


def test_withdrawn_holds_of_locked_organization_are_kept(
    today: Desk, new_writer: NewWriter, acme: Organization, globex: Organization
) -> None:
    writer = new_writer()
    asks = [today.hold(org, 100)[0] for org in (acme, globex)]
    with locked_row("organization", acme.pk):
        writer._withdraw(asks)
        writer.start()
        until(lambda: states(globex) == ["released"])
    until(lambda: states(acme) == ["released"])
    check_the_books()


def test_rate_bucket_is_locked_until_transaction_ends(
    desk: Desk, new_desk: Callable[[], Desk], acme: Organization
) -> None:
    """Other days' calls have other periods, but the same bucket."""
    limit = RateLimit(scope="policy:1", requests_per_minute=5)
    _, admitted = desk.hold(acme, 1, rates=(limit,))
    by_id = RowKeys(bucket_ids=[each.bucket_id for each in admitted.taken])
    by_scope = RowKeys(org_ids=[acme.pk], rate_scopes=[limit.scope])
    other = new_desk().store
    for mine, theirs in ((by_id, by_scope), (by_scope, by_id)):
        assert len(other.lock(theirs).buckets) == 1
        with pytest.raises(StoreLocked):
            desk.store.lock(mine, lock_wait_s=SHORT_LOCK_WAIT_S)
        desk.store.rollback()
        other.rollback()
