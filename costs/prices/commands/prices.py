"""`manage.py prices`: load, list, show, set and take back dated prices."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.utils.timezone import now

from costs.core.rates import Rates
from costs.prices.book import load_price_book
from costs.prices.changes import seed
from costs.prices.commands.changing import (
    add_set,
    add_undo,
    load_by_command,
    load_data_by_command,
    set_by_command,
    undo_by_command,
)
from costs.prices.commands.options import add_preview, moment
from costs.prices.commands.texts import listed_as_text, rates_as_text
from costs.prices.ecb import packaged_rates, rates_in_file
from costs.prices.exchange_rates import utc_day
from costs.prices.listing import listed
from costs.prices.seed import seed_factors, seed_prices
from orgs.console.commands import ActionCommand, add_format
from orgs.core.errors import Invalid

_LISTED: Final = 100
_LISTED_MAX: Final = 1000


class Command(ActionCommand):
    """Load, list, show, set and take back dated prices (USD per million tokens)."""

    help = "Load, list, show, set and take back dated prices (USD per million tokens)."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        load = add("load", self.load, help="add missing prices and exchange rates")
        load.add_argument(
            "--ecb-file",
            type=Path,
            help="the ECB's eurofxref-hist.csv or .zip, if newer than the bundled rates",
        )
        load.add_argument(
            "--force", action="store_true", help="add exchange rates that differ by over a fifth"
        )
        load.add_argument(
            "--file",
            type=Path,
            help="instead, set the prices of this TOML file, or take those of a newer data.json of "
            "genai-prices",
        )
        load.add_argument(
            "--yes", action="store_true", help="take the prices of a data.json without a question"
        )
        add_preview(load)
        add_format(load)
        every = add("list", self.list, help="list prices, discounts and what is set by hand")
        every.add_argument("--provider", help="only this provider's")
        every.add_argument("--by-hand", action="store_true", help="only what is set by hand")
        every.add_argument(
            "--limit",
            type=_limit,
            default=_LISTED,
            metavar="N",
            help=f"models at once; default: {_LISTED}",
        )
        every.add_argument(
            "--after", type=_key, metavar="PROVIDER/MODEL", help="continue a list after this model"
        )
        add_format(every)
        show = add("show", self.show, help="show a model's price")
        show.add_argument("model", help="name from the price list, or provider/name")
        show.add_argument("--at", type=moment, help="date or ISO 8601 timestamp; default: now")
        add_format(show)
        add_set(
            add(
                "set",
                self.set,
                help="set a price, a discount or a place's factor from a given time on",
            )
        )
        add_undo(add("undo", self.undo, help="take back what was set by hand last"))

    def load(self, options: dict[str, Any]) -> None:
        if options["file"]:
            if options["ecb_file"]:
                raise Invalid("--file and --ecb-file cannot be used together")
            is_data = options["file"].suffix == ".json"
            if options["yes"] and not is_data:
                raise Invalid("--yes must be given with a .json file")
            load = load_data_by_command if is_data else load_by_command
            load(self.stdout, options)
            return
        if options["yes"]:
            raise Invalid("--yes must be given with --file")
        if options["preview"]:
            raise Invalid("--preview must be given with --file")
        path: Path | None = options["ecb_file"]
        moment = now()
        done = seed(
            prices=seed_prices(),
            factors=seed_factors(),
            exchange_rates=rates_in_file(path) if path else packaged_rates(utc_day(moment)),
            now=moment,
            is_forced=options["force"],
        )
        if options["format"] == "json":
            self.stdout.write(json.dumps(done.as_dict(), indent=2))
            return
        self.stdout.write(f"Added {done.prices} prices and {done.exchange_rates}.")
        if kept := done.exchange_rates.kept_sentence:
            self.stdout.write(kept)
        if done.factors:
            self.stdout.write(f"Added {done.factors} price factors of places.")
        if done.set_by_hand:
            self.stdout.write(f"Kept as set by hand: {', '.join(done.set_by_hand)}.")

    def list(self, options: dict[str, Any]) -> None:
        models, left = listed(
            provider=options["provider"] and options["provider"].strip().casefold(),
            only_by_hand=options["by_hand"],
            after=options["after"],
            limit=options["limit"],
            now=now(),
        )
        if options["format"] == "json":
            self.stdout.write(json.dumps([each.as_dict() for each in models], indent=2))
            return
        for each in models:
            self.stdout.write(listed_as_text(each))
        if not models:
            self.stdout.write("none")
        if left:
            last = f"{models[-1].provider}/{models[-1].model}"
            self.stdout.write(f"{left} more; continue with --after {last}")

    def show(self, options: dict[str, Any]) -> None:
        at: datetime = options["at"] or now()
        found = _in_force(options["model"], at)
        if not found:
            raise CommandError(
                f"{options['model']} has no price at {at.isoformat(timespec='seconds')}; "
                "set one with `prices set`"
            )
        if options["format"] == "json":
            self.stdout.write(json.dumps([rates.as_dict() for rates in found], indent=2))
            return
        for rates in found:
            self.stdout.write(rates_as_text(rates))

    def set(self, options: dict[str, Any]) -> None:
        set_by_command(self.stdout, options)

    def undo(self, options: dict[str, Any]) -> None:
        undo_by_command(self.stdout, options)


def _in_force(name: str, moment: datetime) -> list[Rates]:
    """Return the rates at `moment` of every provider that has a price under the name."""
    name = name.strip().casefold()
    head, slash, rest = name.partition("/")
    book = load_price_book()
    wanted = [
        (provider, model)
        for provider, model in book.models()
        if (slash and model == rest and provider == head) or model == name
    ]
    found = [book.rates_for([model], provider, moment) for provider, model in wanted]
    return [rates for rates in found if rates is not None]


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= _LISTED_MAX:
        raise ArgumentTypeError(f"must be an integer between 1 and {_LISTED_MAX}, not {text!r}")
    return int(text)


def _key(text: str) -> tuple[str, str]:
    provider, slash, model = text.strip().casefold().partition("/")
    if not slash:
        raise ArgumentTypeError(f"must be a provider and a model, not {text!r}")
    return provider, model
