"""What the status page shows: nothing of any organization, and no secret of the installation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max

from costs.core.exchange_rates import RateInForce
from costs.models import Rate
from gateway.call.runtime import Gateway
from gateway.http.health import checks_of, is_ready, ledger_state


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceListState:
    """How many models have a price, the start of the newest one, the exchange rate in force."""

    models: int
    newest_at: datetime | None
    exchange: RateInForce | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """The state of this process and its database; without `prices` migrations are pending."""

    is_ready: bool
    is_stopping: bool
    checks: dict[str, Any]
    ledger: str
    providers: tuple[str, ...]
    prices: PriceListState | None


def status(gateway: Gateway, now: datetime) -> GatewayStatus:
    """Return the current status; what a probe has just read is not read again."""
    seen, ledger = checks_of(gateway), ledger_state(gateway)
    checks = seen.found
    return GatewayStatus(
        is_ready=is_ready(checks, ledger) and not gateway.is_stopping,
        is_stopping=gateway.is_stopping,
        checks=checks,
        ledger=ledger,
        providers=gateway.providers.configured(),
        prices=_prices(seen.exchange, now) if checks.get("migrations") == "applied" else None,
    )


def _prices(exchange: RateInForce | None, now: datetime) -> PriceListState:
    """Read the price list; a price announced for later is not the newest yet."""
    rows = Rate.objects.filter(starts_at__lte=now).order_by()
    return PriceListState(
        models=rows.values("provider", "model").distinct().count(),
        newest_at=rows.aggregate(newest_at=Max("starts_at"))["newest_at"],
        exchange=exchange,
    )
