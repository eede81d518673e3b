"""Statements that differ between the two databases, for migrations."""

from __future__ import annotations

from collections.abc import Callable

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython
from django.db.migrations.state import StateApps


def run_sql(*, postgresql: tuple[str, ...], sqlite: tuple[str, ...]) -> RunPython:
    """Return a migration step that runs the database's own statements, one by one."""
    statements = {"postgresql": postgresql, "sqlite": sqlite}

    def forwards(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for statement in statements[schema_editor.connection.vendor]:
            schema_editor.execute(statement, params=None)

    backwards: Callable[[StateApps, BaseDatabaseSchemaEditor], None] = RunPython.noop
    return RunPython(forwards, backwards)


def drop_index(name: str) -> RunPython:
    """Return a migration step that drops an index, without making its table anew on SQLite."""
    statement = f"DROP INDEX {name}"
    return run_sql(postgresql=(statement,), sqlite=(statement,))
