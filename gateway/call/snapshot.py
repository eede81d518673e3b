"""In-process snapshots that requests are checked on: organizations, keys and prices, frozen.

A snapshot may be stale, and alone decides nothing: RESERVE compares its versions with the
database's and returns a stale request to be checked again.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import monotonic
from typing import Final, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import connections, transaction

from costs.core.admission import Stale
from costs.prices.book import (
    PriceBook,
    price_book,
    price_list_version,
    providers_version,
)
from gateway.call.reads import SharedReads
from gateway.call.rules.budgets import budget_rules
from gateway.core.attempts import MODELS_MAX, Alias
from gateway.core.calls import Principal
from gateway.core.errors import Refused
from gateway.core.model_entries import compared
from gateway.core.model_names import Catalog, Model
from gateway.core.providers import ProviderConfig
from gateway.guards.budgets import BudgetIndex, BudgetRule, counted_in
from gateway.guards.policies import PolicyMode, model_verdicts
from gateway.guards.rule_sets import RuleIndex
from gateway.models import ModelAlias, Policy
from gateway.providers.rows import ProviderBook, load_provider_book, provider_configs
from orgs.auth.credentials import KeyRecord, key_record, unsealed_keys
from orgs.core.keys import ParsedKey, is_sealed
from orgs.core.pseudonyms import Pseudonyms, keyed_by
from orgs.locking import locked
from orgs.models import Organization
from orgs.settings.operations import time_zone_changed

KEYS_MAX: Final = 50_000
ORGANIZATIONS_MAX: Final = 10_000
VERDICTS_MAX: Final = 1000  # of one organization: callers choose the model names
PRICES: Final = "prices"
PROVIDERS: Final = "providers"
VERSIONS: Final = "versions"
UNSEALED: Final = "unsealed"
UNSEALED_KEPT_S: Final = 5.0

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationSnapshot:
    """An organization as its requests are checked."""

    id: UUID
    name: str
    timezone: str
    drains: bool
    stores_answers: bool
    config_version: int
    rules: RuleIndex
    # HMAC-SHA-256 under the key of the organization's prompts and names; copied for each.
    prompt_mac: hmac.HMAC
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    budgets: BudgetIndex = field(default_factory=BudgetIndex)
    providers: Mapping[str, ProviderConfig] = field(default_factory=dict)
    _verdicts: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def verdicts_on(self, model: Model) -> tuple[str, ...]:
        """Return each policy's verdict on a model, cached (8 us for two policies)."""
        # A change of a provider's row may change its models' names, and not the organization.
        key = (model.provider, model.id, *model.other_names, *model.base_names)
        found = self._verdicts.get(key)
        if found is None:
            found = model_verdicts(model, self.rules.rules)
            if len(self._verdicts) >= VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[key] = found
        return found

    def names_for(self, user_id: str | None) -> Pseudonyms:
        """Return the names under which vendors see the organization and a call's user."""
        return Pseudonyms(self.prompt_mac, user_id)

    def alias(self, name: str) -> Alias | None:
        """Return the alias of that name, ignoring case, or None."""
        return self.aliases.get(name.strip().casefold()) if self.aliases else None

    def budgets_of(
        self, model: Model, values: Mapping[str, str], principal: Principal
    ) -> tuple[BudgetRule, ...]:
        """Return the budgets that a call with these values counts in; of one with parts, one."""
        names = compared(model.names)
        found = [rule for rule in self.budgets.of(values) if rule.is_of_model(names)]
        return counted_in(found, values, principal.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsealedKeys:
    """The public parts of the keys that earlier versions made, and when they were read."""

    read_at: float
    public: frozenset[str]


class Directory:
    """The snapshots of one process, each replaced as a whole, never changed."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._organizations: OrderedDict[UUID, OrganizationSnapshot] = OrderedDict()
        self._keys: OrderedDict[str, KeyRecord] = OrderedDict()
        self._prices: PriceBook | None = None
        self._providers: ProviderBook | None = None
        self._unsealed = UnsealedKeys(read_at=-inf, public=frozenset())
        self.snapshot_reads = SharedReads()
        # In threads of their own: strangers choose keys, and must not delay an organization; a
        # change of time zone waits for the locks of its organization, and no other may.
        self._key_reads = SharedReads()
        self._zone_changes = SharedReads()

    async def organization(
        self, org_id: UUID, *, version: int | None = None
    ) -> OrganizationSnapshot:
        """Return the organization: at this `version`, or as it was read after this call.

        Without a version, any snapshot will do. Raises Refused when it does not exist.
        """

        def suffices(snapshot: OrganizationSnapshot | None) -> bool:
            return snapshot is not None and version in (None, snapshot.config_version)

        snapshot = self._organizations.get(org_id)
        if not suffices(snapshot):
            read = partial(self._read_organization, org_id)
            found = await self.snapshot_reads.read(org_id, read, suffices=suffices)
            if self._has_moved(found):
                follow = partial(self._follow_time_zone, org_id)
                found = await self._zone_changes.read(org_id, follow, suffices=suffices)
            snapshot = found
        if snapshot is None:
            raise Refused("unauthenticated", "The organization does not exist", status=401)
        return snapshot

    async def key(self, public: str) -> KeyRecord | None:
        """Return the key with this public part, at least as fresh as its organization's snapshot.

        An unknown key is looked up each time, with one indexed query.
        """
        record = self._keys.get(public)
        if record is None or not self._is_fresh(record):
            record = await self._key_reads.read(
                public, partial(self._read_key, public), suffices=self._is_fresh
            )
        return record

    async def may_exist(self, key: ParsedKey) -> bool:
        """Whether a key could be one of the database's, without a query for each key.

        Strangers choose keys. One that is sealed was issued here; the few that are not are known,
        and read again every UNSEALED_KEPT_S, since a process of an earlier version may make one.
        """
        if is_sealed(key.text, settings.API_KEY_PEPPER):
            return True

        def suffices(known: UnsealedKeys) -> bool:
            return key.public in known.public or monotonic() - known.read_at < UNSEALED_KEPT_S

        known = self._unsealed
        if not suffices(known):
            known = await self._key_reads.read(UNSEALED, self._read_unsealed, suffices=suffices)
        return key.public in known.public

    async def live_key(self, public: str) -> KeyRecord | None:
        """Return the key as it was read after this call."""
        function = partial(self._read_key, public)
        return await self._key_reads.read(public, function, suffices=lambda _: False)

    async def prices(self, *, version: int | None = None) -> PriceBook:
        """Return the price list: at this `version`, or as it was read after this call.

        Without a version, any will do.
        """

        def suffices(book: PriceBook) -> bool:
            return version in (None, book.version)

        book = self._prices
        if book is None or not suffices(book):
            book = await self.snapshot_reads.read(PRICES, self._read_prices, suffices=suffices)
        return book

    @property
    def prices_by_hour(self) -> bool | None:
        """Whether the price list has prices by the hour; None before it was read."""
        return None if self._prices is None else self._prices.prices_by_hour

    async def providers(self, *, version: int | None = None) -> ProviderBook:
        """Return the installation's providers, as the price list is returned."""

        def suffices(book: ProviderBook) -> bool:
            return version in (None, book.version)

        book = self._providers
        if book is None or not suffices(book):
            book = await self.snapshot_reads.read(
                PROVIDERS, self._read_providers, suffices=suffices
            )
        return book

    async def versions(self, org_id: UUID) -> Stale:
        """Return the versions that RESERVE would find now, as they were read after this call.

        Calls that wait share a read: a flood of one organization's reads costs what one does.
        """
        subject, function = (VERSIONS, org_id), partial(_live_versions, org_id)
        return await self.snapshot_reads.read(subject, function, suffices=lambda _: False)

    def close(self) -> None:
        """Close the connections."""
        self.snapshot_reads.close()
        self._zone_changes.close()
        self._key_reads.close()

    def forget(self) -> None:
        """Clear all snapshots; the next request reloads them."""
        self._organizations.clear()
        self._keys.clear()
        self._unsealed = UnsealedKeys(read_at=-inf, public=frozenset())
        self._prices = None
        self._providers = None

    def _has_moved(self, snapshot: OrganizationSnapshot | None) -> bool:
        """Whether the time zone is another one than that of the snapshot in use."""
        known = self._organizations.get(snapshot.id) if snapshot is not None else None
        return known is not None and snapshot is not None and known.timezone != snapshot.timezone

    def _is_fresh(self, record: KeyRecord | None) -> bool:
        if record is None:
            return False
        organization = self._organizations.get(record.org_id)
        return organization is None or organization.config_version <= record.config_version

    # In a thread. Here, not by each that waits: the last read of a subject is the one kept. A
    # subject that did not change is kept with its verdicts: any change of it raises its version.

    def _read_organization(self, org_id: UUID) -> OrganizationSnapshot | None:
        """Return the organization; one that has moved is not kept before the ledger follows."""
        known = self._organizations.get(org_id)
        snapshot = _load_organization(org_id, self.catalog, known)
        if not self._has_moved(snapshot):
            _remember(self._organizations, org_id, snapshot, ORGANIZATIONS_MAX)
        return snapshot

    def _follow_time_zone(self, org_id: UUID) -> OrganizationSnapshot | None:
        """Let the ledger follow a change by hand in SQL; after one on the page it does nothing."""
        try:
            with transaction.atomic():
                time_zone_changed(locked(org_id))
            snapshot = _load_organization(org_id, self.catalog, known=None)
        finally:
            connections.close_all()  # it is too rare to keep one
        _remember(self._organizations, org_id, snapshot, ORGANIZATIONS_MAX)
        return snapshot

    def _read_key(self, public: str) -> KeyRecord | None:
        record = key_record(public)
        _remember(self._keys, public, record, KEYS_MAX)
        return record

    def _read_unsealed(self) -> UnsealedKeys:
        self._unsealed = UnsealedKeys(read_at=monotonic(), public=unsealed_keys())
        return self._unsealed

    def _read_prices(self) -> PriceBook:
        self._prices = _load_prices(self._prices)
        return self._prices

    def _read_providers(self) -> ProviderBook:
        self._providers = load_provider_book()
        return self._providers


def _live_versions(org_id: UUID) -> Stale:
    versions = Organization.objects.filter(id=org_id).values_list("config_version", flat=True)
    return Stale(
        config_version=versions.first() or 0,
        prices_version=price_list_version(),
        providers_version=providers_version(),
    )


def _load_prices(known: PriceBook | None) -> PriceBook:
    if known is not None and known.version == price_list_version():
        return known
    return price_book()


def _load_organization(
    org_id: UUID, catalog: Catalog, known: OrganizationSnapshot | None
) -> OrganizationSnapshot | None:
    # The version is read before the policies: a change in between leaves a snapshot with a version
    # older than its content, which RESERVE rejects as stale, and never a newer one.
    organization = Organization.objects.filter(id=org_id).first()
    if organization is None:
        return None
    if known is not None and known.config_version == organization.config_version:
        return known  # with its verdicts: any change of what it holds raises the version
    return OrganizationSnapshot(
        id=organization.id,
        name=organization.name,
        timezone=organization.timezone,
        drains=organization.on_disconnect == Organization.OnDisconnect.DRAIN,
        stores_answers=organization.stores_answers,
        config_version=organization.config_version,
        rules=RuleIndex(
            policy.rule(catalog)
            for policy in Policy.objects.filter(org=org_id).exclude(mode=PolicyMode.OFF)
        ),
        prompt_mac=keyed_by(settings.PROMPT_HASH_KEY, org_id),
        aliases=_load_aliases(org_id),
        providers=provider_configs(org_id),
        budgets=BudgetIndex(budget_rules(organization, catalog)),
    )


def _load_aliases(org_id: UUID) -> dict[str, Alias]:
    """Return the enabled aliases by normalized name, without those that have no models."""
    return {
        row.name.strip().casefold(): Alias(
            name=row.name, models=tuple(map(str, row.models[:MODELS_MAX])), retries=row.retries
        )
        for row in ModelAlias.objects.filter(org_id=org_id, enabled=True)
        if isinstance(row.models, list) and row.models
    }


def _remember(store: OrderedDict[K, T], key: K, value: T | None, most: int) -> None:
    if value is None:
        store.pop(key, None)
        return
    store[key] = value
    if len(store) > most:
        store.popitem(last=False)
