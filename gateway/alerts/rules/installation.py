"""Find what is wrong with the installation, which concerns all organizations."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from costs.core.money import plain
from costs.prices.exchange_rates import rate_in_force, utc_day
from gateway.alerts.rules.findings import AlertFinding
from gateway.models import Alert, Provider, RefusedCredentials
from gateway.providers.vendors import vendors
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


def refused_credentials(now: datetime) -> list[AlertFinding]:
    """Return a finding for each provider that refused our key, once for a day of UTC.

    Yesterday counts as well: the key may have been refused just before midnight.
    """
    since = utc_day(now) - timedelta(days=1)
    refused = RefusedCredentials.objects.filter(on_date__gte=since).order_by("id")
    # What is wrong with an organization's own row is no concern of the others.
    of_organizations = Provider.objects.filter(org__isnull=False).values("name")
    return [
        AlertFinding(
            key=f"provider_credentials:{row.id}",
            kind=Alert.Kind.PROVIDER_CREDENTIALS,
            sentence=f'Provider "{_title(row.provider)}" refused the credentials of this gateway '
            f"on {row.on_date} (UTC); an operator must correct them. manage.py providers check "
            "shows its answer.",
            figures={"provider": row.provider, "refused_on": f"{row.on_date}"},
        )
        for row in refused.exclude(provider__in=of_organizations)
    ]


def _title(provider: str) -> str:
    vendor = vendors().get(provider)
    return vendor.config.title if vendor else provider


def organizations_without(finding: AlertFinding, *, most: int) -> list[Organization]:
    """Return organizations whose gateway is on and that have no alert of the finding yet."""
    alerts = Alert.objects.filter(org=OuterRef("pk"), key=finding.key)
    enabled = Organization.objects.filter(~Exists(alerts), ai_gateway_enabled=True)
    return list(enabled.order_by("id")[:most])
