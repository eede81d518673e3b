"""Rows of one organization that another transaction has locked: the others are not kept waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from costs.core.admission import ReserveRequest, Settled
from costs.core.holds import State
from costs.ledger.writer import Writer
from orgs.models import Organization
from tests.costs.books import (
    Books,
    ask,
    books,
    check_the_books,
    period_ids,
    settlement,
)
from tests.costs.clients import together
from tests.factories import OrganizationFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres_only]

NewWriter = Callable[..., Writer]
OTHERS = 32
# Another organization's call, reserved and settled. It takes 0.5 s when it was in the batch that
# found the lock, and the machine may be busy.
SERVED_WITHIN_S = 1.5


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
    """Organizations that nobody locks."""
    return [OrganizationFactory.create() for _ in range(OTHERS)]


@pytest.fixture
def writer(new_writer: NewWriter, acme: Organization) -> Writer:
    """A writer that has written something."""
    made = new_writer()
    together(made, ask(acme, 1))
    return made


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
    asks = [[ask(org, 10) for org in others] for _ in range(3)]
    row = acme.pk if table == "organization" else period_ids(acme)[0]

    async def under_lock() -> list[float]:
        with ExitStack() as lock:
            lock.enter_context(locked_row(table, row))
            waiting = [asyncio.create_task(served(writer, each)) for each in asked]
            took_s = [await serve_others(writer, each) for each in asks]
            assert not any(task.done() for task in waiting)
            lock.close()
            t = time.monotonic()
            settled = await asyncio.wait_for(asyncio.gather(*waiting), 5)
        print("after", time.monotonic() - t)
        assert all(each.charged_nanoeur == 4 for each in settled)
        return took_s

    took_s = asyncio.run(under_lock())
    print("took", took_s)
    assert max(took_s) < SERVED_WITHIN_S
    assert books(acme) == Books(held=1, settled=8 * 4)
    assert all(books(org) == Books(held=0, settled=3 * 4) for org in others)
    check_the_books()
