"""Find a stale exchange rate: one for the installation, of concern to all organizations."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, OuterRef

from costs.core.money import plain
from costs.prices.exchange_rates import rate_in_force, utc_day
from gateway.alerts.rules.findings import AlertFinding
from gateway.models import Alert
from orgs.models import Organization


def stale_exchange_rate(now: datetime) -> AlertFinding | None:
    """Return the finding, once per rate; None while the rate in force is not stale."""
    found = rate_in_force(utc_day(now))
    if found is None or not found.is_stale:
        return None
    return AlertFinding(
        key=f"exchange_rate:{found.rate.on_date}",
        kind=Alert.Kind.EXCHANGE_RATE,
        sentence=found.warning,
        figures={
            "usd_per_eur": plain(found.rate.usd_per_eur),
            "rate_date": f"{found.rate.on_date}",
        },
    )


def organizations_without(finding: AlertFinding, *, most: int) -> list[Organization]:
    """Return organizations whose gateway is on and that have no alert of the finding yet."""
    alerts = Alert.objects.filter(org=OuterRef("pk"), key=finding.key)
    enabled = Organization.objects.filter(~Exists(alerts), ai_gateway_enabled=True)
    return list(enabled.order_by("id")[:most])
