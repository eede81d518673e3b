"""Prepared statements on one connection to PostgreSQL, any number of them in one round trip.

psycopg connects and reads results; statements go to libpq directly. Measured: a statement through
a psycopg cursor costs 60-100 us of CPU, which matters in a batch of twenty of them; so 5 us.
https://www.psycopg.org/psycopg3/docs/api/pq.html
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from itertools import count
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import errors, pq
from psycopg.adapt import Transformer

from costs.ledger.stores.base import StoreStalled
from costs.ledger.stores.binary import BINARY_FORMAT, Parameter

_ENDED: Final = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})
# The longest wait for the results of one round trip. Neither TCP nor the server's own timeouts end
# the wait for a process that is suspended, or for a COMMIT that waits for its standby.
ANSWER_TIMEOUT_S: Final = 10.0
Rows = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """A statement of the form `… $1 … $2 …`, with its encoded values."""

    text: bytes
    oids: tuple[int, ...] = ()
    values: Sequence[bytes | None] = ()
    formats: Sequence[int] = ()

    @classmethod
    def of(cls, text: bytes, *parameters: Parameter) -> Statement:
        """Return a statement with its parameters."""
        oids, values, formats = zip(*parameters, strict=True) if parameters else ((), (), ())
        return cls(text, oids, values, formats)


ROLLBACK: Final = Statement(b"ROLLBACK")


class Pipeline:
    """Runs statements, each prepared on its first use.

    Without BEGIN, one run is a transaction. After an error, call `roll_back` to continue.
    Raises psycopg.Error, and StoreStalled if the server does not answer within `timeout_s`.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        self._timeout_s = timeout_s
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._numbers = count()
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)
        self._answer_by = 0.0

    def run(self, statements: Sequence[Statement]) -> list[Rows]:
        """Send statements in one round trip and return the rows of each."""
        self._answer_by = time.monotonic() + self._timeout_s
        # The result of preparing a statement is not the caller's.
        is_wanted: list[bool] = []
        before = len(self._prepared)
        for statement in statements:
            self._send(statement, is_wanted)
        self._pgconn.pipeline_sync()
        try:
            self._flush()
            results = self._results()
        except StoreStalled:  # what was sent may be carried out later, and its results would follow
            self._pgconn.finish()
            raise
        except psycopg.Error:  # statements after the error were not prepared
            for key in list(self._prepared)[before:]:
                del self._prepared[key]
            raise
        return [
            self._rows(result) for result, wanted in zip(results, is_wanted, strict=True) if wanted
        ]

    def roll_back(self) -> None:
        """Roll back the transaction, if there is one."""
        if self._pgconn.transaction_status != pq.TransactionStatus.IDLE:
            self.run((ROLLBACK,))

    def _send(self, statement: Statement, is_wanted: list[bool]) -> None:
        text, oids, values, formats = statement
        name = self._prepared.get((text, oids))
        if name is None:
            name = self._prepared[text, oids] = b"ledger_%d" % next(self._numbers)
            self._pgconn.send_prepare(name, text, oids)
            is_wanted.append(False)
        self._pgconn.send_query_prepared(name, values, formats, result_format=BINARY_FORMAT)
        is_wanted.append(True)

    def _flush(self) -> None:
        """Send what libpq has buffered, reading replies meanwhile, so that neither side blocks."""
        if not self._pgconn.flush():
            return
        self._poll.modify(self._pgconn.socket, select.POLLIN | select.POLLOUT)
        try:
            while self._pgconn.flush():
                for _, event in self._wait():
                    if event != select.POLLOUT:
                        self._pgconn.consume_input()
        finally:
            self._poll.modify(self._pgconn.socket, select.POLLIN)

    def _wait(self) -> list[tuple[int, int]]:
        """Wait until the connection can be read, or written if that is polled for."""
        left_s = self._answer_by - time.monotonic()
        events = self._poll.poll(max(0.0, left_s) * 1000)
        if not events:
            raise StoreStalled(f"the database did not answer within {self._timeout_s:g} s")
        return events

    def _results(self) -> list[pq.abc.PGresult]:
        """Return the results up to the end of the pipeline. Raises the first error in them."""
        results: list[pq.abc.PGresult] = []
        failed: pq.abc.PGresult | None = None
        while True:
            while self._pgconn.is_busy():
                self._wait()
                self._pgconn.consume_input()
            result = self._pgconn.get_result()
            if result is None:  # the end of one statement's results
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                break
            if result.status not in _ENDED:
                failed = failed or result
            results.append(result)
        if failed is not None:
            raise errors.error_from_result(failed)
        return results

    def _rows(self, result: pq.abc.PGresult) -> Rows:
        if not result.ntuples:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)
