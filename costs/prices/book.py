"""The price list as requests read it: a snapshot, replaced as a whole when it changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet

from costs.core.hours import HourlyRate
from costs.core.model_names import covers
from costs.core.rates import Band, Rates, rate_at
from costs.core.usage import STANDARD_TIER
from costs.models import ExchangeRate, HourlyPrice, PriceFactor, PriceList, Rate
from costs.prices.series import by_use

PLACE: Final = PriceFactor.Kind.PLACE.value
DISCOUNT: Final = PriceFactor.Kind.DISCOUNT.value
_BAND_FIELDS: Final = tuple(f.name for f in fields(Band))
_IDENTITY: Final = (
    *("provider", "model", "service_tier", "above_input_tokens"),
    *("starts_at", "source", "is_end"),
)
_LOGGED_MAX: Final = 20

logger = logging.getLogger("pulse.prices")


@dataclass(frozen=True, slots=True)
class _Prices:
    """All bands of one model from a moment on; none if its price cannot be used, or has ended."""

    starts_at: datetime
    source: str = ""
    bands: tuple[Band, ...] = ()
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class _FactorRow:
    """A row of the factors; `factor` is None if it cannot be used."""

    provider: str
    model: str
    kind: str
    place: str
    starts_at: datetime
    is_end: bool
    factor: Decimal | None


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


@dataclass(frozen=True, slots=True)
class _Hourly:
    """A price by the hour from a moment on; None is an end."""

    starts_at: datetime
    rate: HourlyRate | None


NO_FACTORS: Final = _Factors(datetime.min.replace(tzinfo=UTC), {}, Decimal(1))


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All prices at one `version` of the list, or newer."""

    version: int
    _rows: Mapping[tuple[str, str], Sequence[Rate]]
    _exchange: Sequence[_Exchange]
    _factor_rows: Sequence[_FactorRow] = ()
    # The tiers and moments of rows that cannot be used, by model.
    _unusable: Mapping[tuple[str, str], Sequence[tuple[str, datetime]]] = field(
        default_factory=dict
    )
    _hourly: Mapping[tuple[str, str], Sequence[_Hourly]] = field(default_factory=dict)
    # Of the models that were priced: a process uses few of a long list, and it may change often.
    _prices: dict[tuple[str, str], Sequence[_Prices]] = field(default_factory=dict, repr=False)
    _factors: dict[tuple[str, str], Sequence[_Factors]] = field(default_factory=dict, repr=False)
    # One object per price, exchange rate and factors, so that what Rates compute is computed once.
    _rates: dict[tuple[str, str, datetime, date, datetime, HourlyRate | None], Rates] = field(
        default_factory=dict, repr=False
    )

    def rates_for(self, names: Sequence[str], provider: str, at: datetime) -> Rates | None:
        """Return the rates in force at `at` under the first of `names` that has any.

        None is unknown: no price then, one that cannot be used, or no exchange rate yet. 2 us a
        call.
        """
        exchange = rate_at(self._exchange, at)
        if exchange is None:
            return None
        for name in names:
            prices = rate_at(self._history_of(provider, name), at)
            if prices is None or prices.is_end:
                continue
            if prices.bands:
                factors = rate_at(self._factors_of(provider, name), at) or NO_FACTORS
                by_hour = self.by_hour(provider, name, at) if self._hourly else None
                return self._rates_of(provider, name, prices, exchange, factors, by_hour)
            return None
        return None

    def next_change(self, names: Sequence[str], provider: str, at: datetime) -> datetime | None:
        """Return the first moment after `at` from which a model has other prices, or None."""
        in_force = self.rates_for(names, provider, at)
        series: list[Sequence[_Prices | _Factors | _Hourly]] = []
        for name in names:
            series += [self._history_of(provider, name), self._factors_of(provider, name)]
            series += [self._hourly.get((provider, each), ()) for each in (name, "")]
        later = {entry.starts_at for entries in series for entry in entries if entry.starts_at > at}
        changes = (at for at in sorted(later) if self.rates_for(names, provider, at) != in_force)
        return next(changes, None)

    def has_exchange_rate(self, at: datetime) -> bool:
        """Whether an exchange rate is known at `at`."""
        return rate_at(self._exchange, at) is not None

    @property
    def prices_by_hour(self) -> bool:
        """Whether there was ever a price by the hour."""
        return bool(self._hourly)

    def by_hour(self, provider: str, model: str, at: datetime) -> HourlyRate | None:
        """Return the price by the hour of a model, its own or that of all its provider's."""
        for name in (model, ""):
            found = rate_at(self._hourly.get((provider, name), ()), at)
            if found is not None and found.rate is not None:
                return found.rate
        return None

    def models(self) -> list[tuple[str, str]]:
        """Return (provider, model) of every price, sorted."""
        return sorted(self._rows)

    def _history_of(self, provider: str, model: str) -> Sequence[_Prices]:
        key = (provider, model)
        history = self._prices.get(key)
        if history is None:
            rows, unusable = self._rows.get(key, ()), self._unusable.get(key, ())
            if not rows and not unusable:
                return ()
            history = self._prices[key] = _history(rows, unusable)
        return history

    def _factors_of(self, provider: str, model: str) -> Sequence[_Factors]:
        key = (provider, model)
        factors = self._factors.get(key)
        if factors is None:
            rows = [row for row in self._factor_rows if _is_for(row, provider, model)]
            factors = self._factors[key] = _factor_history(rows)
        return factors

    def _rates_of(  # noqa: PLR0913  all that a price is made of
        self,
        provider: str,
        model: str,
        prices: _Prices,
        exchange: _Exchange,
        factors: _Factors,
        by_hour: HourlyRate | None,
    ) -> Rates:
        key = (provider, model, prices.starts_at, exchange.on_date, factors.starts_at, by_hour)
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
                by_hour=by_hour,
            )
        return rates


def price_list_version() -> int:
    """Return the version of the price list; it grows with every change."""
    return PriceList.objects.values_list("version", flat=True).first() or 0


def priced_models(providers: Iterable[str]) -> list[tuple[str, str]]:
    """Return (provider, model) of every price of these providers, also of one that has ended."""
    rows = Rate.objects.filter(provider__in=[*providers]).order_by("provider", "model")
    return [*rows.values_list("provider", "model").distinct()]


def providers_version() -> int:
    """Return the version of the installation's providers; it grows with every change."""
    return PriceList.objects.values_list("providers_version", flat=True).first() or 0


def lock_prices() -> None:
    """Let changes of the price list wait for each other, until the transaction ends."""
    PriceList.objects.select_for_update().get_or_create(id=1)


def price_book() -> PriceBook:
    """Return the price list as this process has read it, read again when its version has changed.

    Inside a transaction, whose changes may be taken back, it is read again.
    """
    if connection.in_atomic_block:
        return load_price_book()
    return _kept(price_list_version())


@lru_cache(maxsize=1)
def _kept(version: int) -> PriceBook:
    """Read the list of this version, or a newer one, which the next version replaces."""
    return load_price_book()


def load_price_book(provider: str | None = None, names: Iterable[str] = ()) -> PriceBook:
    """Read the price list: five queries. The version first, so that it is never newer.

    With a provider, of its prices only those under these names, and none of others.

    The database refuses rows that cannot be used. Those that are there all the same count as
    unknown, whatever they contain, and are logged.
    """
    list_version = price_list_version()
    rows: dict[tuple[str, str], list[Rate]] = {}
    unusable: dict[tuple[str, str], list[tuple[str, datetime]]] = {}
    in_order = Rate.objects.order_by("starts_at", "above_input_tokens")
    if provider is not None:
        in_order = in_order.filter(provider=provider, model__in=[*names])
    good, bad = _usable(in_order, _IDENTITY)
    for row in good:
        rows.setdefault((row.provider, row.model), []).append(row)
    for row in bad:
        unusable.setdefault((row.provider, row.model), []).append((row.service_tier, row.starts_at))
    return PriceBook(
        list_version, rows, _exchange_rates(), _factor_rows(), unusable, _hourly_prices()
    )


def _usable(rows: QuerySet[Any], identity: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Return the rows that can be used, and the others, which are logged."""
    good, bad = by_use(rows, identity)
    for row in bad[:_LOGGED_MAX]:
        logger.error("a row of the price list cannot be used and counts as unknown: %s", row)
    return good, bad


def _exchange_rates() -> tuple[_Exchange, ...]:
    """Return the rates, oldest first; of a day whose rate cannot be used, the one before counts."""
    in_order = ExchangeRate.objects.order_by("on_date")
    good, _ = _usable(in_order, ("on_date",))
    return tuple(
        _Exchange(datetime.combine(row.on_date, time(), UTC), row.on_date, _short(row.usd_per_eur))
        for row in good
    )


def _factor_rows() -> tuple[_FactorRow, ...]:
    identity = ("provider", "model", "kind", "place", "starts_at", "is_end")
    good, bad = _usable(PriceFactor.objects.all(), identity)
    rows = [
        _FactorRow(**{name: getattr(row, name) for name in identity}, factor=factor)
        for row, factor in (
            *((row, _short(row.factor)) for row in good),
            *((row, None) for row in bad),
        )
    ]
    return tuple(sorted(rows, key=attrgetter("starts_at")))


def _hourly_prices() -> dict[tuple[str, str], list[_Hourly]]:
    identity = ("provider", "model", "starts_at", "source", "is_end", "nanoeur_per_hour")
    good, _ = _usable(HourlyPrice.objects.order_by("starts_at"), identity)
    found: dict[tuple[str, str], list[_Hourly]] = {}
    for row in good:
        rate = HourlyRate(
            model=row.model,
            nanoeur_per_hour=row.nanoeur_per_hour,
            starts_at=row.starts_at,
            source=row.source,
        )
        entry = _Hourly(row.starts_at, None if row.is_end else rate)
        found.setdefault((row.provider, row.model), []).append(entry)
    return found


def _is_for(row: _FactorRow, provider: str, model: str) -> bool:
    if row.provider != provider:
        return False
    return not row.model or covers(row.model, model=model, provider=provider)


def _factor_history(rows: Sequence[_FactorRow]) -> tuple[_Factors, ...]:
    """Return the factors of a model.

    Its own row counts before one with a wildcard, and that before its provider's; then the latest.

    Where a factor cannot be used, its place is unknown, and there is no discount.
    """
    history = []
    for moment in sorted({row.starts_at for row in rows}):
        latest = {(row.model, row.kind, row.place): row for row in rows if row.starts_at <= moment}
        standing = [row for row in latest.values() if not row.is_end]
        standing.sort(key=lambda row: (bool(row.model), "*" not in row.model, row.starts_at))
        places = {row.place: row.factor for row in standing if row.kind == PLACE}
        discounts = [row.factor for row in standing if row.kind == DISCOUNT]
        known = {place: factor for place, factor in places.items() if factor is not None}
        discount = discounts[-1] if discounts else None
        history.append(_Factors(moment, known, Decimal(1) if discount is None else discount))
    return tuple(history)


def _history(rows: Iterable[Rate], unusable: Iterable[tuple[str, datetime]]) -> tuple[_Prices, ...]:
    """Merge the histories of a model's tiers: the prices change where one of them does.

    The rows of one tier and moment replace earlier ones as a whole. If one of them cannot be used,
    or there is none from 0 tokens, the tier has no known price from then on.
    """
    tiers: dict[str, dict[datetime, list[Rate]]] = {}
    for row in rows:
        tiers.setdefault(row.service_tier, {}).setdefault(row.starts_at, []).append(row)
    for tier, starts_at in unusable:
        tiers.setdefault(tier, {})[starts_at] = []
    history = []
    for moment in sorted({moment for series in tiers.values() for moment in series}):
        in_force: dict[str, Sequence[Rate]] = {}
        for tier, series in tiers.items():
            reached = [starts_at for starts_at in series if starts_at <= moment]
            if reached:
                in_force[tier] = series[max(reached)]
        if STANDARD_TIER in in_force:
            history.append(_merged(moment, in_force))
    return tuple(history)


def _merged(moment: datetime, in_force: Mapping[str, Sequence[Rate]]) -> _Prices:
    """Return the prices of all tiers at the moment: none without a standard price."""
    priced = {tier: rows for tier, rows in in_force.items() if has_price(rows)}
    standard = in_force[STANDARD_TIER]
    if STANDARD_TIER not in priced:
        return _Prices(moment, is_end=bool(standard) and standard[0].is_end)
    bands = tuple(band_of(row) for rows in priced.values() for row in rows)
    return _Prices(moment, standard[0].source, bands)


def has_price(rows: Sequence[Rate]) -> bool:
    """Whether the rows of a tier and moment, shortest requests first, are a price."""
    return bool(rows) and rows[0].above_input_tokens == 0 and not rows[0].is_end


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
