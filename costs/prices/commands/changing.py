"""`prices set`, `prices undo` and `prices load --file`: what they change, or would change."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
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
from costs.prices.commands.texts import changes_as_text
from costs.prices.genai import data_in_file
from costs.prices.listing import factor_name, hourly_name
from costs.prices.own_file import prices_in_file
from costs.prices.seed import seed_prices
from costs.prices.series import DatedRow
from costs.prices.undo import Undone, named_by_id, undo
from orgs.core.errors import Conflict, Invalid

_SHOWN_MAX: Final = 20
_PREVIEW: Final = "This is a preview: nothing was changed."


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
    with _compared(options) as change:
        changed = set_prices([given], now=at, keeps_rest=not options["only"])
    row = changed.rows[0]
    out.write(
        f"{row.provider} {row.model} {'would cost' if options['preview'] else 'costs'} "
        f"{plain(row.input_usd_per_mtok)} USD in and {plain(row.output_usd_per_mtok)} USD out per "
        f"million tokens from {row.starts_at.isoformat(timespec='seconds')}."
    )
    if changed.ends_at:
        ends_at = changed.ends_at.isoformat(timespec="seconds")
        out.write(f"In force until {ends_at}, when another price begins.")
    _write_changed(out, changed, change)


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
    with _compared(options) as change:
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
    (row,) = changed.rows
    named = f"{row.provider} {row.model or EVERY_MODEL}"
    out.write(f"{named}: {factor_name(row)} from {row.starts_at.isoformat(timespec='seconds')}.")
    _write_withdrawn(out, changed.withdrawn)
    change.write(out, _models(change.after, row.provider), row.starts_at)


def _set_hourly(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    model, at = options["model"].strip(), now()
    if not model:
        raise Invalid(f"A model must be given, or '{EVERY_MODEL}' for all of the provider")
    with _compared(options) as change:
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
    (row,) = changed.rows
    named = f"{row.provider} {row.model or EVERY_MODEL}"
    out.write(f"{named}: {hourly_name(row)} from {row.starts_at.isoformat(timespec='seconds')}.")
    change.write(out, _models(change.after, row.provider), row.starts_at)


def undo_by_command(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    """Take back what was set by hand."""
    row_id, provider, model = _id(options["model"]), options["provider"], options["model"]
    if row_id is not None:
        provider, model = named_by_id(row_id)
    elif provider is None:
        raise Invalid("--provider must be given with a model's name")
    at = now()
    with _compared(options) as change:
        undone = undo(
            provider=provider,
            model=model,
            starts_at=options["starts_at"],
            row_id=row_id,
            now=at,
        )
    for line in _taken_back(undone):
        out.write(line)
    models = _models(change.after, undone.provider)
    if undone.prices and not undone.factors and not undone.hourly:
        models = [(undone.provider, undone.model)]
    for starts_at in undone.starts:
        change.write(out, models, starts_at, closing=starts_at == undone.starts[-1])
    if undone.prices and not options["preview"]:
        out.write("`prices load` takes newer prices of the list, as before.")


def load_by_command(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    """Set the prices of a file, all or none."""
    path: Path = options["file"]
    at = now()
    with _compared(options) as change:
        given = prices_in_file(path, now=at)
        changed = set_prices(given, now=at, skips_present=True)
    verb = "Would set" if options["preview"] else "Set"
    count = len(given) - changed.present
    out.write(f"{verb} {count} prices of {path}; {changed.present} were set already.")
    _write_changed(out, changed, change)


def load_data_by_command(out: OutputWrapper, options: Mapping[str, Any]) -> None:
    """Take newer prices of genai-prices: each change is shown, and then asked about."""
    path: Path = options["file"]
    at = now()
    prices = seed_prices(data_in_file(path))
    change = _Change(is_preview=True)
    with transaction.atomic():
        count = seed(prices=prices, exchange_rates=(), now=at).prices
        change.after = load_price_book()
        transaction.set_rollback(True)
    out.write(f"{path} has {count} prices that the list does not have.")
    later = sorted({price.starts_at for price in prices if price.starts_at > at})
    for moment_ in (at, *later):
        of_moment = {(p.provider, p.model) for p in prices if p.starts_at == moment_}
        models = change.after.models() if moment_ == at else sorted(of_moment)
        for line in changes_as_text(change.before, change.after, models, moment_):
            out.write(line)
    if options["preview"] or not count:
        out.write(_PREVIEW)
    elif options["yes"] or _is_confirmed():
        with transaction.atomic():
            lock_prices()
            if price_list_version() != change.before.version:
                raise Conflict("The price list has changed meanwhile; run the command again")
            added = seed(prices=prices, exchange_rates=(), now=now())
        out.write(f"Added {added.prices} prices.")
        if added.set_by_hand:
            out.write(f"Kept as set by hand: {', '.join(added.set_by_hand)}.")
    else:
        out.write("Nothing was changed.")


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        raise Invalid("--yes must be given to take the prices without a question, or --preview")
    return input("Take these prices? [y/N] ").strip().casefold() in ("y", "yes")


class _Change:
    """The list before and after a change."""

    def __init__(self, is_preview: bool) -> None:
        self.is_preview = is_preview
        self.before = self.after = load_price_book()

    def write(
        self,
        out: OutputWrapper,
        models: Sequence[tuple[str, str]],
        at: datetime,
        *,
        closing: bool = True,
    ) -> None:
        """Write what differs at a moment."""
        models = [
            key
            for key in models
            if self.before.rates_for([key[1]], key[0], at)
            != self.after.rates_for([key[1]], key[0], at)
        ]
        for line in changes_as_text(self.before, self.after, models[:_SHOWN_MAX], at):
            out.write(line)
        if len(models) > _SHOWN_MAX:
            out.write(f"{len(models) - _SHOWN_MAX} more models change.")
        if not models and self.after.has_exchange_rate(at):
            out.write("No price in the list changes.")
        if self.is_preview and closing:
            out.write(_PREVIEW)


@contextmanager
def _compared(options: Mapping[str, Any]) -> Iterator[_Change]:
    """Make a change, or try it out: read the list before and after it."""
    with transaction.atomic():
        change = _Change(options["preview"])
        yield change
        change.after = load_price_book()
        if options["preview"]:
            transaction.set_rollback(True)


def _write_changed(out: OutputWrapper, changed: Changed[Rate], change: _Change) -> None:
    by_start: dict[datetime, dict[tuple[str, str], None]] = {}
    for row in changed.rows:
        by_start.setdefault(row.starts_at, {})[row.provider, row.model] = None
    _write_withdrawn(out, changed.withdrawn)
    for starts_at, models in by_start.items():
        change.write(out, list(models), starts_at, closing=starts_at == max(by_start))


def _write_withdrawn(out: OutputWrapper, withdrawn: Sequence[datetime]) -> None:
    for starts_at in withdrawn:
        out.write(f"Deleted: what the list announced from {starts_at.isoformat()}.")


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
