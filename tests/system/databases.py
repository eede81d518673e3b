"""Databases of the kind of this run, and the initial data of every gateway."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from pytest_django import DjangoDbBlocker

from tests.databases import made_once, migrated
from tests.system.rows import Rows
from tests.system.servers import Installation, provider_keys, upstream_environment

# The same in all processes of a run, which copy one database.
SECRET_KEY: Final = "of-every-system-test-" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2


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
        """Remove a PostgreSQL database, also a connected one; files go with their folder."""
        if not self.suite_url.startswith("sqlite"):
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            self._administer(drop)

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def prepare(installation: Installation) -> str:
    """Migrate an empty database and fill it."""
    installation.run("migrate", "-v0")
    return _fill(installation)


def _fill(installation: Installation) -> str:
    """Load prices and make Acme, whose day is that of Paris; return its key.

    The packaged exchange rates are weeks old, which would raise an alert.
    """
    installation.run_each(("prices", "load"), ("rates", "set", "1.15", "--force"))
    return installation.organizations("acme", timezone="Europe/Paris")["acme"]


@dataclass(frozen=True, slots=True)
class Template:
    """A database as `prepare` leaves it, to be copied, and Acme's key."""

    databases: Databases
    name: str
    key: str

    @contextmanager
    def copied(self) -> Iterator[str]:
        """Copy it and return the copy's DATABASE_URL."""
        name = self.databases.make(template=self.name)
        try:
            yield self.databases.url(name)
        finally:
            self.databases.drop(name)


@contextmanager
def one_template(folder: Path, blocker: DjangoDbBlocker, *, forks: bool) -> Iterator[Template]:
    """Make the template of a migrated database, once for all processes that share the folder."""
    databases = Databases(folder)

    def make() -> tuple[str, str]:
        name = databases.make(template=Path(empty).stem)
        made = Installation(
            database_url=databases.url(name),
            folder=folder,
            environment={"SECRET_KEY": SECRET_KEY},
            forks=forks,
        )
        return name, _fill(made)

    kept = folder / "template.json"
    with (
        migrated(folder, blocker) as empty,
        made_once(kept, make, lambda made: databases.drop(made[0])) as (name, key),
    ):
        yield Template(databases, name, key)


def at_upstream(port: int) -> dict[str, str]:
    """Return the environment of a gateway whose vendors are all at a loopback port."""
    return {
        "SECRET_KEY": SECRET_KEY,
        "PULSE_PROVIDER_TIMEOUT_S": "60",
        **upstream_environment(port, provider_keys()),
    }
