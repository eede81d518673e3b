"""`manage.py ledger`: recompute every balance; settle what a crashed process left; close hours.

Among the gateway's commands, since what settles a hold completes its audit row.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from django.core.management.base import CommandError, CommandParser

from costs.ledger.connect import open_store
from costs.ledger.hours.closing import HourCloser
from costs.ledger.ledger import Ledger
from costs.ledger.reaper import Reaper
from costs.ledger.stores.base import StoreUnavailable
from costs.ledger.verify import verify
from gateway.call.records.journal import AuditJournal
from gateway.console.findings import write_findings
from orgs.console.commands import ActionCommand, add_format
from orgs.fields import new_id


class Command(ActionCommand):
    help = "Recompute every balance from the rows; settle holds that a crashed process left."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        add_format(
            add("verify", self.verify, help="recompute every balance; print each difference")
        )
        add("reap", self.reap, help="settle abandoned holds as unknown, at the held amount")
        add("hours", self.hours, help="divide hours that are over, of prices by the hour")

    def verify(self, options: dict[str, Any]) -> None:
        report = verify()
        counts = {table.replace("_", " "): number for table, number in report.counts.items()}
        looked_at = ", ".join(f"{number} {name} rows" for name, number in counts.items())
        write_findings(
            self.stdout,
            report.findings,
            notes=report.notes,
            looked_at=report.counts,
            summary=[f"checked {looked_at}"],
            format=options["format"],
        )

    def reap(self, options: dict[str, Any]) -> None:
        reaper = Reaper(Ledger(journal=AuditJournal(), instance_id=new_id()))
        settled = put_aside = locked = 0
        try:
            with closing(open_store()) as store:
                while (reaped := reaper.reap(store)).found:
                    settled += reaped.settled
                    put_aside += reaped.put_aside - reaped.locked
                    locked += reaped.locked
        except StoreUnavailable as exc:
            raise CommandError(f"Database unavailable ({exc}); settled {settled} calls") from exc
        self.stdout.write(f"Settled {settled} abandoned calls as unknown, each at its held amount.")
        if put_aside:
            raise CommandError(
                f"Holds that cannot be settled: {put_aside}; `ledger verify` reports them"
            )
        if locked:
            raise CommandError(f"Holds whose rows are locked: {locked}; run `ledger reap` again")

    def hours(self, options: dict[str, Any]) -> None:
        closer = HourCloser(Ledger(journal=AuditJournal(), instance_id=new_id()))
        hours = calls = 0
        is_more = True
        try:
            with closing(open_store()) as store:
                while is_more:
                    counted, charged, is_more = closer.close(store)
                    hours, calls = hours + counted, calls + charged
        except StoreUnavailable as exc:
            raise CommandError(
                f"Database unavailable ({exc}); counted {hours} hours and charged {calls} calls"
            ) from exc
        self.stdout.write(f"Counted {hours} hours and charged {calls} calls their share.")
