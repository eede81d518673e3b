"""Pages that need rows which another transaction has locked: they end, with a sentence."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from costs.ledger.connect import open_store
from costs.ledger.stores.base import LOCK_WAIT_S
from gateway.models import Policy
from orgs.models import Organization, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

CREATE = "/admin/ai/policies/create"
TYPED = {"name": "Production Policy", "max_tokens_per_request": "5000"}
BUSY_S = 2.5  # of a busy machine


@contextmanager
def locked(organization: Organization) -> Iterator[None]:
    """Lock the organization's row in another connection; on SQLite, the file."""
    if connection.vendor == "sqlite":
        name = connection.settings_dict["NAME"]
        with closing(sqlite3.connect(name, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
        return
    parameters = connection.get_connection_params()
    for ours in ("cursor_factory", "context"):
        parameters.pop(ours, None)
    with psycopg.connect(**parameters) as other:
        other.execute("SELECT 1 FROM organization WHERE id = %s FOR UPDATE", [organization.pk])
        yield


def test_page_that_waits_for_lock_ends_with_sentence(
    acme: Organization,
    client_for: Callable[[User], Client],
    admin_user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, wait_s = client_for(admin_user), 0.5
    options = connection.settings_dict["OPTIONS"]
    if connection.vendor == "sqlite":
        monkeypatch.setitem(options, "timeout", wait_s)
    else:
        monkeypatch.setitem(options, "options", f"{options['options']} -c lock_timeout=500ms")
    connection.close()
    with locked(acme):
        started = time.monotonic()
        response = client.post(CREATE, TYPED)
        took_s = time.monotonic() - started
    monkeypatch.undo()
    connection.close()
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "Your change was not saved" in response.content.decode()
    assert took_s >= wait_s
    assert not Policy.objects.exists()
    assert client.post(CREATE, TYPED).status_code == 302
    assert Policy.objects.count() == 1


@pytest.mark.postgres_only
def test_pages_and_ledger_have_connections_and_lock_waits_of_their_own(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), current_setting('lock_timeout')")
        page = cursor.fetchone()
    with closing(open_store()) as store:
        [ledger] = store.query("SELECT pg_backend_pid(), current_setting('lock_timeout')")
    assert page is not None
    assert page[0] != ledger[0]
    assert (page[1], ledger[1]) == (f"{settings.LOCK_WAIT_S}s", f"{LOCK_WAIT_S * 1000:.0f}ms")
