"""Fixtures of the system tests: a prepared database and a fake provider for each module."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.system.clients import warm_up
from tests.system.rows import Rows
from tests.system.servers import Installation, Server, provider_keys, upstream_environment
from tests.system.upstream import Upstream

SECRET_KEY = secrets.token_urlsafe(64)


class Databases:
    """Makes databases of the kind this run is on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.suite_url = os.environ.get("DATABASE_URL", "sqlite:///")

    def url(self, name: str) -> str:
        """Return the DATABASE_URL of a database."""
        if self.suite_url.startswith("sqlite"):
            return f"sqlite:///{self.folder / name}.sqlite3"
        return urlsplit(self.suite_url)._replace(path=f"/{name}").geturl()

    def make(self, *, template: str | None = None) -> str:
        """Make a database, empty or like the template, and return its name."""
        name = f"system_{secrets.token_hex(6)}"
        if not self.suite_url.startswith("sqlite"):
            names = [sql.Identifier(name), sql.Identifier(template or "template1")]
            self._administer(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        elif template:
            with (
                closing(sqlite3.connect(Rows(self.url(template)).path)) as source,
                closing(sqlite3.connect(Rows(self.url(name)).path)) as copy,
            ):
                source.backup(copy)
        return name

    def drop(self, name: str) -> None:
        """Remove a PostgreSQL database, whoever is connected; files go with their folder."""
        if not self.suite_url.startswith("sqlite"):
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            self._administer(drop)

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def prepare(installation: Installation) -> str:
    """Migrate, load prices and make Acme, whose day is that of Paris; return its key."""
    installation.run_each(("migrate", "-v0"), ("prices", "load"))
    return installation.organizations("acme", timezone="Europe/Paris")["acme"]


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Where databases of the kind of this run are made."""
    return Databases(tmp_path_factory.mktemp("system-databases"))


@pytest.fixture(scope="session")
def template(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A database as `prepare` leaves it, to be copied, and Acme's key."""
    name = databases.make()
    installation = Installation(
        database_url=databases.url(name),
        folder=tmp_path_factory.mktemp("template"),
        environment={"SECRET_KEY": SECRET_KEY},
    )
    try:
        yield name, prepare(installation)
    finally:
        databases.drop(name)


@pytest.fixture(scope="module")
def empty_database_url(databases: Databases, template: tuple[str, str]) -> Iterator[str]:
    """Like the suite's fixture of this name, but for a module and filled from the template."""
    name = databases.make(template=template[0])
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The fake provider as a process, for a whole module."""
    running = Upstream(tmp_path_factory.mktemp("upstream") / "record.jsonl")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def installation(
    empty_database_url: str,
    template: tuple[str, str],
    upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """Acme's and Globex' gateway, priced, pointed at the fake provider; nothing runs yet."""
    made = Installation(
        database_url=empty_database_url,
        folder=tmp_path_factory.mktemp("servers"),
        environment={
            "SECRET_KEY": SECRET_KEY,
            "PULSE_PROVIDER_TIMEOUT_S": "60",
            **upstream_environment(upstream.port, provider_keys()),
        },
        key=template[1],
    )
    try:
        yield made
    finally:
        made.kill_all()


@pytest.fixture(scope="module")
def server(installation: Installation) -> Server:
    """One server process that a whole module uses; it has called every vendor."""
    [started] = installation.serve()
    asyncio.run(warm_up(started.url, installation.key))
    return started


@pytest.fixture
def rows(installation: Installation) -> Rows:
    """The rows of the installation's database."""
    return Rows(installation.database_url)
