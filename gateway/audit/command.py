"""`manage.py audit`: compare the audit log with the ledger; list sign-ins and changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from costs.core.money import euros
from gateway.audit.verify import summary, verify
from gateway.console.findings import write_findings
from orgs.audit.reports import LIMIT_DEFAULT, LIMIT_MAX, events
from orgs.console.commands import ActionCommand, add_format, organization, write_rows
from orgs.core.errors import Invalid


class Command(ActionCommand):
    help = "Compare the audit log with the ledger, or list who signed in and who changed what."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        add_format(add("verify", self.verify, help="compare every row; print each difference"))
        listing = add("history", self.history, help="list sign-ins and changes, newest first")
        listing.add_argument("slug", metavar="SLUG", nargs="?", help="only of one organization")
        listing.add_argument(
            "--limit",
            type=int,
            default=LIMIT_DEFAULT,
            help=f"how many at most, 1 to {LIMIT_MAX}; default: {LIMIT_DEFAULT}",
        )
        listing.add_argument("--before", type=UUID, metavar="ID", help="only older than this one")
        add_format(listing)

    def history(self, options: dict[str, Any]) -> None:
        limit = options["limit"]
        if not 1 <= limit <= LIMIT_MAX:
            raise Invalid(f"--limit must be between 1 and {LIMIT_MAX}")
        org = organization(options["slug"]) if options["slug"] else None
        rows = events(org=org, limit=limit, before=options["before"])
        write_rows(self.stdout, rows, format=options["format"])

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
                "estimated_eur": f"{euros(audit.estimated):f}",
                "held_eur": f"{euros(audit.held):f}",
            },
            summary=summary(audit),
            format=options["format"],
        )
