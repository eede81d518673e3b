"""Column types shared by all apps."""

from __future__ import annotations

import uuid
from typing import Any

import uuid_utils
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


def new_id() -> uuid.UUID:
    """Return a new UUIDv7: ordered by time, so that inserts stay at the end of an index."""
    return uuid.UUID(bytes=uuid_utils.uuid7().bytes)


class IdField(models.UUIDField):  # type: ignore[type-arg]  # not subscriptable at run time
    """A UUID that reads the same in an answer, a log and a table.

    Django keeps UUIDs without dashes on SQLite; somebody who pastes a request id from an answer
    into a query would find nothing.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        if connection.features.has_native_uuid_field:
            return super().db_type(connection)
        return "char(36)"

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        if value is None or connection.features.has_native_uuid_field:
            return super().get_db_prep_value(value, connection, prepared)
        return str(self.to_python(value))


class IdPrimaryKey(IdField):
    """The primary key of every table: made by the gateway, before the write."""

    def __init__(self, **options: Any) -> None:
        made: dict[str, Any] = {"primary_key": True, "default": new_id, "editable": False}
        super().__init__(**made | options)
