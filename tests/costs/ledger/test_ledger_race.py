"""Races for the last euro: exactly what fits is admitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from costs.core.admission import ReserveResult
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
    settlement,
)
from tests.costs.clients import reserve_together
from tests.costs.rivals import raced

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

CLIENTS = 64
EURO = 10**9
BOUND = 30_000_000  # 33 of them fit into what is left


@contextmanager
def without_the_wall() -> Iterator[None]:
    """Drop the trigger that rejects increases past the limit, and restore it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            drop, restore = (
                f"ALTER TABLE period {word} TRIGGER period_wall" for word in ("DISABLE", "ENABLE")
            )
        else:
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'period_wall'")
            drop, restore = "DROP TRIGGER period_wall", cursor.fetchone()[0]
        cursor.execute(drop)
        try:
            yield
        finally:
            cursor.execute(restore)


def race(new_writer: Callable[..., Writer], org: Organization) -> list[Any]:
    """Send reservations of 64 clients to four processes' writers at once."""
    asks = [ask(org, BOUND, limit=EURO) for _ in range(CLIENTS)]
    return reserve_together([new_writer() for _ in range(4)], asks)


def spend_a_little(desk: Desk, org: Organization) -> None:
    """Leave 999,999,990 nano-euro: 33 times the bound and a rest."""
    asked, admitted = desk.hold(org, BOUND, limit=EURO)
    desk.settle(settlement(asked, admitted, State.SETTLED, 10))


def test_race_admits_exactly_what_fits(
    new_writer: Callable[..., Writer], today: Desk, acme: Organization
) -> None:
    spend_a_little(today, acme)
    assert admitted_and_full(race(new_writer, acme)) == (33, CLIENTS - 33)
    assert books(acme) == Books(held=33 * BOUND, settled=10)
    check_the_books()


def test_row_lock_alone_enforces_limit(
    new_writer: Callable[..., Writer], acme: Organization
) -> None:
    with without_the_wall():
        assert admitted_and_full(race(new_writer, acme)) == (33, CLIENTS - 33)
    assert books(acme).held == 33 * BOUND
    check_the_books()


def test_single_row_batches_enforce_limit(new_desk: Callable[[], Desk], acme: Organization) -> None:
    """Without the writers' batches there are as many transactions as calls."""
    barrier = Barrier(8)

    def client(desk: Desk) -> list[ReserveResult]:
        asks = [ask(acme, BOUND, limit=EURO) for _ in range(8)]
        connection.close()
        barrier.wait(timeout=120)
        return [desk.reserve(asked) for asked in asks]

    desks = [new_desk() for _ in range(8)]
    for desk in desks:
        assert desk.store  # connected before the start
    with without_the_wall(), ThreadPoolExecutor(8) as threads:
        answers = [answer for some in threads.map(client, desks) for answer in some]
    assert admitted_and_full(answers) == (33, CLIENTS - 33)
    assert books(acme).held == 33 * BOUND
    check_the_books()


def test_two_server_processes_share_one_limit(database_url: str, acme: Organization) -> None:
    wanted = {"org": str(acme.pk), "nanoeur": BOUND, "limit": EURO, "clients": CLIENTS // 2}
    results = raced(database_url, wanted, processes=2)
    assert [sum(counts) for counts in zip(*results, strict=True)] == [33, CLIENTS - 33]
    assert books(acme).held == 33 * BOUND
    check_the_books()
