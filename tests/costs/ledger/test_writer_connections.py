"""The writer's connection: lost, slow, and blocked by locks of others."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.db import connection

from costs.core.admission import Admitted
from costs.core.holds import State
from costs.ledger.stores.base import RowKeys
from costs.ledger.writer import LedgerUnavailable, Writer
from orgs.models import Organization
from tests.costs.books import Books, Desk, ask, books, check_the_books, settlement, states
from tests.costs.clients import together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

NewWriter = Callable[..., Writer]


def cut_off_everybody_else() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend' "
            "AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchall(), "no connection was found"


@pytest.mark.postgres_only
def test_lost_connection_is_replaced_transparently(
    new_writer: NewWriter, acme: Organization
) -> None:
    writer = new_writer()
    for n in range(1, 4):
        asked = ask(acme, 100)
        (admitted,) = together(writer, asked)
        cut_off_everybody_else()
        (settled,) = together(writer, settlement(asked, admitted, State.SETTLED, 40))
        assert settled.changed
        assert books(acme) == Books(held=0, settled=40 * n)
    check_the_books()


@pytest.mark.long  # as long as a lock is waited for
def test_lock_that_is_never_released_fails_call(
    new_writer: NewWriter, today: Desk, acme: Organization
) -> None:
    writer = new_writer()
    together(writer, ask(acme, 1))
    asked = ask(acme, 100)
    today.store.lock(RowKeys(org_ids=[acme.pk]))
    (refused,) = together(writer, asked)
    assert isinstance(refused, LedgerUnavailable)
    today.store.rollback()
    time.sleep(0.1)
    assert isinstance(together(writer, ask(acme, 2))[0], Admitted)
    assert (states(acme), books(acme)) == (["held", "held"], Books(held=3, settled=0))
    check_the_books()
