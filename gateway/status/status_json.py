"""The status as JSON, for operators and their programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from costs.core.exchange_rates import STALE_AFTER_WORKING_DAYS, RateInForce
from costs.core.money import plain
from gateway.status.reports import AlertsState, GatewayStatus, PriceListState, ProviderState


def status_json(found: GatewayStatus) -> dict[str, Any]:
    """Return what `/readyz` returns, and more of the same."""
    return {
        **found.readiness,
        "databaseName": found.database,
        "exchangeRate": _exchange(found.exchange, found.readiness.get("exchangeRate")),
        "priceList": _prices(found.prices) if found.prices else None,
        "alerts": _alerts(found.alerts) if found.alerts else None,
        "sendsEmail": settings.SENDS_EMAIL,
        "version": settings.VERSION,
        "providers": [_provider(each) for each in found.providers],
        "providersCut": found.is_cut,
        "requestsCut": found.is_hour_cut,
    }


def _exchange(found: RateInForce | None, age: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is None or age is None:
        return None
    return {
        **age,
        "usdPerEur": plain(found.rate.usd_per_eur),
        "source": found.source,
        "staleAfterWorkingDays": STALE_AFTER_WORKING_DAYS,
    }


def _prices(found: PriceListState) -> dict[str, Any]:
    return {
        "version": found.version,
        "models": found.models,
        "newestAt": _text(found.newest_at),
        "changedAt": _text(found.changed_at),
    }


def _alerts(found: AlertsState) -> dict[str, Any]:
    return {"everyS": found.every_s, "beganAt": _text(found.began_at), "isLate": found.is_late}


def _provider(found: ProviderState) -> dict[str, Any]:
    line, hour, seen = found.line, found.hour, found.seen
    return {
        "provider": line.config.name,
        "of": line.owner,
        "keyFrom": line.key_from,
        "baseUrl": line.config.base_url or None,
        "baseUrlFrom": line.base_url_from,
        "enabled": line.enabled,
        "fault": line.fault,
        "state": found.state,
        "lastAnswerAt": _text(found.answered_at),
        "calls": hour.calls,
        "failed": dict(hour.failed),
        "errorRate": hour.error_rate,
        "p50Ms": hour.p50_ms,
        "p95Ms": hour.p95_ms,
        "breaker": found.breaker,
        "breakerOpensInS": seen.opens_in_s,
        "inFlight": seen.in_flight,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
