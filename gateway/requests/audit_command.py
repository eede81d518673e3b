"""`manage.py audit verify`: compare the audit log with the ledger, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser

from costs.core.money import euros
from gateway.console.findings import write_findings
from gateway.requests.audit import summary, verify
from orgs.console.commands import ActionCommand, add_format


class Command(ActionCommand):
    help = "Compare the audit log with the ledger: every call, its hold and its charge."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        add_format(add("verify", self.verify, help="compare every row; print each difference"))

    def verify(self, options: dict[str, Any]) -> None:
        audit = verify()
        write_findings(
            self.stdout,
            audit.findings,
            notes=(),
            looked_at={
                "requests": audit.rows_by_status,
                "charged_by_rows_eur": f"{euros(audit.charged_by_rows):f}",
                "charged_by_events_eur": f"{euros(audit.charged_by_events):f}",
                "held_eur": f"{euros(audit.held):f}",
            },
            summary=summary(audit),
            format=options["format"],
        )
