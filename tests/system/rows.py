"""Plain SQL queries, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any, Final

import psycopg

RESOLVED_WITHIN_S: Final = 120.0
# What the periods, holds and events must agree on; each query returns what does not.
DISAGREEMENTS: Final = {
    "a period's held is not the sum of its holds": """
        SELECT p.id FROM period p LEFT JOIN hold_period hp ON hp.period_id = p.id
        LEFT JOIN hold h ON h.id = hp.hold_id AND h.state = 'held'
        GROUP BY p.id, p.held_nanoeur HAVING p.held_nanoeur <> coalesce(sum(h.amount_nanoeur), 0)
    """,
    "a period's charges are not the sum of its holds'": """
        SELECT p.id FROM period p LEFT JOIN hold_period hp ON hp.period_id = p.id
        LEFT JOIN hold h ON h.id = hp.hold_id
        GROUP BY p.id, p.settled_nanoeur, p.overrun_nanoeur
        HAVING p.settled_nanoeur + p.overrun_nanoeur <> coalesce(sum(h.charged_nanoeur), 0)
    """,
    "a hold's charge is not the sum of its events": """
        SELECT h.id FROM hold h LEFT JOIN cost_event e ON e.hold_id = h.id
        GROUP BY h.id, h.charged_nanoeur
        HAVING h.charged_nanoeur <> coalesce(sum(e.amount_nanoeur), 0)
    """,
    "a hold is in no day or in several": """
        SELECT h.id FROM hold h LEFT JOIN hold_period hp ON hp.hold_id = h.id
        LEFT JOIN period p ON p.id = hp.period_id AND p.scope = 'org'
        GROUP BY h.id HAVING count(p.id) <> 1
    """,
    "holds have no audit row, or one that says another cost": """
        SELECT h.request_id FROM hold h LEFT JOIN ai_request_log l ON l.id = h.request_id
        GROUP BY h.request_id, l.id, l.status, l.cost_nanoeur
        HAVING l.id IS NULL OR (sum(CASE h.state WHEN 'held' THEN 1 ELSE 0 END) = 0 AND (
            l.status = 'pending' OR l.cost_nanoeur IS NULL
            OR l.cost_nanoeur <> sum(h.charged_nanoeur)))
    """,
    "a call was charged twice": """
        SELECT hold_id FROM cost_event WHERE kind NOT IN ('correction', 'adjustment')
        GROUP BY hold_id HAVING count(*) > 1
    """,
    "an event has no hold": """
        SELECT e.id FROM cost_event e LEFT JOIN hold h ON h.id = e.hold_id WHERE h.id IS NULL
    """,
    "a period is past its limit without an overrun": """
        SELECT id FROM period WHERE overrun_nanoeur = 0
        AND held_nanoeur + settled_nanoeur > limit_nanoeur
    """,
}
HOLDS: Final = """
    SELECT h.id, h.state, h.amount_nanoeur, h.charged_nanoeur, h.held_at, c.rates,
           l.client_id, l.status, l.code, l.error, l.cost_nanoeur, hp.period_id
    FROM ai_request_log l JOIN hold h ON h.request_id = l.id
    JOIN hold_period hp ON hp.hold_id = h.id JOIN rate_card c ON c.id = h.rate_card_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A hold and its audit row. `rates` is as the hold keeps it, `call` the client's own name."""

    hold_id: str
    state: str
    amount_nanoeur: int
    charged_nanoeur: int
    held_at: float
    rates: dict[str, Any]
    call: str
    status: str
    code: str | None
    error: str | None
    cost_nanoeur: int | None
    period_id: str

    def is_unknown_of(self, *, stream: bool) -> bool:
        """Whether it is charged as unknown: the whole hold, or less by what a stream showed."""
        if not stream or self.amount_nanoeur == 0:
            return self.charged_nanoeur == self.amount_nanoeur
        return 0 < self.charged_nanoeur <= self.amount_nanoeur

    def price_of(self, billed: dict[str, Any]) -> int:
        """Return what the billed words cost at the rates fixed at admission, in nano-euro."""
        [band] = [
            each
            for each in self.rates["bands"]
            if each["service_tier"] == "standard" and each["above_input_tokens"] == 0
        ]
        usd = Fraction(str(band["input_usd_per_mtok"])) * int(billed["input_tokens"])
        usd += Fraction(str(band["output_usd_per_mtok"])) * int(billed["output_tokens"])
        return ceil(usd * 1000 / Fraction(str(self.rates["usd_per_eur"])))


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one database, read and changed by hand."""

    url: str

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file."""
        return self.url.startswith("sqlite")

    @property
    def path(self) -> str:
        """The file of a SQLite database."""
        return self.url.removeprefix("sqlite:///")

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        if self.is_sqlite:
            with closing(sqlite3.connect(self.path, timeout=120)) as file, file:
                file.execute("PRAGMA foreign_keys = ON")
                yield file
        else:
            with psycopg.connect(self.url) as connection:
                yield connection

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement in which %s stands for a value."""
        with self._connected() as connection:
            cursor = connection.execute(self._spelled(statement), values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and commit it; return how many rows it changed."""
        with self._connected() as connection:
            changed: int = connection.execute(self._spelled(statement), values).rowcount
            return changed

    def value(self, statement: str, *values: Any) -> Any:
        """Return the one value of a statement."""
        return self.query(statement, *values)[0][0]

    def moment(self, moment: datetime) -> Any:
        """Return an instant as this database keeps it."""
        return str(moment.astimezone(UTC).replace(tzinfo=None)) if self.is_sqlite else moment

    def _spelled(self, statement: str) -> str:
        return statement.replace("%s", "?") if self.is_sqlite else statement

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Keep every balance locked, as a slow transaction does."""
        with self._connected() as connection:
            connection.execute("UPDATE period SET limit_nanoeur = limit_nanoeur")
            yield

    # --- the gateway's rows -----------------------------------------------------------------------

    def charges(self) -> list[Charge]:
        """Return every hold with its audit row."""
        return [_charge(row) for row in self.query(HOLDS)]

    def charge(self, call: str) -> Charge:
        """Return the one hold of a call, by the client's own name for it."""
        found = self.find(call)
        assert found is not None, f"{call} has no hold"
        return found

    def find(self, call: str) -> Charge | None:
        """Return the hold of a call, or None."""
        found = self.query(f"{HOLDS} WHERE l.client_id = %s", call)
        assert len(found) <= 1, f"{call} has {len(found)} holds"
        return _charge(found[0]) if found else None

    def resolved(self, call: str) -> Charge:
        """Return the hold of a call once it has an end; after a long time as it is."""
        deadline = time.monotonic() + RESOLVED_WITHIN_S
        while (charge := self.charge(call)).state == "held" and time.monotonic() < deadline:
            time.sleep(0.05)
        return charge

    def unresolved(self) -> int:
        """Wait for the end of calls in flight; return how many holds are still held."""
        deadline = time.monotonic() + RESOLVED_WITHIN_S
        while True:
            found: int = self.value("SELECT count(*) FROM hold WHERE state = 'held'")
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def disagreements(self) -> list[str]:
        """Return every difference in the ledger."""
        return [what for what, statement in DISAGREEMENTS.items() if self.query(statement)]

    def let_instances_look_dead(self) -> None:
        """Set the last heartbeat of every process to ten minutes ago."""
        long_ago = self.moment(datetime.now(UTC) - timedelta(minutes=10))
        self.execute("UPDATE instance SET seen_at = %s", long_ago)


def _charge(row: tuple[Any, ...]) -> Charge:
    rates = json.loads(row[5]) if isinstance(row[5], str) else row[5]
    return Charge(
        hold_id=str(row[0]),
        state=row[1],
        amount_nanoeur=row[2],
        charged_nanoeur=row[3],
        held_at=_epoch(row[4]),
        rates=rates,
        call=row[6],
        status=row[7],
        code=row[8],
        error=row[9],
        cost_nanoeur=row[10],
        period_id=str(row[11]),
    )


def _epoch(value: str | datetime) -> float:
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
    return value.timestamp()
