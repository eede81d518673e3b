"""The price list as requests read it: a snapshot, replaced as a whole when it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from costs.core.model_names import covers
from costs.core.rates import Band, Rates, rate_at
from costs.core.usage import STANDARD_TIER
from costs.models import ExchangeRate, PriceFactor, PriceList, Rate

PLACE: Final = PriceFactor.Kind.PLACE.value
DISCOUNT: Final = PriceFactor.Kind.DISCOUNT.value
_BAND_FIELDS: Final = tuple(f.name for f in fields(Band))
_COLUMNS: Final = ("provider", "model", "starts_at", "source", *_BAND_FIELDS)


@dataclass(frozen=True, slots=True)
class _Prices:
    """All bands of one model from a moment on."""

    starts_at: datetime
    source: str
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class _Factors:
    """The factors on a model's prices from a moment on."""

    starts_at: datetime
    places: Mapping[str, Decimal]
    discount: Decimal


@dataclass(frozen=True, slots=True)
class _Exchange:
    starts_at: datetime
    on_date: date
    usd_per_eur: Decimal


NO_FACTORS: Final = _Factors(datetime.min.replace(tzinfo=UTC), {}, Decimal(1))


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All prices at one `version` of the list, or newer."""

    version: int
    _rows: Mapping[tuple[str, str], Sequence[Rate]]
    _exchange: Sequence[_Exchange]
    _factor_rows: Sequence[PriceFactor] = ()
    # Of the models that were priced: a process uses few of a long list, and it may change often.
    _prices: dict[tuple[str, str], Sequence[_Prices]] = field(default_factory=dict, repr=False)
    _factors: dict[tuple[str, str], Sequence[_Factors]] = field(default_factory=dict, repr=False)
    # One object per price, exchange rate and factors, so that what Rates compute is computed once.
    _rates: dict[tuple[str, str, datetime, date, datetime], Rates] = field(
        default_factory=dict, repr=False
    )

    def rates_for(self, names: Sequence[str], provider: str, at: datetime) -> Rates | None:
        """Return the rates in force at `at` under the first of `names` that has any.

        None is unknown: no price then, or no exchange rate yet. 2 us a call.
        """
        exchange = rate_at(self._exchange, at)
        if exchange is None:
            return None
        for name in names:
            prices = rate_at(self._history_of(provider, name), at)
            if prices is not None:
                factors = rate_at(self._factors_of(provider, name), at) or NO_FACTORS
                return self._rates_of(provider, name, prices, exchange, factors)
        return None

    def models(self) -> list[tuple[str, str]]:
        """Return (provider, model) of every price, sorted."""
        return sorted(self._rows)

    def _history_of(self, provider: str, model: str) -> Sequence[_Prices]:
        key = (provider, model)
        history = self._prices.get(key)
        if history is None:
            rows = self._rows.get(key)
            if rows is None:
                return ()
            history = self._prices[key] = _history(rows)
        return history

    def _factors_of(self, provider: str, model: str) -> Sequence[_Factors]:
        key = (provider, model)
        factors = self._factors.get(key)
        if factors is None:
            rows = [row for row in self._factor_rows if _is_for(row, provider, model)]
            factors = self._factors[key] = _factor_history(rows)
        return factors

    def _rates_of(
        self,
        provider: str,
        model: str,
        prices: _Prices,
        exchange: _Exchange,
        factors: _Factors,
    ) -> Rates:
        key = (provider, model, prices.starts_at, exchange.on_date, factors.starts_at)
        rates = self._rates.get(key)
        if rates is None:
            rates = self._rates[key] = Rates(
                provider=provider,
                model=model,
                bands=prices.bands,
                usd_per_eur=exchange.usd_per_eur,
                exchange_rate_date=exchange.on_date,
                source=prices.source,
                starts_at=prices.starts_at,
                places=factors.places,
                discount=factors.discount,
            )
        return rates


def price_list_version() -> int:
    """Return the version of the price list; it grows with every change."""
    return PriceList.objects.values_list("version", flat=True).first() or 0


def load_price_book() -> PriceBook:
    """Read the whole price list: four queries. The version first, so that it is never newer."""
    list_version = price_list_version()
    rows: dict[tuple[str, str], list[Rate]] = {}
    # Rows of plain values: objects of the model take twice as long.
    for row in Rate.objects.order_by("starts_at", "above_input_tokens").values_list(
        *_COLUMNS, named=True
    ):
        rows.setdefault((row.provider, row.model), []).append(row)
    exchange = tuple(
        _Exchange(datetime.combine(day, time(), UTC), day, _short(usd_per_eur))
        for day, usd_per_eur in ExchangeRate.objects.order_by("on_date").values_list(
            "on_date", "usd_per_eur"
        )
    )
    factors = tuple(PriceFactor.objects.order_by("starts_at"))
    return PriceBook(list_version, rows, exchange, factors)


def _is_for(row: PriceFactor, provider: str, model: str) -> bool:
    if row.provider != provider:
        return False
    return not row.model or covers(row.model, model=model, provider=provider)


def _factor_history(rows: Sequence[PriceFactor]) -> tuple[_Factors, ...]:
    """Return the factors of a model; of each kind the latest row counts, the model's own first."""
    history = []
    for moment in sorted({row.starts_at for row in rows}):
        reached = [row for row in rows if row.starts_at <= moment]
        reached.sort(key=lambda row: (bool(row.model), row.starts_at))
        places = {row.place: _short(row.factor) for row in reached if row.kind == PLACE}
        discounts = [_short(row.factor) for row in reached if row.kind == DISCOUNT]
        history.append(_Factors(moment, places, (Decimal(1), *discounts)[-1]))
    return tuple(history)


def _history(rows: Iterable[Rate]) -> tuple[_Prices, ...]:
    """Merge the histories of a model's tiers: the prices change where one of them does.

    The rows of one tier and moment replace earlier ones as a whole; without a row from 0 tokens
    they are not in force yet.
    """
    tiers: dict[str, dict[datetime, list[Rate]]] = {}
    for row in rows:
        tiers.setdefault(row.service_tier, {}).setdefault(row.starts_at, []).append(row)
    history = []
    for moment in sorted({moment for series in tiers.values() for moment in series}):
        in_force: dict[str, Sequence[Rate]] = {}
        for tier, series in tiers.items():
            reached = [starts_at for starts_at in series if starts_at <= moment]
            if reached and series[max(reached)][0].above_input_tokens == 0:
                in_force[tier] = series[max(reached)]
        if standard := in_force.get(STANDARD_TIER):
            bands = tuple(band_of(row) for rows in in_force.values() for row in rows)
            history.append(_Prices(moment, standard[0].source, bands))
    return tuple(history)


def band_of(row: Rate) -> Band:
    """Return the band of a row."""
    columns = ((name, getattr(row, name)) for name in _BAND_FIELDS)
    values: dict[str, Any] = {
        name: _short(value) if isinstance(value, Decimal) else value for name, value in columns
    }
    return Band(**values)


def _short(value: Decimal) -> Decimal:
    """Return the same number without trailing zeros; rates are stored with every event."""
    return value.to_integral_value() if value == value.to_integral_value() else value.normalize()
