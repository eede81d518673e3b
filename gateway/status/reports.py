"""What the status page and its JSON show. No secret, and nothing of another organization."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F, Max, Q

from costs.core.exchange_rates import RateInForce
from costs.core.shares import share_percent
from costs.models import Rate
from costs.prices.book import price_list_version
from gateway.alerts.rounds import LEASE_LASTS, last_began_at
from gateway.call.runtime import Gateway
from gateway.http.health import checks_of, readiness
from gateway.models import Provider
from gateway.provider_rows.reports import ProviderLine, all_lines
from gateway.providers.routing.health import HealthReport
from gateway.status.hour import NO_CALLS, LastHour, ProviderHour, last_hour
from orgs.core.frozen import frozen

ROWS_MAX: Final = 500


@frozen
class PriceListState:
    """The price list: models with a price, when the newest price in force began, and when any
    price was added last.
    """

    version: int
    models: int
    newest_at: datetime | None
    changed_at: datetime | None


@frozen
class AlertsState:
    """The rounds of alerts, which one process at a time does every `every_s` (0: none does)."""

    every_s: float
    began_at: datetime | None
    is_late: bool


@frozen
class ProviderState:
    """A vendor or a row: its calls of the last `hour`, of all processes, and what this one has
    `seen` of it: its breaker, calls in flight.
    """

    line: ProviderLine
    hour: ProviderHour
    seen: HealthReport
    answered_at: datetime | None

    @property
    def state(self) -> str:
        """One word or two for all of it."""
        if not self.line.enabled:
            return "off"
        if self.line.fault is not None:
            return "cannot be called" if self.line.row else "not configured"
        if not self.hour.calls:
            return "no recent calls"
        return "failing" if self.hour.is_failing else "working"

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at it."""
        return self.state in ("failing", "cannot be called")

    @property
    def failed_percent(self) -> str | None:
        """The share of calls that the provider failed, such as `12.5`; None without calls."""
        return share_percent(sum(self.hour.failed.values()), self.hour.calls)

    @property
    def breaker(self) -> str:
        """`closed`; `open` while calls go elsewhere first; `half-open` if the next one tries it."""
        if self.seen.opens_in_s is None:
            return "closed"
        return "open" if self.seen.opens_in_s else "half-open"


@frozen
class GatewayStatus:
    """The state of a process, its database and its providers.

    `readiness` is the body of `/readyz`. Without `prices` and `alerts` migrations are pending.
    `providers` are cut at ROWS_MAX rows (`is_cut`), the requests of their last hour at REQUESTS_MAX
    (`is_hour_cut`).
    """

    readiness: dict[str, Any]
    database: str
    prices: PriceListState | None
    exchange: RateInForce | None
    alerts: AlertsState | None
    providers: tuple[ProviderState, ...]
    is_cut: bool
    is_hour_cut: bool


def status(
    gateway: Gateway, now: datetime, *, org_id: UUID | None, all_providers: bool
) -> GatewayStatus:
    """Return the current status; what a probe has just read is not read again.

    An operator sees `all_providers`, a member those that calls of the organization can go to.
    """
    checks = checks_of(gateway)
    is_migrated = checks.found.get("migrations") == "applied"
    rows = _rows(org_id, all_providers=all_providers) if is_migrated else []
    lines = all_lines(rows[:ROWS_MAX])
    if not all_providers:
        lines = [line for line in lines if line.row or line.fault is None]
    hour = last_hour(now) if is_migrated else LastHour(providers={}, is_cut=False)
    return GatewayStatus(
        readiness=readiness(gateway, checks.found),
        database=_database(),
        prices=_prices(now) if is_migrated else None,
        exchange=checks.exchange,
        alerts=_alerts(now) if is_migrated else None,
        providers=_providers(gateway, lines, hour, now),
        is_cut=len(rows) > ROWS_MAX,
        is_hour_cut=hour.is_cut,
    )


def _rows(org_id: UUID | None, *, all_providers: bool) -> list[Provider]:
    """Return one row more than are shown, the installation's first."""
    rows = Provider.objects.select_related("org")
    if not all_providers:
        rows = rows.filter(Q(org=None) | Q(org=org_id), enabled=True)
    return list(rows.order_by(F("org").asc(nulls_first=True), "name")[: ROWS_MAX + 1])


def _providers(
    gateway: Gateway, lines: Iterable[ProviderLine], hour: LastHour, now: datetime
) -> tuple[ProviderState, ...]:
    """Return the state of providers; those that somebody should look at come first."""
    by_name = {line.config.name: line for line in lines}
    seen = gateway.call_loop.call_sync(_seen(gateway, by_name))
    found = [
        ProviderState(
            line=line,
            hour=of_hour,
            seen=seen[name],
            answered_at=of_hour.answered_at or _before(now, seen[name]),
        )
        for name, line in by_name.items()
        for of_hour in [hour.providers.get(name, NO_CALLS)]
    ]
    return tuple(sorted(found, key=lambda each: not each.is_bad))


async def _seen(gateway: Gateway, names: Iterable[str]) -> dict[str, HealthReport]:
    return gateway.health.reports(names)  # of the call loop alone


def _before(now: datetime, seen: HealthReport) -> datetime | None:
    ago_s = seen.answered_s_ago
    return None if ago_s is None else now - timedelta(seconds=ago_s)


def _database() -> str:
    """Return which database it is, without what signs in to it."""
    version = ".".join(map(str, connection.get_database_version()))
    terms = connection.settings_dict
    host = f" at {terms['HOST']}" if terms["HOST"] else ""
    return f"{connection.display_name} {version}, {terms['NAME']}{host}"


def _prices(now: datetime) -> PriceListState:
    """Read the price list; a price announced for later is not the newest yet."""
    rows = Rate.objects.order_by()
    in_force = rows.filter(starts_at__lte=now)
    return PriceListState(
        version=price_list_version(),
        models=in_force.values("provider", "model").distinct().count(),
        newest_at=in_force.aggregate(at=Max("starts_at"))["at"],
        changed_at=rows.aggregate(at=Max("recorded_at"))["at"],
    )


def _alerts(now: datetime) -> AlertsState:
    every_s, began_at = settings.ALERTS_EVERY_S, last_began_at()
    lasts = LEASE_LASTS + timedelta(seconds=every_s)
    is_late = every_s > 0 and began_at is not None and now - began_at > lasts
    return AlertsState(every_s=every_s, began_at=began_at, is_late=is_late)
