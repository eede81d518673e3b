"""Vendors and rows of providers, as the command and the page list them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from gateway.core.providers import DIALECTS, ProviderConfig
from gateway.models import Provider
from gateway.provider_rows.operations import place_of_secret
from gateway.providers.registry import Providers, providers_from_settings
from gateway.providers.rows import config_of
from gateway.providers.vendors import SANDBOX, vendors
from orgs.core.frozen import frozen

ENVIRONMENT = "environment"
INSTALLATION = "installation"


@frozen
class ProviderLine:
    """A vendor or a row. `owner` is the environment, the installation, or an organization's slug.

    `key_from` is a variable, a place, or None if there is no secret; `fault` is why calls of the
    provider are refused.
    """

    config: ProviderConfig
    owner: str
    key_from: str | None
    base_url_from: str | None = None
    enabled: bool = True
    row: Provider | None = None

    @property
    def apis(self) -> list[str]:
        """The APIs that it has, in a fixed order."""
        return [each for each in DIALECTS if each in self.config.dialects]

    @property
    def fault(self) -> str | None:
        """Why calls are refused."""
        return self.config.fault


def all_lines(rows: Iterable[Provider] | None = None) -> list[ProviderLine]:
    """Return the vendors of the environment, and rows: all, or these."""
    providers = providers_from_settings()
    found = Provider.objects.select_related("org") if rows is None else rows
    return [*(_vendor_line(name, providers) for name in providers.vendors), *map(row_line, found)]


def line_of(name: str) -> ProviderLine | None:
    """Return the provider with this name, or None."""
    lines = all_lines(Provider.objects.filter(name=name).select_related("org"))
    return next((line for line in lines if line.config.name == name), None)


def rows_of(org_id: UUID | None) -> list[Provider]:
    """Return the rows of the installation, and those of an organization."""
    mine = Q(org__isnull=True) if org_id is None else Q(org__isnull=True) | Q(org_id=org_id)
    return list(Provider.objects.filter(mine).select_related("org").order_by("org_id", "name"))


def row_line(row: Provider) -> ProviderLine:
    """Return a row."""
    return ProviderLine(
        config=config_of(row),
        owner=row.org.slug if row.org else INSTALLATION,
        key_from=place_of_secret(row) if row.secret else None,
        enabled=row.enabled,
        row=row,
    )


def unusable() -> list[str]:
    """Return why each enabled row cannot be called, as sentences."""
    rows = Provider.objects.filter(enabled=True)
    return [fault for row in rows if (fault := config_of(row).fault)]


def _vendor_line(name: str, providers: Providers) -> ProviderLine:
    config = providers.vendors[name]
    if name == SANDBOX:
        by = "PULSE_SANDBOX" if "PULSE_SANDBOX" in os.environ else "DEBUG"
        return ProviderLine(
            config=config, owner=ENVIRONMENT, key_from=by if settings.SANDBOX else None
        )
    _, base_url = settings.PROVIDERS[name]
    vendor = vendors()[name]
    return ProviderLine(
        config=config,
        owner=ENVIRONMENT,
        key_from=next((each for each in vendor.key_variables if os.environ.get(each)), None),
        base_url_from=vendor.base_url_variable if base_url else None,
    )
