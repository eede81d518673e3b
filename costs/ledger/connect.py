"""Opens the ledger's own connection to the configured database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db import connection

from costs.ledger.stores.base import Store
from costs.ledger.stores.pipeline import ANSWER_TIMEOUT_S
from costs.ledger.stores.postgres import PostgresStore
from costs.ledger.stores.sqlite import SqliteStore


def open_store(
    *, clock: Callable[[], datetime] | None = None, timeout_s: float = ANSWER_TIMEOUT_S
) -> Store:
    """Return a new store. Raises StoreUnavailable. Tests pass their own clock and time limit."""
    if connection.vendor == "postgresql":
        parameters = connection.get_connection_params()
        for ours in ("cursor_factory", "context", "prepare_threshold"):
            parameters.pop(ours, None)
        return PostgresStore(parameters, clock=clock, timeout_s=timeout_s)
    return SqliteStore(str(connection.settings_dict["NAME"]), clock=clock)
