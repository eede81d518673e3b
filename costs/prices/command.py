"""`prices load`, `prices show` and `prices set`: the dated price list."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from costs.core.money import format_eur
from costs.core.pricing import cost_nanoeur
from costs.core.rates import Band, Rates
from costs.core.usage import STANDARD_TIER, Usage
from costs.prices.book import load_price_book
from costs.prices.changes import HAND_SOURCE, PriceRefused, seed, set_price
from costs.prices.ecb import ECB_SOURCE, packaged_rates, rates_in_file
from costs.prices.exchange_rates import utc_day
from costs.prices.seed import SHORT_NAMES, band_from, seed_prices
from orgs.core.errors import OrgsError


class Command(BaseCommand):
    """Load, show and set dated prices (USD per million tokens)."""

    help = "Load, show and set dated prices (USD per million tokens)."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="load|show|set")

        load = actions.add_parser("load", help="add missing prices and exchange rates")
        load.add_argument(
            "--ecb-file",
            type=Path,
            help="the ECB's eurofxref-hist.csv or .zip, if newer than the bundled rates",
        )
        load.add_argument(
            "--force", action="store_true", help="add exchange rates that differ by over a fifth"
        )

        show = actions.add_parser("show", help="show a model's price")
        show.add_argument("model", help="name from the price list, or provider/name")
        show.add_argument("--at", type=_moment, help="date or ISO 8601 timestamp; default: now")
        show.add_argument("--format", choices=("text", "json"), default="text")

        put = actions.add_parser("set", help="set a price from a given time on")
        put.add_argument("model")
        put.add_argument("--provider", required=True)
        for short in SHORT_NAMES:
            put.add_argument(
                f"--{short.replace('_', '-')}",
                type=_usd,
                metavar="USD",
                required=short in {"input", "output"},
                help="USD per thousand searches" if short == "web_search" else None,
            )
        put.add_argument("--service-tier", default=STANDARD_TIER)
        put.add_argument("--above-input-tokens", type=int, default=0, metavar="N")
        put.add_argument("--from", dest="starts_at", type=_moment, help="default: now")
        put.add_argument("--source", default=HAND_SOURCE, help="source of the price")

    def handle(self, *_args: Any, **options: Any) -> None:
        actions = {"load": self._load, "show": self._show, "set": self._set}
        actions[options["action"]](options)

    def _load(self, options: dict[str, Any]) -> None:
        path: Path | None = options["ecb_file"]
        moment = now()
        try:
            done = seed(
                prices=seed_prices(),
                exchange_rates=rates_in_file(path) if path else packaged_rates(utc_day(moment)),
                exchange_source=ECB_SOURCE,
                now=moment,
                is_forced=options["force"],
            )
        except OrgsError as exc:
            raise CommandError(exc.message) from exc
        self.stdout.write(f"Added {done.prices} prices and {done.exchange_rates}.")
        if kept := done.exchange_rates.kept_sentence:
            self.stdout.write(kept)
        if done.set_by_hand:
            self.stdout.write(f"Kept as set by hand: {', '.join(done.set_by_hand)}.")

    def _show(self, options: dict[str, Any]) -> None:
        moment: datetime = options["at"] or now()
        found = _in_force(options["model"], moment)
        if not found:
            raise CommandError(
                f"{options['model']} has no price at {moment.isoformat(timespec='seconds')}; "
                "set one with `prices set`"
            )
        if options["format"] == "json":
            self.stdout.write(json.dumps([rates.as_dict() for rates in found], indent=2))
            return
        for rates in found:
            self.stdout.write(_as_text(rates))

    def _set(self, options: dict[str, Any]) -> None:
        prices = {
            column: options[short]
            for short, column in SHORT_NAMES.items()
            if options[short] is not None
        }
        band = band_from(prices, options["service_tier"], options["above_input_tokens"])
        try:
            row = set_price(
                band,
                provider=options["provider"],
                model=options["model"],
                starts_at=options["starts_at"] or now(),
                source=options["source"],
            )
        except PriceRefused as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(
            f"{row.provider} {row.model} costs {band.input_usd_per_mtok} USD in and "
            f"{band.output_usd_per_mtok} USD out per million tokens from "
            f"{row.starts_at.isoformat(timespec='seconds')}."
        )


def _in_force(name: str, moment: datetime) -> list[Rates]:
    """Return the rates at `moment` of every provider that has a price under the name."""
    head, slash, rest = name.strip().casefold().partition("/")
    book = load_price_book()
    wanted = [
        (provider, model)
        for provider, model in book.models()
        if (model == rest and provider == head if slash else model == head)
    ]
    found = [book.rates_for([model], provider, moment) for provider, model in wanted]
    return [rates for rates in found if rates is not None]


def _as_text(rates: Rates) -> str:
    lines = [
        f"{rates.provider} {rates.model}, from {rates.starts_at:%Y-%m-%d}, USD per million tokens",
        *(_band_as_text(band) for band in rates.bands),
        f"  1 EUR = {rates.usd_per_eur} USD (ECB, {rates.exchange_rate_date}); 1,000 tokens in and "
        f"1,000 out cost {_thousand_each(rates)}",
        f"  source: {rates.source}",
    ]
    return "\n".join(lines)


def _band_as_text(band: Band) -> str:
    over = f" above {band.above_input_tokens} input tokens" if band.above_input_tokens else ""
    priced = {short: getattr(band, column) for short, column in SHORT_NAMES.items()}
    prices = (f"{short} {usd}" for short, usd in priced.items() if usd is not None)
    return f"  {band.service_tier}{over}: {', '.join(prices)}"


def _thousand_each(rates: Rates) -> str:
    return format_eur(cost_nanoeur(Usage(input_uncached=1000, output_text=1000), rates))


def _usd(text: str) -> Decimal:
    try:
        usd = Decimal(text)
    except InvalidOperation as exc:
        raise ArgumentTypeError(f"must be an amount, not {text!r}") from exc
    if not usd.is_finite() or usd < 0:
        raise ArgumentTypeError(f"must be an amount of 0 or more, not {text!r}")
    return usd


def _moment(text: str) -> datetime:
    """Return the instant of a date (its start in UTC) or an ISO 8601 timestamp."""
    try:
        if len(text) == len("2026-01-31"):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ArgumentTypeError(
            f"must be a date (2026-01-31) or a timestamp, not {text!r}"
        ) from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
