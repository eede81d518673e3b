"""The rows of a test's requests, and whether all sums agree with them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

from tests.system.rows import Rows
from tests.system.servers import Installation

SETTLED_WITHIN_S: Final = 20.0
ALL: Final = """
    SELECT id, status, code, error, cost_nanoeur, usage FROM ai_request_log ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One request."""

    status: str
    code: str | None
    error: str | None
    cost_nanoeur: int | None
    usage: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Books:
    """The gateway's rows since this was made."""

    installation: Installation
    rows: Rows
    before: set[Any] = field(default_factory=set)

    def begin(self) -> None:
        """Forget what is there."""
        self.before.update(values[0] for values in self.rows.query(ALL))

    def new(self) -> list[Row]:
        """Return the new rows, oldest first, once each has its end."""
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while True:
            found = [_row(*each) for each in self.rows.query(ALL) if each[0] not in self.before]
            pending = [row for row in found if row.status == "pending"]
            if not pending and not self.rows.unresolved():
                return found
            assert time.monotonic() < deadline, f"not settled: {pending}"
            time.sleep(0.05)

    def check(self) -> None:
        """Assert that nothing is held any more and that every sum agrees."""
        self.new()
        assert self.rows.disagreements() == []
        self.installation.run("ledger", "verify")


def _row(
    _: Any, status: str, code: str | None, error: str | None, cost: int | None, usage: str | None
) -> Row:
    return Row(status, code, error, cost, json.loads(usage) if usage else {})
