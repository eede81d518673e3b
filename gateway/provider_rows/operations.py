"""Operations on rows of providers; each is one transaction and recorded in the history.

A change of an organization's row locks the organization, one of the installation the price list,
whose row has the version that calls compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

from costs.prices.book import lock_prices, priced_models
from gateway.models import Provider
from gateway.provider_rows.presets import moved
from gateway.provider_rows.terms import (
    ADDRESS_COLUMNS,
    ProviderTerms,
    checked,
    recorded,
    terms_of,
    with_loopback,
)
from gateway.providers import secrets
from gateway.providers.secrets import SecretUnavailable
from gateway.upstream.signing.auth import AuthKind, InvalidAuth, provider_auth
from gateway.upstream.signing.signers import signer
from orgs.audit import history
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.fields import new_id
from orgs.locking import locked, one_name

# All that are enabled are kept in every process.
INSTALLATION_ROWS_MAX: Final = 200
ORGANIZATION_ROWS_MAX: Final = 20
_ONE_NAME: Final = ("provider_name_once", "A provider with this name exists already")


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A secret: its `text`, which is sealed, or where it is (`env:NAME`, `file:PATH`), or none."""

    text: str = field(default="", repr=False)
    source: str = ""


NO_SECRET: Final = GivenSecret()


def add_provider(
    *, terms: ProviderTerms, secret: GivenSecret, org_id: UUID | None, by_command: bool
) -> Provider:
    """Add a row, enabled. Raises Invalid, and Conflict for a name or a number that is taken.

    Only by an operator's command may it reach other than public addresses, name where its secret
    is, use the credentials of this machine, and take over the prices of a removed row.
    """
    if not terms.auth:
        terms = replace(terms, auth="none" if secret == NO_SECRET else "bearer")
    terms = checked(with_loopback(terms) if by_command else _public(terms))
    with one_name(*_ONE_NAME), transaction.atomic():
        _lock(org_id)
        _check_room(org_id)
        if not by_command:
            _check_unpriced(terms.name)
        row = Provider(id=new_id(), org_id=org_id, **terms.values())
        row.secret = _kept(secret, row, by_command=by_command)
        row.save(force_insert=True)
        after = recorded(terms) | {"enabled": True, "secret": place_of_secret(row)}
        history.record("provider_created", row, after=after)
        return row


def change_provider(
    provider: Provider,
    *,
    changes: Mapping[str, Any] | None = None,
    secret: GivenSecret | None = None,
    enabled: bool | None = None,
    by_command: bool,
) -> Provider:
    """Change the given columns of a row, its secret, and whether it is enabled.

    A row that needs no secret any more keeps none.
    On a page, a new address requires the secret again: it is only sent where it was entered for;
    and a new name is none that has prices. Raises Invalid, Missing and Conflict.
    """
    with one_name(*_ONE_NAME), transaction.atomic():
        row = _locked_row(provider)
        before = terms_of(row)
        after = replace(before, **changes or {})
        beside = moved(after.base_urls, old=before.base_url, new=after.base_url)
        after = replace(after, base_urls=beside)
        if row.secret and secret is None and _needs_none(after) and not _needs_none(before):
            secret = NO_SECRET
        is_moved = any(getattr(before, name) != getattr(after, name) for name in ADDRESS_COLUMNS)
        if by_command:
            after = with_loopback(after)
        elif is_moved:
            after = _public(after)
            if row.secret and secret is None:
                raise Invalid("Enter the secret again to change where it is sent", field="secret")
        after = checked(after)
        if not by_command and after.name != row.name:
            _check_unpriced(after.name)
        for column, value in after.values().items():
            setattr(row, column, value)
        was_enabled, row.enabled = row.enabled, row.enabled if enabled is None else enabled
        if secret is not None or is_moved:
            row.secret = _kept(secret, row, by_command=by_command)
        row.save()
        history.record(
            "provider_changed",
            row,
            before=recorded(before) | {"enabled": was_enabled},
            after=recorded(after) | {"enabled": row.enabled},
        )
        if secret is not None:
            history.record("provider_secret_rotated", row, after={"secret": place_of_secret(row)})
        return row


def rotate_secret(provider: Provider, *, secret: GivenSecret, by_command: bool) -> Provider:
    """Replace the secret of a row: calls in flight keep theirs. Raises Invalid and Missing."""
    return change_provider(provider, secret=secret, by_command=by_command)


def remove_provider(provider: Provider) -> None:
    """Remove a row with its secret; past requests keep its name."""
    with transaction.atomic():
        row = _locked_row(provider)
        history.record("provider_deleted", row, before=recorded(terms_of(row)))
        row.delete()


def take_models(provider: Provider, names: Iterable[str]) -> Provider:
    """Add models to those that a row lists. Raises Invalid and Missing."""
    with transaction.atomic():
        row = _locked_row(provider)
        return change_provider(row, changes={"models": [*row.models, *names]}, by_command=True)


def reseal_all() -> tuple[int, list[str]]:
    """Seal every secret in the database with the first key of PULSE_SECRETS_KEY.

    Returns how many were sealed again, and the names of rows whose secret cannot be opened.
    """
    count, unreadable = 0, []
    for found in Provider.objects.filter(secret__startswith=secrets.SEALED):
        with transaction.atomic():
            row = _locked_row(found)
            try:
                sealed = secrets.resealed(row.secret, row=row.pk, keys=settings.SECRETS_KEYS)
            except SecretUnavailable:
                unreadable.append(row.name)
                continue
            if sealed != row.secret:
                row.secret, count = sealed, count + 1
                row.save()
                history.record("provider_secret_resealed", row, after={"secret": "sealed"})
    return count, unreadable


def place_of_secret(row: Provider) -> str:
    """Return where a row's secret is: `none`, `sealed`, `env:NAME` or `file:PATH`."""
    if row.secret.startswith(secrets.SEALED):
        return "sealed"
    return row.secret or "none"


def _needs_none(terms: ProviderTerms) -> bool:
    return terms.auth.strip().lower() == AuthKind.NONE


def _public(terms: ProviderTerms) -> ProviderTerms:
    return replace(terms, allow_loopback=False, allow_private=False)


def _kept(secret: GivenSecret | None, row: Provider, *, by_command: bool) -> str:
    """Return what a row keeps of a secret, None being the one that it has. Raises Invalid."""
    keys = settings.SECRETS_KEYS
    try:
        if secret is None:
            if row.secret.startswith(secrets.SEALED) or not row.secret:
                text = secrets.opened(row.secret, row=row.pk, keys=keys)
                _checked(row, text, by_command)
            return row.secret
        if not secret.source:
            text = secrets.cleaned(secret.text) if secret.text else ""
            _checked(row, text, by_command)
            return secrets.seal(text, row=row.pk, keys=keys) if text else ""
        if not by_command:
            raise Invalid("Only an operator's command can name where a secret is", field="secret")
        return secrets.source(secret.source)
    except SecretUnavailable as exc:
        raise Invalid(str(exc), field="secret") from exc
    except InvalidAuth as exc:
        raise Invalid(str(exc), field="auth" if secret is None else "secret") from exc


def _checked(row: Provider, text: str, by_command: bool) -> None:
    """Check that a secret fits how the row authenticates. Raises Invalid and InvalidAuth."""
    auth = provider_auth(row.auth)
    if not by_command and auth.uses_ambient_credentials(text):
        raise Invalid(
            f'Only an operator\'s command can set the authentication "{auth}" without a secret',
            field="secret",
        )
    signer(auth, text, reach=terms_of(row).reach)


def _check_unpriced(name: str) -> None:
    """Raise Conflict for a name that has the prices of a removed row."""
    if priced_models([name]):
        raise Conflict(
            f'There are prices for a provider "{name}", which was removed; choose another name'
        )


def _lock(org_id: UUID | None) -> None:
    if org_id is None:
        lock_prices()
    else:
        locked(org_id)


def _locked_row(provider: Provider) -> Provider:
    _lock(provider.org_id)
    row = Provider.objects.filter(pk=provider.pk).first()
    if row is None:
        raise Missing("This provider does not exist")
    return row


def _check_room(org_id: UUID | None) -> None:
    most = INSTALLATION_ROWS_MAX if org_id is None else ORGANIZATION_ROWS_MAX
    if Provider.objects.filter(org_id=org_id).count() >= most:
        whose = "The installation" if org_id is None else "An organization"
        raise Conflict(f"{whose} can have at most {most} providers")
