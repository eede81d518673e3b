"""The tables of prices and of the ledger."""

from costs.models.ledger import (
    AttributedRow,
    CostEvent,
    CostLine,
    DailyCost,
    Hold,
    HoldPeriod,
    Instance,
    LedgerRow,
    MonthlyCost,
    Period,
    RateCard,
)
from costs.models.prices import (
    FACTOR_MAX,
    USABLE_EXCHANGE_RATE,
    USABLE_FACTOR,
    USABLE_RATE,
    USD_MAX,
    ExchangeRate,
    PriceFactor,
    PriceList,
    Rate,
)

__all__ = [
    "FACTOR_MAX",
    "USABLE_EXCHANGE_RATE",
    "USABLE_FACTOR",
    "USABLE_RATE",
    "USD_MAX",
    "AttributedRow",
    "CostEvent",
    "CostLine",
    "DailyCost",
    "ExchangeRate",
    "Hold",
    "HoldPeriod",
    "Instance",
    "LedgerRow",
    "MonthlyCost",
    "Period",
    "PriceFactor",
    "PriceList",
    "Rate",
    "RateCard",
]
