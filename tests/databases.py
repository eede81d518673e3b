"""The test databases: a file with WAL on SQLite, a database per process on PostgreSQL."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from django.db import connection, connections
from psycopg import sql
from pytest_django import DjangoDbBlocker


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Name the test database so that no other process of this or another run has it too.

    A file, not SQLite's shared memory: the ledger's writer and other processes open connections
    of their own, and only a file has the write-ahead log that production has.
    """
    test = connections.settings["default"]["TEST"]
    if connection.vendor == "sqlite":
        test["NAME"] = str(tmp_path_factory.mktemp("database") / "pulse.sqlite3")
        # What tests prepare and clear away need not survive a power cut (a flush: 0.24 s, else
        # 0.04 s). The ledger's own connections keep synchronous=FULL.
        options = connections.settings["default"]["OPTIONS"]
        options["init_command"] = options["init_command"].replace("FULL", "OFF")
    else:
        test["NAME"] = f"test_pulse_{os.getpid()}"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """End connections that other threads left open, or PostgreSQL would not drop the database."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The DATABASE_URL by which another process reaches the database of this test."""
    return _url(connection.settings_dict)


@pytest.fixture
def empty_database_url(tmp_path: Path) -> Iterator[str]:
    """The DATABASE_URL of a database that nobody has migrated, of the kind this run is on."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.sqlite3"
        return
    name = f"empty_{secrets.token_hex(6)}"
    server = _url(connection.settings_dict | {"NAME": "postgres"})
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield _url(connection.settings_dict | {"NAME": name})
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(config: dict[str, Any]) -> str:
    if connection.vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    login = f"{quote(config['USER'])}:{quote(config['PASSWORD'])}"
    address = config["HOST"] + (f":{config['PORT']}" if config["PORT"] else "")
    options = urlencode({"host": host} if (host := config["OPTIONS"].get("host")) else {})
    return f"postgresql://{login}@{address}/{config['NAME']}?{options}"
