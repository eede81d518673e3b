"""`rates show`, `rates refresh` and `rates set`: how many USD one EUR is."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandParser
from django.utils.timezone import now

from costs.core.exchange_rates import STALE_AFTER_WORKING_DAYS, DatedRate, RateInForce
from costs.core.money import plain
from costs.models import ExchangeRate
from costs.prices.checks import HAND_SOURCE
from costs.prices.commands.options import number
from costs.prices.ecb import ECB_SOURCE, ECB_URL, download_rates, rates_in_file
from costs.prices.exchange_rates import add_rates, rate_in_force, set_rate, utc_day
from orgs.console.commands import ActionCommand, add_format, write_rows
from orgs.core.errors import Missing

HISTORY_ROWS: Final = 20


class Command(ActionCommand):
    """Show, refresh and set the rates at which prices in USD are converted to EUR."""

    help = "Show, refresh and set exchange rates (USD per EUR)."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        show = add("show", self.show, help="show the rate in force, its age and those before it")
        show.add_argument("--at", type=_day, metavar="DATE", help="default: today (UTC)")
        add_format(show)
        refresh = add("refresh", self.refresh, help="add the ECB's reference rates")
        refresh.add_argument(
            "--file",
            type=Path,
            help="the ECB's list: eurofxref-hist.csv, the .zip of it, or an .xml of its reference "
            f"rates; without it, {ECB_URL} is downloaded",
        )
        put = add("set", self.set, help="set the rate of a day by hand")
        put.add_argument("usd_per_eur", type=number, metavar="USD_PER_EUR")
        put.add_argument("--date", type=_day, help="default: today (UTC)")
        put.add_argument("--source", default=HAND_SOURCE, help="source of the rate")
        for action, more in ((refresh, ""), (put, "; replaces the rate of that day")):
            action.add_argument(
                "--force", action="store_true", help=f"allow changes over a fifth{more}"
            )
            add_format(action)

    def show(self, options: dict[str, Any]) -> None:
        day: date = options["at"] or utc_day(now())
        found = rate_in_force(day)
        if found is None:
            raise Missing(
                f"There is no exchange rate of {day} or before; add one with "
                "manage.py rates refresh or manage.py rates set"
            )
        rows = ExchangeRate.objects.filter(on_date__lte=day)[:HISTORY_ROWS]
        history = [
            _rate_as_dict(DatedRate(row.on_date, row.usd_per_eur), row.source) for row in rows
        ]
        if options["format"] == "json":
            self.stdout.write(json.dumps(_as_dict(found) | {"history": history}, indent=2))
            return
        self.stdout.write(
            f"1 EUR = {plain(found.rate.usd_per_eur)} USD "
            f"({found.source}, {found.rate.on_date}), {found.age}"
        )
        if found.warning:
            self.stdout.write(found.warning)
        write_rows(self.stdout, history, format="text")

    def refresh(self, options: dict[str, Any]) -> None:
        path: Path | None = options["file"]
        added = add_rates(
            rates_in_file(path) if path else download_rates(),
            source=ECB_SOURCE,
            today=utc_day(now()),
            is_forced=options["force"],
        )
        if options["format"] == "json":
            self.stdout.write(json.dumps(added.as_dict(), indent=2))
            return
        self.stdout.write(f"Added {added}.")
        if added.kept_sentence:
            self.stdout.write(added.kept_sentence)

    def set(self, options: dict[str, Any]) -> None:
        today = utc_day(now())
        rate = DatedRate(options["date"] or today, options["usd_per_eur"])
        set_rate(rate, source=options["source"], today=today, is_forced=options["force"])
        if options["format"] == "json":
            self.stdout.write(json.dumps(_rate_as_dict(rate, options["source"]), indent=2))
            return
        self.stdout.write(f"1 EUR = {plain(rate.usd_per_eur)} USD from {rate.on_date}.")


def _as_dict(found: RateInForce) -> dict[str, Any]:
    return {
        **_rate_as_dict(found.rate, found.source),
        "working_days": found.working_days,
        "is_stale": found.is_stale,
        "stale_after_working_days": STALE_AFTER_WORKING_DAYS,
    }


def _rate_as_dict(rate: DatedRate, source: str) -> dict[str, Any]:
    return {
        "date": f"{rate.on_date}",
        "usd_per_eur": plain(rate.usd_per_eur),
        "source": source,
    }


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise ArgumentTypeError(f"must be a date such as 2026-01-31, not {text!r}") from exc
