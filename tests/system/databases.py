"""Databases of the kind of this run, and the initial data of every gateway."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.system.rows import Rows
from tests.system.servers import Installation, provider_keys, upstream_environment

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
        """Remove a PostgreSQL database, also a connected one; files go with their folder."""
        if not self.suite_url.startswith("sqlite"):
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            self._administer(drop)

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def prepare(installation: Installation) -> str:
    """Migrate, load prices and make Acme, whose day is that of Paris; return its key.

    The packaged exchange rates are weeks old, which would raise an alert.
    """
    rate_of_today = ("rates", "set", "1.15", "--force")
    installation.run_each(("migrate", "-v0"), ("prices", "load"), rate_of_today)
    return installation.organizations("acme", timezone="Europe/Paris")["acme"]


def at_upstream(port: int) -> dict[str, str]:
    """Return the environment of a gateway whose vendors are all at a loopback port."""
    return {
        "SECRET_KEY": SECRET_KEY,
        "PULSE_PROVIDER_TIMEOUT_S": "60",
        **upstream_environment(port, provider_keys()),
    }
