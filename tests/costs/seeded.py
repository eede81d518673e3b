"""The seed as a price book without a database, one euro for one dollar."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache

from costs.core.rates import Rates
from costs.models import Rate
from costs.prices.book import PLACE, PriceBook, _Exchange, _FactorRow
from costs.prices.seed import seed_factors, seed_prices
from tests.costs.price_list import NOW

_PAR = (_Exchange(datetime(2000, 1, 1, tzinfo=UTC), date(2000, 1, 1), Decimal(1)),)


@cache
def seeded_book() -> PriceBook:
    """Return the price book that `prices load` makes of an empty list."""
    rows: dict[tuple[str, str], list[Rate]] = {}
    for price in seed_prices():
        rows.setdefault((price.provider, price.model), []).extend(
            Rate(
                provider=price.provider,
                model=price.model,
                starts_at=price.starts_at,
                source=price.source,
                **asdict(band),
            )
            for band in price.bands
        )
    factors = [
        _FactorRow(
            provider=each.provider,
            model=each.model,
            kind=PLACE,
            place=each.place,
            factor=each.factor,
            starts_at=each.starts_at,
            is_end=False,
        )
        for each in seed_factors()
    ]
    return PriceBook(1, rows, _PAR, sorted(factors, key=lambda row: row.starts_at))


def seeded_rates(provider: str, *names: str, at: datetime = NOW) -> Rates:
    """Return the seeded rates of a model."""
    found = seeded_book().rates_for(names, provider, at)
    assert found is not None, (provider, names)
    return found
