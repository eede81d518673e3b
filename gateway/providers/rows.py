"""The rows of providers as calls are sent to them: read with what changes of them raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from costs.prices.book import providers_version
from gateway.core.providers import ProviderConfig, Reach, TimeLimits
from gateway.models import Provider
from gateway.providers import secrets
from gateway.providers.secrets import SecretUnavailable
from gateway.upstream.signing.auth import InvalidAuth, provider_auth
from gateway.upstream.signing.signers import signer_of
from orgs.core.frozen import frozen


@frozen
class ProviderBook:
    """Providers by name, with the version of those of the installation."""

    version: int
    by_name: Mapping[str, ProviderConfig]

    def beside(self, *others: Mapping[str, ProviderConfig]) -> ProviderBook:
        """Return these providers with others."""
        by_name = dict(self.by_name)
        for each in others:
            by_name |= each
        return ProviderBook(version=self.version, by_name=by_name)


def load_provider_book() -> ProviderBook:
    """Read the installation's providers. The version first, so that it is never newer."""
    version = providers_version()
    return ProviderBook(version=version, by_name=provider_configs(None))


def provider_configs(org_id: UUID | None) -> dict[str, ProviderConfig]:
    """Return the enabled providers of an organization, or of the installation, by name."""
    rows = Provider.objects.filter(org_id=org_id, enabled=True)
    return {row.name: config_of(row) for row in rows}


def all_provider_configs(org_id: UUID | None) -> dict[str, ProviderConfig]:
    """Return the enabled providers that an organization can call, by name: one query."""
    rows = Provider.objects.filter(Q(org_id=None) | Q(org_id=org_id), enabled=True)
    return {row.name: config_of(row) for row in rows}


def row_names(org_id: UUID | None = None) -> set[str]:
    """Return the names of the rows that an organization can call; without one, of all rows."""
    is_open = Q() if org_id is None else Q(org_id=None) | Q(org_id=org_id)
    return set(Provider.objects.filter(is_open).values_list("name", flat=True))


def config_of(row: Provider) -> ProviderConfig:
    """Return a row as calls see it; one whose secret cannot be read or used has a fault."""
    usual = TimeLimits(**settings.TIME_LIMITS)
    config = ProviderConfig(
        name=row.name,
        title=row.title,
        is_row=True,
        dialects=frozenset(map(str, row.dialects)),
        family=row.family,
        base_url=row.base_url,
        base_urls=row.base_urls,
        reach=Reach(loopback=row.allow_loopback, private=row.allow_private),
        headers=row.headers,
        query=row.query,
        limits=TimeLimits(
            connect_s=row.connect_s or usual.connect_s,
            first_byte_s=row.first_byte_s or usual.first_byte_s,
            idle_s=row.idle_s or usual.idle_s,
            total_s=row.total_s or usual.total_s,
        ),
        names=row.names,
        fixed_name=row.fixed_name,
        dropped=tuple(row.dropped),
        cap_name=row.cap_name,
        takes_stream_options=row.takes_stream_options,
        standard_tier=row.standard_tier,
        keeps=row.keeps,
        regions=tuple(row.regions),
        weight=row.weight,
        order=row.order,
        models={each.strip().casefold(): each.strip() for each in row.models},
        concurrent_calls=row.concurrent_calls,
        context_tokens=row.context_tokens,
        max_output_tokens=row.max_output_tokens,
    )
    try:
        return with_credentials(config, row.auth, secret_of(row))
    except (SecretUnavailable, InvalidAuth) as exc:
        return replace(config, fault=f'Provider "{row.title}" cannot be called: {exc}')


def secret_of(row: Provider) -> str:
    """Return the secret that a row keeps or names. Raises SecretUnavailable."""
    return secrets.opened(row.secret, row=row.pk, keys=settings.SECRETS_KEYS)


def with_credentials(config: ProviderConfig, auth_text: str, secret: str) -> ProviderConfig:
    """Return a provider with what authenticates its requests. Raises InvalidAuth."""
    auth = provider_auth(auth_text)
    made = replace(
        config,
        auth=auth_text,
        secret=secret,
        headers={**config.headers, **auth.headers(secret)},
        query={**config.query, **auth.query(secret)},
    )
    signer_of(made)
    return made
