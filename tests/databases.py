"""The test databases: a file with WAL on SQLite, a database per process on PostgreSQL."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import TransactionTestCase
from psycopg import sql
from pytest_django import DjangoDbBlocker

# Rows that Django makes after migrations, and would make again after each flush.
MADE_ONCE = {"django_content_type", "auth_permission"}
# The trigger that refuses to delete rows of this table, and the table.
WALL, WALLED = "history_event_is_final", "history_event"


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all processes of this run, and no other, have in common."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def made_once(file: Path, make: Callable[[], Any], drop: Callable[[Any], None]) -> Iterator[Any]:
    """Make something once for all processes that name the same file, which keeps it as JSON.

    The last one to leave drops it.
    """
    with _alone(file):
        if not file.exists():
            file.write_text(json.dumps([0, make()]))
        users, made = json.loads(file.read_text())
        file.write_text(json.dumps([users + 1, made]))
    try:
        yield made
    finally:
        with _alone(file):
            users, _ = json.loads(file.read_text())
            file.write_text(json.dumps([users - 1, made]))
            if users == 1:
                drop(made)
                file.unlink()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Let one process in at a time."""
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Whether the test database is there before: on SQLite, a copy of a migrated file."""
    return connection.vendor == "sqlite"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Name the test database so that no other process of this or another run has it too.

    A file, not SQLite's shared memory: the ledger's writer and other processes open connections
    of their own, and only a file has the write-ahead log that production has. It is copied from
    one that is migrated once for all processes, which takes 5 s of CPU.
    """
    test = connections.settings["default"]["TEST"]
    if connection.vendor == "sqlite":
        test["NAME"] = str(tmp_path_factory.mktemp("database") / "pulse.sqlite3")
        # What tests prepare and clear away need not survive a power cut: 0.2 s each time. The
        # ledger's own connections keep synchronous=FULL.
        options = connections.settings["default"]["OPTIONS"]
        options["init_command"] = options["init_command"].replace("FULL", "OFF")
    else:
        test["NAME"] = f"test_pulse_{os.getpid()}"
    folder = shared_folder(tmp_path_factory)
    with migrated(folder, django_db_blocker) as name:
        if connection.vendor == "sqlite":
            shutil.copy(name, test["NAME"])
        else:
            test["TEMPLATE"] = name
        yield


def migrated(folder: Path, blocker: DjangoDbBlocker) -> AbstractContextManager[str]:
    """Give the migrated database of all processes that share the folder: its name, or its file."""

    def make() -> str:
        with blocker.unblock():
            return _migrate(folder)

    def drop(name: str) -> None:
        with blocker.unblock():
            _drop(name)

    return made_once(folder / "migrated.json", make, drop)


def _migrate(folder: Path) -> str:
    """Make a migrated database, and return its name."""
    name = f"migrated_{secrets.token_hex(6)}"
    if connection.vendor == "sqlite":
        name = f"{folder / name}.sqlite3"
    else:
        _administer(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    usual = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        call_command("migrate", verbosity=0)
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual
    return name


def _drop(name: str) -> None:
    if connection.vendor == "sqlite":
        Path(name).unlink()
    else:
        _administer(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _administer(statement: sql.Composed) -> None:
    server = _url(connection.settings_dict | {"NAME": "postgres"})
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(statement)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Empty tables our way meanwhile; at the end, end connections that other threads left open.

    With those, PostgreSQL would not drop the database.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty_tables)
        yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def _empty_tables(_: TransactionTestCase) -> None:
    """Delete the rows that a test has committed, once all writers have ended.

    Django would truncate the tables, which takes PostgreSQL 0.2 s, and make its own rows again.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in _emptying():
            cursor.execute(statement)


@cache
def _emptying() -> tuple[str, ...]:
    """Return the statements, in the one order for all: constraints are looked at in the end."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [connection.ops.quote_name(name) for name in names if name not in MADE_ONCE]
    deletions = tuple(f"DELETE FROM {table}" for table in tables)  # noqa: S608
    if connection.vendor == "sqlite":  # a transaction there is the only one that writes
        wall = f"{WALL}_delete"
        with connection.cursor() as cursor:
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [wall])
            [(again,)] = cursor.fetchall()
        return (f"DROP TRIGGER {wall}", *deletions, again)
    lock = f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"  # as TRUNCATE does
    off, on = (f"ALTER TABLE {WALLED} {do} TRIGGER {WALL}" for do in ("DISABLE", "ENABLE"))
    return ("; ".join((lock, off, *deletions, on)),)


def by_hand(statement: str, *values: object) -> None:
    """Run a statement as an operator would, in a transaction or a savepoint of its own."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [str(value) for value in values] or None)


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The DATABASE_URL by which another process reaches the database of this test."""
    return _url(connection.settings_dict)


@pytest.fixture
def empty_database_url(tmp_path: Path) -> Iterator[str]:
    """The DATABASE_URL of an unmigrated database, of the kind this run is on."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.sqlite3"
        return
    name = f"empty_{secrets.token_hex(6)}"
    _administer(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield _url(connection.settings_dict | {"NAME": name})
    _drop(name)


def _url(config: dict[str, Any]) -> str:
    if connection.vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    login = f"{quote(config['USER'])}:{quote(config['PASSWORD'])}"
    address = config["HOST"] + (f":{config['PORT']}" if config["PORT"] else "")
    options = urlencode({"host": host} if (host := config["OPTIONS"].get("host")) else {})
    return f"postgresql://{login}@{address}/{config['NAME']}?{options}"
