"""`prices set`, `prices undo` and `prices load --file`: what they change, or would change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from django.core.management.base import CommandParser, OutputWrapper
from django.db import transaction
from django.utils.timezone import now

from costs.core.money import plain
from costs.core.usage import STANDARD_TIER
from costs.models import HourlyPrice, PriceFactor, Rate
from costs.prices.book import (
    DISCOUNT,
    PLACE,
    PriceBook,
    load_price_book,
    lock_prices,
    price_list_version,
)
from costs.prices.by_hand import (
    EVERY_MODEL,
    Changed,
    GivenPrice,
    set_factor,
    set_hourly,
    set_prices,
)
from costs.prices.changes import seed
from costs.prices.checks import HAND_SOURCE
from costs.prices.commands.options import (
    add_preview,
    add_prices,
    moment,
    number,
    per_hour,
    percent,
    prices_in,
)
from costs.prices.commands.report import PREVIEW, ChangeReport, compared
from costs.prices.commands.texts import changes_as_text
from costs.prices.genai import data_in_file
from costs.prices.listing import factor_name, hourly_name, row_as_dict, taken_as_dicts
from costs.prices.own_file import prices_in_file
from costs.prices.seed import seed_prices
from costs.prices.series import DatedRow, RowT
from costs.prices.undo import Undone, named_by_id, undo
from orgs.console.commands import add_format
from orgs.core.errors import Conflict, Invalid

_OneRow = TypeVar("_OneRow", PriceFactor, HourlyPrice)


def add_set(action: CommandParser) -> None:
    """Add the arguments of `prices set`."""
    action.add_argument(
        "model", help="a model's name; '*' for all models, unless it is a price of tokens"
    )
    action.add_argument("--provider", required=True)
    add_prices(action)
    action.add_argument("--service-tier", help=f"default: {STANDARD_TIER}")
    action.add_argument(
        "--above-input-tokens",
        type=int,
        metavar="N",
        help="a price for requests with more input; default: 0",
    )
    action.add_argument("--only", action="store_true", help="drop the prices that are not given")
    action.add_argument(
        "--discount", type=percent, metavar="PERCENT", help="off every price; 0 ends a discount"
    )
    action.add_argument("--factor", type=number, metavar="N", help="of token prices at a --place")
    action.add_argument("--place", help="where requests are processed, such as eu")
    action.add_argument(
        "--eur-per-hour",
        type=per_hour,
        metavar="EUR",
        help="what the server costs an hour, divided over the tokens of its calls",
    )
    action.add_argument("--by-token", action="store_true", help="end a price by the hour")
    action.add_argument("--from", dest="starts_at", type=moment, help="default: now")
    action.add_argument("--source", default=HAND_SOURCE, help="source of the price")
    add_preview(action)
    add_format(action)


def add_undo(action: CommandParser) -> None:
    """Add the arguments of `prices undo`."""
    action.add_argument(
        "model", help="a model's name, '*' for all models, or an id of `prices list`"
    )
    action.add_argument("--provider", help="required with a model's name")
    action.add_argument(
        "--from",
        dest="starts_at",
        type=moment,
        help="the start of what is taken back; default: what was set last",
    )
    add_preview(action)
    add_format(action)


def set_by_command(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    """Set a price, a discount or the factor of a place."""
    prices = prices_in(options)
    of_price = (
        bool(prices)
        or options["only"]
        or any(options[name] is not None for name in ("service_tier", "above_input_tokens"))
    )
    of_place = options["factor"] is not None or options["place"] is not None
    of_hour = options["by_token"] + (options["eur_per_hour"] is not None)
    if of_price + of_place + of_hour + (options["discount"] is not None) != 1:
        raise Invalid(
            "Give prices, --discount, --factor with --place, --eur-per-hour, or --by-token: "
            "exactly one of them"
        )
    if of_price:
        _set_price(out, options, prices)
    elif of_hour:
        _set_hourly(out, options)
    else:
        _set_factor(out, options)


def _set_price(out: OutputWrapper, options: Mapping[str, Any], prices: dict[str, Decimal]) -> None:
    if not prices:
        raise Invalid("At least one price must be given; see --help")
    at = now()
    given = GivenPrice(
        provider=options["provider"],
        model=options["model"],
        service_tier=options["service_tier"] or STANDARD_TIER,
        above_input_tokens=options["above_input_tokens"] or 0,
        prices=prices,
        starts_at=options["starts_at"] or at,
        source=options["source"],
    )
    with compared(out, options) as report:
        changed = set_prices([given], now=at, keeps_rest=not options["only"])
    row = changed.rows[0]
    report.line(
        f"{row.provider} {row.model} {'would cost' if options['preview'] else 'costs'} "
        f"{plain(row.input_usd_per_mtok)} USD in and {plain(row.output_usd_per_mtok)} USD out per "
        f"million tokens from {row.starts_at.isoformat(timespec='seconds')}."
    )
    if changed.ends_at:
        ends_at = changed.ends_at.isoformat(timespec="seconds")
        report.line(f"In force until {ends_at}, when another price begins.")
    report.facts["in_force_until"] = changed.ends_at and changed.ends_at.isoformat()
    _report_changed(report, changed)


def _set_factor(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    model = options["model"].strip()
    if not model:
        raise Invalid(f"A model must be given, or '{EVERY_MODEL}' for all of the provider")
    if options["discount"] is not None:
        kind, place, factor = DISCOUNT, "", 1 - options["discount"] / 100
    elif options["factor"] is None or options["place"] is None:
        raise Invalid("--factor and --place must be given together")
    else:
        kind, place, factor = PLACE, options["place"], options["factor"]
    at = now()
    with compared(out, options) as report:
        changed = set_factor(
            PriceFactor(
                provider=options["provider"],
                model="" if model == EVERY_MODEL else model,
                kind=kind,
                place=place,
                factor=factor,
                starts_at=options["starts_at"] or at,
                source=options["source"],
            ),
            now=at,
        )
    _end(report, changed, factor_name)


def _set_hourly(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    model, at = options["model"].strip(), now()
    if not model:
        raise Invalid(f"A model must be given, or '{EVERY_MODEL}' for all of the provider")
    with compared(out, options) as report:
        changed = set_hourly(
            HourlyPrice(
                provider=options["provider"],
                model="" if model == EVERY_MODEL else model,
                nanoeur_per_hour=options["eur_per_hour"] or 0,
                is_end=options["by_token"],
                starts_at=options["starts_at"] or at,
                source=options["source"],
            ),
            now=at,
        )
    _end(report, changed, hourly_name)


def _end(report: ChangeReport, changed: Changed[_OneRow], named: Callable[[_OneRow], str]) -> None:
    """Report the one row that was set, for a model or for all of a provider."""
    (row,) = changed.rows
    title = f"{row.provider} {row.model or EVERY_MODEL}"
    report.line(f"{title}: {named(row)} from {row.starts_at.isoformat(timespec='seconds')}.")
    report.facts["in_force_until"] = changed.ends_at and changed.ends_at.isoformat()
    _report_rows(report, changed)
    report.compare(_models(report.after, row.provider), row.starts_at)
    report.end()


def undo_by_command(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    """Take back what was set by hand."""
    row_id, provider, model = _id(options["model"]), options["provider"], options["model"]
    if row_id is not None:
        provider, model = named_by_id(row_id)
    elif provider is None:
        raise Invalid("--provider must be given with a model's name")
    at = now()
    with compared(out, options) as report:
        undone = undo(
            provider=provider,
            model=model,
            starts_at=options["starts_at"],
            row_id=row_id,
            now=at,
        )
    for line in _taken_back(undone):
        report.line(line)
    report.facts |= {
        "provider": undone.provider,
        "model": undone.model,
        "taken_back": taken_as_dicts(undone.prices, undone.factors, undone.hourly),
    }
    models = _models(report.after, undone.provider)
    if undone.prices and not undone.factors and not undone.hourly:
        models = [(undone.provider, undone.model)]
    for starts_at in undone.starts:
        report.compare(models, starts_at, is_last=starts_at == undone.starts[-1])
    if undone.prices and not report.is_preview:
        report.line("`prices load` takes newer prices of the list, as before.")
    report.end()


def load_by_command(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    """Set the prices of a file, all or none."""
    path: Path = options["file"]
    at = now()
    with compared(out, options) as report:
        given = prices_in_file(path, now=at)
        changed = set_prices(given, now=at, skips_present=True)
    verb = "Would set" if report.is_preview else "Set"
    count = len(given) - changed.present
    report.line(f"{verb} {count} prices of {path}; {changed.present} were set already.")
    report.facts |= {"file": f"{path}", "present": changed.present}
    _report_changed(report, changed)


def load_data_by_command(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    """Take newer prices of genai-prices: each change is shown, and then asked about."""
    path: Path = options["file"]
    at = now()
    prices = seed_prices(data_in_file(path))
    report = ChangeReport(out, options)
    with transaction.atomic():
        count = seed(prices=prices, exchange_rates=(), now=at).prices
        report.after = load_price_book()
        transaction.set_rollback(True)
    report.line(f"{path} has {count} prices that the list does not have.")
    report.facts |= {"file": f"{path}", "new_prices": count, "added": 0, "kept_by_hand": []}
    later = sorted({price.starts_at for price in prices if price.starts_at > at})
    for moment_ in (at, *later):
        of_moment = {(p.provider, p.model) for p in prices if p.starts_at == moment_}
        models = report.after.models() if moment_ == at else sorted(of_moment)
        changed = report.differences(models, moment_)
        for line in changes_as_text(report.before, report.after, changed, moment_):
            report.line(line)
    if report.is_preview or not count:
        report.line(PREVIEW)
    elif options["yes"] or _is_confirmed(report):
        with transaction.atomic():
            lock_prices()
            if price_list_version() != report.before.version:
                raise Conflict("The price list has changed meanwhile; run the command again")
            added = seed(prices=prices, exchange_rates=(), now=now())
        report.line(f"Added {added.prices} prices.")
        report.facts |= {"added": added.prices, "kept_by_hand": [*added.set_by_hand]}
        if added.set_by_hand:
            report.line(f"Kept as set by hand: {', '.join(added.set_by_hand)}.")
    else:
        report.line("Nothing was changed.")
    report.end()


def _is_confirmed(report: ChangeReport) -> bool:
    if report.is_json or not sys.stdin.isatty():
        raise Invalid("--yes must be given to take the prices without a question, or --preview")
    return input("Take these prices? [y/N] ").strip().casefold() in ("y", "yes")


def _report_changed(report: ChangeReport, changed: Changed[Rate]) -> None:
    by_start: dict[datetime, dict[tuple[str, str], None]] = {}
    for row in changed.rows:
        by_start.setdefault(row.starts_at, {})[row.provider, row.model] = None
    _report_rows(report, changed)
    for starts_at, models in by_start.items():
        report.compare(models, starts_at, is_last=starts_at == max(by_start))
    report.end()


def _report_rows(report: ChangeReport, changed: Changed[RowT]) -> None:
    """Report the rows that were added, and what the list announced and was deleted for them."""
    report.facts |= {
        "set": [row_as_dict(row) for row in changed.rows],
        "deleted": [starts_at.isoformat() for starts_at in changed.withdrawn],
    }
    for starts_at in changed.withdrawn:
        report.line(f"Deleted: what the list announced from {starts_at.isoformat()}.")


def _models(book: PriceBook, provider: str) -> list[tuple[str, str]]:
    return [key for key in book.models() if key[0] == provider]


def _taken_back(undone: Undone) -> Iterator[str]:
    named = f"{undone.provider} {undone.model}"
    for price in undone.prices:
        of_price: Rate = price.entry.rows[0]
        yield f"Taken back: {named}, the {of_price.service_tier} price {_begun(of_price)}."
    for factor in undone.factors:
        of_factor = factor.entry.rows[0]
        yield f"Taken back: {named}, {factor_name(of_factor)} {_begun(of_factor)}."
    for each in undone.hourly:
        of_hour = each.entry.rows[0]
        yield f"Taken back: {named}, {hourly_name(of_hour)} {_begun(of_hour)}."


def _begun(row: DatedRow) -> str:
    return f"from {row.starts_at.isoformat(timespec='seconds')} ({row.source})"


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
