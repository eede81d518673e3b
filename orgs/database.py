"""Differences between the two databases: migration statements, values in plain SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from django.db import OperationalError, connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython
from django.db.migrations.state import StateApps
from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL
from django.utils.timezone import now

from orgs.core.spelling import folded


def run_sql(*, postgresql: tuple[str, ...], sqlite: tuple[str, ...]) -> RunPython:
    """Return a migration step that runs the database's own statements, one by one."""
    statements = {"postgresql": postgresql, "sqlite": sqlite}

    def forwards(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for statement in statements[schema_editor.connection.vendor]:
            schema_editor.execute(statement, params=None)

    backwards: Callable[[StateApps, BaseDatabaseSchemaEditor], None] = RunPython.noop
    return RunPython(forwards, backwards)


def drop_index(name: str) -> RunPython:
    """Return a migration step that drops an index, without rebuilding its table on SQLite."""
    statement = f"DROP INDEX {name}"
    return run_sql(postgresql=(statement,), sqlite=(statement,))


def is_lock_timeout(error: OperationalError) -> bool:
    """Whether a statement gave up waiting for a lock; its transaction is rolled back."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.OperationalError):
        return cause.sqlite_errorcode == sqlite3.SQLITE_BUSY
    return isinstance(cause, psycopg.errors.LockNotAvailable)


def folded_if_ascii(column: str) -> str:
    """Return the expression of what `folded` returns for a name that is ASCII.

    What LOWER does to other letters is another thing on each database.
    """
    collation = ' COLLATE "C"' if connection.vendor == "postgresql" else ""
    return f"LOWER(TRIM({column}){collation})"


def is_not_ascii(column: str) -> str:
    """Return the condition that a text has other characters than ASCII's."""
    if connection.vendor == "postgresql":
        return f"OCTET_LENGTH({column}) <> CHAR_LENGTH({column})"
    return f"LENGTH(CAST({column} AS BLOB)) <> LENGTH({column})"


def may_be(column: str, names: Iterable[str]) -> Q:
    """Return the condition of rows whose column may have a spelling of one of the names.

    Only Python can fold a name that is not ASCII: compare what is found by `folded`.
    """
    wanted = [folded(name) for name in names]
    marks = ", ".join(["%s"] * len(wanted))
    condition = f"({folded_if_ascii(column)} IN ({marks}) OR {is_not_ascii(column)})"
    return Q(RawSQL(condition, wanted, BooleanField()))  # noqa: S611  our own names


def database_clock() -> datetime:
    """Return the database's clock now, also in a transaction that began before."""
    if connection.vendor != "postgresql":
        return now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def kept_id(id_: UUID) -> UUID | str:
    """Return an id as the database stores it: SQLite as text."""
    return id_ if connection.vendor == "postgresql" else str(id_)


def as_moment(value: datetime | str) -> datetime:
    """Return an instant as an aware datetime; SQLite stores it as text in UTC."""
    if isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value).replace(tzinfo=UTC)


def as_uuid(value: UUID | str) -> UUID:
    """Return an id as a UUID; SQLite stores it as text."""
    return value if isinstance(value, UUID) else UUID(value)


def raises_config_version(table: str) -> RunPython:
    """Return a migration step: triggers that raise organization.config_version on any change."""
    return run_sql(
        postgresql=(
            f"""
            CREATE TRIGGER {table}_config_version AFTER INSERT OR UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION raise_config_version()
            """,
        ),
        sqlite=tuple(
            f"""
            CREATE TRIGGER {table}_config_version_{event.lower()} AFTER {event} ON {table}
            BEGIN
                UPDATE organization SET config_version = config_version + 1
                WHERE id IN ({rows});
            END
            """  # noqa: S608  our own names
            for event, rows in (
                ("INSERT", "NEW.org_id"),
                ("UPDATE", "OLD.org_id, NEW.org_id"),
                ("DELETE", "OLD.org_id"),
            )
        ),
    )
