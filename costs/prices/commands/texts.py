"""Prices as text, and what a change does to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from costs.core.money import euros, format_eur, plain
from costs.core.pricing import cost_nanoeur
from costs.core.rates import Band, Rates
from costs.core.usage import Usage
from costs.prices.book import PriceBook
from costs.prices.by_hand import band_name
from costs.prices.listing import Listed, discount_percent, factor_name, hourly_name
from costs.prices.seed import SHORT_NAMES

_NONE = "none"


def rates_as_text(rates: Rates) -> str:
    """Return the price of a model at one moment."""
    lines = [
        f"{rates.provider} {rates.model}, from {rates.starts_at:%Y-%m-%d}, USD per million tokens",
        *_bands_and_factors(rates),
        f"  1 EUR = {rates.usd_per_eur} USD (rate of {rates.exchange_rate_date}); {_sample(rates)}",
        f"  source: {rates.source}",
    ]
    return "\n".join(lines)


def listed_as_text(listed: Listed) -> str:
    """Return one model of the list."""
    lines = [f"{listed.provider} {listed.model}"]
    if listed.rates:
        lines += _bands_and_factors(listed.rates)
    elif not listed.factors and not listed.hourly:
        lines.append("  no price in force")
    for price in listed.prices:
        first = price.entry.rows[0]
        lines.append(
            f"  set by hand: {first.service_tier} from {_day(first.starts_at)} "
            f"({first.source}), id {first.id}"
        )
    for factor in listed.factors:
        row = factor.entry.rows[0]
        lines.append(
            f"  set by hand: {factor_name(row)} from {_day(row.starts_at)} "
            f"({row.source}), id {row.id}"
        )
    for each in listed.hourly:
        (hourly,) = each.entry.rows
        lines.append(
            f"  set by hand: {hourly_name(hourly)} from {_day(hourly.starts_at)} "
            f"({hourly.source}), id {hourly.id}"
        )
    for entry in listed.announced:
        lines += [
            f"  announced from {_day(entry.starts_at)}: {band_name(row)}: {_prices_of(row)}"
            for row in entry.rows
        ]
    return "\n".join(lines)


def changes_as_text(
    before: PriceBook, after: PriceBook, models: Iterable[tuple[str, str]], at: datetime
) -> list[str]:
    """Return what differs at a moment between two states of the list, model by model."""
    lines: list[str] = []
    for provider, model in models:
        old = before.rates_for([model], provider, at)
        new = after.rates_for([model], provider, at)
        if old != new:
            lines += _difference(f"{provider} {model}", old, new, at)
    if not after.has_exchange_rate(at):
        lines.append("There is no exchange rate yet, so no price is in force; run `prices load`.")
    return lines


def difference_as_dict(
    provider: str, model: str, old: Rates | None, new: Rates | None, *, at: datetime
) -> dict[str, Any]:
    """Return a model's rates before and after a change, as they are stored; None is no price.

    The samples are 1,000 tokens in and 1,000 out.
    """
    return {
        "provider": provider,
        "model": model,
        "starts_at": at.isoformat(),
        "before": old and old.as_dict(),
        "after": new and new.as_dict(),
        "sample_before_eur": old and f"{euros(_sample_nanoeur(old)):f}",
        "sample_after_eur": new and f"{euros(_sample_nanoeur(new)):f}",
    }


def _difference(name: str, old: Rates | None, new: Rates | None, at: datetime) -> Iterator[str]:
    yield f"{name} from {_day(at)}, USD per million tokens:"
    if new is None:
        yield "  no price: calls are refused, or priced under the name that it is a snapshot of"
    bands_before = {band_name(band): band for band in (old.bands if old else ())}
    bands_after = {band_name(band): band for band in (new.bands if new else ())}
    # What only a factor changes has the same bands.
    for band in bands_before | bands_after if bands_before != bands_after else ():
        yield from _band_difference(band, bands_before.get(band), bands_after.get(band))
    yield from _factor_difference(old, new)
    was, is_ = _per_hour(old), _per_hour(new)
    if was != is_:
        yield f"  by the hour: {was} -> {is_}"
    yield f"  1,000 tokens in and 1,000 out: {_thousand_each(old)} -> {_thousand_each(new)}"


def _band_difference(name: str, old: Band | None, new: Band | None) -> Iterator[str]:
    was, is_ = _by_name(old), _by_name(new)
    kept = [f"{short} {usd}" for short, usd in is_.items() if was.get(short) == usd]
    dropped = [f"{short} {usd}" for short, usd in was.items() if short not in is_]
    changed = [
        f"{short} {was.get(short, _NONE)} -> {usd}"
        for short, usd in is_.items()
        if was.get(short) != usd
    ]
    parts = (("", changed), ("kept: ", kept), ("dropped: ", dropped))
    yield f"  {name}: " + "; ".join(f"{label}{', '.join(of)}" for label, of in parts if of)


def _factor_difference(old: Rates | None, new: Rates | None) -> Iterator[str]:
    was, is_ = (_discount(rates) for rates in (old, new))
    if was != is_:
        yield f"  discount: {was} -> {is_}"
    places_before, places_after = (dict(rates.places) if rates else {} for rates in (old, new))
    for place in places_before | places_after:
        before, after = (places.get(place, _NONE) for places in (places_before, places_after))
        if before != after:
            yield f"  place {place}: {before} -> {after}"


def _bands_and_factors(rates: Rates) -> list[str]:
    lines = [f"  {band_name(band)}: {_prices_of(band)}" for band in rates.bands]
    lines += [f"  place {place}: x {factor}" for place, factor in rates.places.items()]
    if rates.discount != 1:
        lines.append(f"  discount: {_discount(rates)}")
    if rates.by_hour is not None:
        lines.append(
            f"  by the hour: {_per_hour(rates)}, from {_day(rates.by_hour.starts_at)} "
            f"({rates.by_hour.source}); the prices of tokens are an estimate until an hour is over"
        )
    return lines


def _per_hour(rates: Rates | None) -> str:
    by_hour = rates and rates.by_hour
    return f"{by_hour.eur_per_hour} EUR" if by_hour else _NONE


def _discount(rates: Rates | None) -> str:
    return (
        _NONE if rates is None or rates.discount == 1 else f"{discount_percent(rates.discount)} %"
    )


def _by_name(band: object) -> dict[str, str]:
    prices = {short: getattr(band, column, None) for short, column in SHORT_NAMES.items()}
    return {short: plain(usd) for short, usd in prices.items() if usd is not None}


def _prices_of(band: object) -> str:
    return ", ".join(f"{short} {usd}" for short, usd in _by_name(band).items())


def _sample(rates: Rates) -> str:
    return f"1,000 tokens in and 1,000 out cost {_thousand_each(rates)}"


def _thousand_each(rates: Rates | None) -> str:
    return _NONE if rates is None else format_eur(_sample_nanoeur(rates))


def _sample_nanoeur(rates: Rates) -> int:
    return cost_nanoeur(Usage(input_uncached=1000, output_text=1000), rates)


def _day(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
