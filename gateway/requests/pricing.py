"""What a request used and the rates of its charge, read from its rows' JSON for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from costs.core.usage import FEES, STANDARD_TIER, TOKEN_BUCKETS
from costs.templatetags.figures import count
from gateway.console.buckets import BUCKET_WORDS
from gateway.core.traces import integer, mapping, text
from gateway.models import AiRequestLog

USD_MAX: Final = 1_000_000

# Of an answer that was cut off.
_AT_MOST: Final = {"input_tokens": "input, at most", "output_tokens": "output, at most"}


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and what is to be shown for it; markup only from `figures`."""

    name: str
    value: object


def usage_facts(row: AiRequestLog) -> list[Fact]:
    """Return the tokens of the request, by what they are priced as."""
    usage = mapping(row.usage)
    buckets = mapping(usage.get("buckets")) or usage
    facts = [
        Fact(BUCKET_WORDS[name], count(number))
        for name in (*TOKEN_BUCKETS, *FEES)
        if (number := integer(buckets.get(name)))
    ]
    facts += [
        Fact(BUCKET_WORDS[name], value)
        for name in ("service_tier", "place")
        if (value := text(buckets.get(name)))
    ]
    at_most = mapping(usage.get("at_most"))
    facts += [
        Fact(words, count(number))
        for name, words in _AT_MOST.items()
        if (number := integer(at_most.get(name))) is not None
    ]
    if (usd := _reported_usd(mapping(usage.get("reported")))) is not None:
        facts.append(Fact("cost reported by the provider (not charged)", f"{usd:f} USD"))
    if usage.get("adds_up") is False:
        facts.append(Fact("note", "the provider's own total differs from the sum of its parts"))
    return facts


def _reported_usd(report: Mapping[str, Any]) -> Decimal | None:
    """Return what the provider itself calls the request's cost, in USD; None if it does not.

    https://openrouter.ai/docs/use-cases/usage-accounting
    """
    cost = report.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < USD_MAX:
        return None
    return Decimal(str(cost))


def unpriced(row: AiRequestLog) -> list[str]:
    """Return what of the request's usage had no price."""
    names = mapping(row.usage).get("unpriced")
    return [name for name in names if text(name)] if isinstance(names, list) else []


# --- rates ---------------------------------------------------------------------------------------

_COLUMNS: Final = {
    "input_usd_per_mtok": "input",
    "output_usd_per_mtok": "output",
    "cache_read_usd_per_mtok": "cache read",
    "cache_read_audio_usd_per_mtok": "cache read, audio",
    "cache_write_5m_usd_per_mtok": "cache write, 5 min",
    "cache_write_30m_usd_per_mtok": "cache write, 30 min",
    "cache_write_1h_usd_per_mtok": "cache write, 1 h",
    "cache_write_12h_usd_per_mtok": "cache write, 12 h",
    "input_audio_usd_per_mtok": "audio input",
    "output_audio_usd_per_mtok": "audio output",
    "web_search_usd_per_k": "1,000 web searches",
    "web_search_preview_usd_per_k": "1,000 web searches (preview)",
}


@dataclass(frozen=True, slots=True)
class Price:
    """A price in USD per million tokens (searches: per thousand), as the vendor writes it."""

    of: str
    usd: str


@dataclass(frozen=True, slots=True)
class BandPrices:
    """The prices of one service tier for inputs from some length on."""

    name: str
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor on the prices of a place, or on all prices."""

    of: str
    factor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTable:
    """Everything a charge was made from. Any text may be None where the row does not say."""

    model: str | None
    starts_on: str | None
    source: str | None
    usd_per_eur: str | None
    exchange_rate_date: str | None
    factors: tuple[Factor, ...]
    bands: tuple[BandPrices, ...]
    eur_per_hour: str | None = None


def rate_table(*kept: object) -> RateTable | None:
    """Return the first of the given JSON values that holds rates, or None."""
    values = next((value for value in kept if isinstance(value, dict) and value), None)
    if values is None:
        return None
    bands = values.get("bands")
    starts_at = _written(values.get("starts_at"))
    return RateTable(
        model=_written(values.get("model")),
        starts_on=starts_at[:10] if starts_at else None,
        source=_written(values.get("source")),
        usd_per_eur=_written(values.get("usd_per_eur")),
        exchange_rate_date=_written(values.get("exchange_rate_date")),
        factors=tuple(_factors(values)),
        eur_per_hour=_written(mapping(values.get("by_hour")).get("eur_per_hour")),
        bands=tuple(_band(band) for band in bands if isinstance(band, dict))
        if isinstance(bands, list)
        else (),
    )


def _factors(values: Mapping[str, Any]) -> Iterator[Factor]:
    places = values.get("places")
    for place, factor in places.items() if isinstance(places, dict) else ():
        if shown := _written(factor):
            yield Factor(f"tokens processed in {place}", shown)
    if discount := _written(values.get("discount")):
        yield Factor("all prices", discount)


def _band(band: dict[str, Any]) -> BandPrices:
    above = band.get("above_input_tokens")
    tier = _written(band.get("service_tier")) or STANDARD_TIER
    name = f"{tier}, above {above:,} input tokens" if isinstance(above, int) and above else tier
    prices = (
        Price(words, usd) for key, words in _COLUMNS.items() if (usd := _written(band.get(key)))
    )
    return BandPrices(name=name, prices=tuple(prices))


def _written(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int, float)) and value != "" else None
