"""Prices of what a provider lists: which models have one, and what genai-prices knows of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Final

from django.conf import settings
from django.db import transaction

from costs.core.rates import Band
from costs.prices.book import PriceBook
from costs.prices.by_hand import GivenPrice, set_prices
from costs.prices.genai import known_bands
from costs.prices.seed import SHORT_NAMES
from costs.prices.series import GENAI_PRICES
from gateway.core.model_names import canonical
from gateway.core.providers import OPENAI, ProviderConfig
from gateway.models import Provider
from gateway.provider_rows.operations import take_models
from gateway.providers.catalog import load_catalog
from gateway.providers.presets import preset_of
from gateway.providers.rows import config_of
from gateway.providers.served import served_model
from gateway.providers.vendors import vendors

PRICED: Final = "priced"
KNOWN: Final = "known"
UNPRICED: Final = "unpriced"


@dataclass(frozen=True, slots=True)
class Taken:
    """The models that a row lists now: those with a new price and those without any."""

    priced: tuple[str, ...]
    unpriced: tuple[str, ...]
    source: str


def price_state(name: str, config: ProviderConfig, book: PriceBook, *, at: datetime) -> str:
    """Return whether a provider's model is priced, or its price is known to genai-prices."""
    if _is_priced(name, config, book, at):
        return PRICED
    return KNOWN if known_price(name, config, at=at) else UNPRICED


def known_price(name: str, config: ProviderConfig, *, at: datetime) -> tuple[Band, ...]:
    """Return what genai-prices knows that the provider's model costs: nothing of a server's own."""
    listed_as = _listed_as(config)
    cache_write = "30m" if config.family == OPENAI else "5m"
    return known_bands(listed_as, name, cache_write=cache_write, at=at) if listed_as else ()


def take(provider: Provider, names: Sequence[str], book: PriceBook, *, at: datetime) -> Taken:
    """Add models to a row's list, with the prices that genai-prices has of those without one.

    Raises Invalid and Missing.
    """
    config = config_of(provider)
    source = f"taken from genai-prices {version(GENAI_PRICES)} ({_listed_as(config)})"
    missing = [name for name in names if not _is_priced(name, config, book, at)]
    known = {name: known_price(name, config, at=at) for name in missing}
    with transaction.atomic():
        take_models(provider, names)
        set_prices([*_given(provider, known, source, at)], now=at)
    return Taken(
        priced=tuple(name for name in missing if known[name]),
        unpriced=tuple(name for name in missing if not known[name]),
        source=source,
    )


def _given(
    provider: Provider, known: dict[str, tuple[Band, ...]], source: str, at: datetime
) -> Iterable[GivenPrice]:
    for name, bands in known.items():
        for band in bands:
            columns = ((column, getattr(band, column)) for column in SHORT_NAMES.values())
            yield GivenPrice(
                provider=provider.name,
                model=canonical(name) or name,
                above_input_tokens=band.above_input_tokens,
                prices={column: usd for column, usd in columns if usd is not None},
                starts_at=at,
                source=source,
            )


def _listed_as(config: ProviderConfig) -> str:
    """Return the name in genai-prices of a known server, or of a vendor at its own address."""
    preset = preset_of(config.base_url)
    if preset is not None:
        return preset.prices
    vendor = vendors().get(config.family)
    is_there = vendor is not None and config.base_url.startswith(vendor.config.base_url)
    return config.family if is_there else ""


def _is_priced(name: str, config: ProviderConfig, book: PriceBook, at: datetime) -> bool:
    catalog = load_catalog(sandbox=settings.SANDBOX)
    named = f"{config.name}/{name}"
    model = served_model(named, {config.name: config}, catalog=catalog)
    return model is not None and bool(book.rates_for(model.price_names, model.provider, at))
