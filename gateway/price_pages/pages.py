"""What the pages of models show: values for templates, and rows of files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from costs.core.hours import HourlyRate
from costs.core.money import euros, plain
from costs.core.pricing import ChargedBand, band_prices
from costs.core.rates import PRICED, Band, Rates
from costs.core.usage import FEES, STANDARD_PLACE
from costs.prices.listing import discount_percent
from gateway.console.buckets import BUCKET_WORDS
from gateway.guards.rule_sets import RuleIndex
from gateway.price_pages.reports import ModelTable, PricedModel, Refusing, refusing

# The buckets that have a price of their own; of the others, images and tool prompts cost what other
# input does, and reasoning what other output does.
SHOWN: Final = tuple(
    name
    for name in PRICED
    if name not in ("cache_write_other", "input_image", "tool_prompt", "output_reasoning")
)
COLUMNS: Final = (
    *("provider", "model", "providerState", "inputUsdPerMtok", "outputUsdPerMtok"),
    *("inputEurPerMtok", "outputEurPerMtok", "since", "source", "nextChangeAt"),
    *("refusedBy", "refusedForSomeCallsBy", "requests30d", "cost30dEur"),
)
MORE_IN_JSON: Final = ("bands", "places", "discount", "byHour")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPrice:
    """A price of one bucket: USD as the provider lists it, nano-euro as it is charged."""

    name: str
    words: str
    usd: Decimal | None
    nanoeur: int | None

    @property
    def usd_text(self) -> str:
        """The list price without trailing zeros."""
        return "" if self.usd is None else plain(self.usd)

    @property
    def unit(self) -> str:
        """What the price is for."""
        return "per 1,000" if self.name in FEES else "per million tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownBand:
    """The prices of a service tier and band, those that are known."""

    service_tier: str
    above_input_tokens: int
    prices: tuple[ShownPrice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLine:
    """A model as the list shows it."""

    priced: PricedModel
    input: ShownPrice | None
    output: ShownPrice | None
    more_bands: int
    discount: str
    next_change: datetime | None
    refusing: Refusing


def model_line(each: PricedModel, table: ModelTable, rules: RuleIndex) -> ModelLine:
    """Return a model with its prices in the standard tier, for the shortest requests."""
    bands = shown_bands(each.rates) if each.rates else []
    by_name = {price.name: price for price in bands[0].prices} if bands else {}
    return ModelLine(
        priced=each,
        input=by_name.get("input_uncached"),
        output=by_name.get("output_text"),
        more_bands=max(0, len(bands) - 1),
        discount=discount_of(each.rates),
        next_change=table.next_change(each.model),
        refusing=refusing(each.model, rules),
    )


def discount_of(rates: Rates | None) -> str:
    """Return the discount in percent, "" without one."""
    return "" if rates is None or rates.discount == 1 else discount_percent(rates.discount)


def shown_bands(rates: Rates, place: str = STANDARD_PLACE) -> list[ShownBand]:
    """Return the prices of every tier and band, the standard tier first."""
    listed = {(band.service_tier, band.above_input_tokens): band for band in rates.bands}
    charged = sorted(
        band_prices(rates, place),
        key=lambda band: (band.service_tier != "standard", band.service_tier),
    )
    return [
        ShownBand(
            service_tier=band.service_tier,
            above_input_tokens=band.above_input_tokens,
            prices=tuple(_shown(listed[band.service_tier, band.above_input_tokens], band, SHOWN)),
        )
        for band in charged
    ]


def _shown(listed: Band, band: ChargedBand, names: tuple[str, ...]) -> Iterator[ShownPrice]:
    fees = (listed.web_search_usd_per_k, listed.web_search_preview_usd_per_k)
    usd = dict(zip(PRICED, (*listed.rates_by_bucket(), *fees), strict=True))
    for name in names:
        if usd[name] is not None:
            yield ShownPrice(
                name=name, words=BUCKET_WORDS[name], usd=usd[name], nanoeur=band.nanoeur[name]
            )


def exported_model(each: PricedModel, table: ModelTable, rules: RuleIndex) -> dict[str, Any]:
    """Return a model as files have it; amounts are strings."""
    line = model_line(each, table, rules)
    rates, config = each.rates, each.model.served_by
    return {
        "provider": each.model.provider,
        "model": each.model.id,
        "providerState": "not configured" if config.fault else "configured",
        "inputUsdPerMtok": (line.input and line.input.usd_text) or None,
        "outputUsdPerMtok": (line.output and line.output.usd_text) or None,
        "inputEurPerMtok": _eur(line.input),
        "outputEurPerMtok": _eur(line.output),
        "since": rates and rates.starts_at.isoformat(),
        "source": rates and rates.source,
        "nextChangeAt": line.next_change and line.next_change.isoformat(),
        "refusedBy": [name for name, _ in line.refusing.all_calls],
        "refusedForSomeCallsBy": [name for name, _ in line.refusing.some_calls],
        "requests30d": each.use.requests,
        "cost30dEur": f"{euros(each.use.cost_nanoeur):f}",
        "bands": [_exported_band(band) for band in (shown_bands(rates) if rates else ())],
        "places": {place: str(factor) for place, factor in rates.places.items()} if rates else {},
        "discount": str(rates.discount) if rates else None,
        "byHour": _exported_hour(rates.by_hour) if rates and rates.by_hour else None,
    }


def _exported_hour(by_hour: HourlyRate) -> dict[str, Any]:
    return {
        "eurPerHour": by_hour.eur_per_hour,
        "model": by_hour.model or None,
        "since": by_hour.starts_at.isoformat(),
        "source": by_hour.source,
    }


def _exported_band(band: ShownBand) -> dict[str, Any]:
    return {
        "serviceTier": band.service_tier,
        "aboveInputTokens": band.above_input_tokens,
        "prices": {
            price.name: {"usd": price.usd_text, "eur": _eur(price)} for price in band.prices
        },
    }


def _eur(price: ShownPrice | None) -> str | None:
    return None if price is None or price.nanoeur is None else f"{euros(price.nanoeur):f}"
