"""In-process snapshots that requests are checked on: organizations, keys and prices, frozen.

A snapshot may be stale, and alone decides nothing: RESERVE compares its versions with the
database's and returns a stale request to be checked again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, ParamSpec, TypeVar
from uuid import UUID

import django.db
from django.conf import settings

from costs.core.admission import ORG_SCOPE, Limit
from costs.core.periods import BudgetWindow
from costs.prices.book import PriceBook, load_price_book, price_list_version
from gateway.core.attempts import MODELS_MAX, Alias
from gateway.core.calls import DIMENSIONS
from gateway.core.errors import Refused
from gateway.core.model_entries import compared, model_entries
from gateway.core.model_names import Catalog, Model
from gateway.guards.budgets import BudgetIndex, BudgetRule
from gateway.guards.policies import Rule, model_verdicts, tightest_daily_rule, tightest_token_limit
from gateway.models import Budget, ModelAlias, Policy
from orgs.auth.credentials import KeyRecord, key_record
from orgs.models import Organization
from orgs.threads import ADMISSION, Threads

KEYS_MAX: Final = 50_000
ORGANIZATIONS_MAX: Final = 10_000
VERDICTS_MAX: Final = 1000  # of one organization: callers choose the model names

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationSnapshot:
    """An organization as its requests are checked."""

    id: UUID
    name: str
    drains: bool
    config_version: int
    rules: tuple[Rule, ...]
    daily_rule: Rule | None
    token_limit: int | None
    # HMAC-SHA-256 under the key of the organization's prompts; copied for each.
    prompt_mac: hmac.HMAC
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    budgets: BudgetIndex = field(default_factory=BudgetIndex)
    _verdicts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def verdicts_on(self, model: Model) -> tuple[str, ...]:
        """Return each policy's verdict on a model, cached (8 us for two policies)."""
        found = self._verdicts.get(model.id)
        if found is None:
            found = model_verdicts(model, self.rules)
            if len(self._verdicts) >= VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[model.id] = found
        return found

    def alias(self, name: str) -> Alias | None:
        """Return the alias of that name, ignoring case, or None."""
        return self.aliases.get(name.strip().casefold()) if self.aliases else None

    @property
    def limit_nanoeur(self) -> int | None:
        """The tightest daily limit."""
        return self.daily_rule.max_cost_per_day_nanoeur if self.daily_rule else None

    @property
    def day(self) -> Limit:
        """The daily limit, in which every call counts."""
        return Limit(scope=ORG_SCOPE, span=BudgetWindow.DAY, limit_nanoeur=self.limit_nanoeur)

    def budgets_of(
        self, model: Model, dimensions: Mapping[str, str | None]
    ) -> tuple[BudgetRule, ...]:
        """Return the budgets that a call counts in."""
        names = compared(model.names)
        return tuple([rule for rule in self.budgets.of(dimensions) if rule.is_of_model(names)])

    @property
    def is_limited(self) -> bool:
        """Whether a limit applies to every request, so that each needs a bound."""
        return self.token_limit is not None or self.daily_rule is not None


class Directory:
    """The snapshots of one process, each replaced as a whole, never changed."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._organizations: OrderedDict[UUID, OrganizationSnapshot] = OrderedDict()
        self._keys: OrderedDict[str, KeyRecord] = OrderedDict()
        self._prices: PriceBook | None = None

    async def organization(self, org_id: UUID) -> OrganizationSnapshot:
        """Return the organization; raises Refused when it does not exist."""
        return self._organizations.get(org_id) or await self.reload_organization(org_id)

    async def reload_organization(self, org_id: UUID) -> OrganizationSnapshot:
        """Read the organization from the database."""
        known = self._organizations.get(org_id)
        snapshot = await read(ADMISSION, org_id, _load_organization, org_id, self.catalog, known)
        if snapshot is None:
            raise Refused("unauthenticated", "The organization does not exist", status=401)
        _remember(self._organizations, org_id, snapshot, ORGANIZATIONS_MAX)
        return snapshot

    async def key(self, public: str) -> KeyRecord | None:
        """Return the key with this public part, at least as fresh as its organization's snapshot.

        An unknown key is looked up each time: one indexed query, and only if the checksum is
        valid.
        """
        record = self._keys.get(public)
        if record is not None:
            organization = self._organizations.get(record.org_id)
            if organization is None or organization.config_version <= record.config_version:
                return record
        return await self.reload_key(public)

    async def reload_key(self, public: str) -> KeyRecord | None:
        """Read the key from the database."""
        record = await read(ADMISSION, public, key_record, public)
        if record is None:
            self._keys.pop(public, None)
        else:
            _remember(self._keys, public, record, KEYS_MAX)
        return record

    async def prices(self) -> PriceBook:
        """Return the price list."""
        return self._prices or await self.reload_prices()

    async def reload_prices(self) -> PriceBook:
        """Read the price list from the database."""
        self._prices = await read(ADMISSION, None, _load_prices, self._prices)
        return self._prices

    def forget(self) -> None:
        """Clear all snapshots; the next request reloads them."""
        self._organizations.clear()
        self._keys.clear()
        self._prices = None


async def read(
    threads: Threads, caller: object, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a short function that uses the ORM in one of the threads, and close its connections.

    `caller` is whoever takes turns with others there. A connection kept by a waiting request would
    be one of PostgreSQL's few, so none outlives its function. Raises Refused (503) if the database
    is unavailable: fails closed.
    """
    return await threads.run(caller, partial(_closing, partial(function, *args, **kwargs)))


def _closing(function: Callable[[], T]) -> T:
    try:
        return function()
    except (django.db.OperationalError, django.db.InterfaceError) as exc:
        sentence = "The gateway's database is unavailable; nothing was sent"
        raise Refused("ledger_unavailable", sentence, status=503, retry_after_s=1) from exc
    finally:
        django.db.connections.close_all()


def _load_prices(known: PriceBook | None) -> PriceBook:
    if known is not None and known.version == price_list_version():
        return known
    return load_price_book()


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
    rules = tuple(
        Rule(
            id=str(policy.id),
            name=policy.name,
            allowed=model_entries(catalog, policy.allowed_models),
            blocked=model_entries(catalog, policy.blocked_models),
            max_cost_per_day_nanoeur=policy.max_cost_per_day_nanoeur,
            max_tokens_per_request=policy.max_tokens_per_request,
        )
        for policy in Policy.objects.filter(org_id=org_id, enabled=True)
    )
    return OrganizationSnapshot(
        id=organization.id,
        name=organization.name,
        drains=organization.on_disconnect == Organization.OnDisconnect.DRAIN,
        config_version=organization.config_version,
        rules=rules,
        daily_rule=tightest_daily_rule(rules),
        token_limit=tightest_token_limit(rules),
        prompt_mac=hmac.new(
            hmac.digest(settings.PROMPT_HASH_KEY, org_id.bytes, hashlib.sha256), digestmod="sha256"
        ),
        aliases=_load_aliases(org_id),
        budgets=BudgetIndex(
            [
                budget_rule(budget, catalog)
                for budget in Budget.objects.filter(org_id=org_id, enabled=True)
            ]
        ),
    )


def budget_rule(budget: Budget, catalog: Catalog) -> BudgetRule:
    """Return a budget as requests are checked against it."""
    dimensions = {name: getattr(budget, name) for name in DIMENSIONS}
    return BudgetRule(
        id=str(budget.id),
        name=budget.name,
        scope=budget.scope,
        span=BudgetWindow(budget.span),
        limit_nanoeur=budget.limit_nanoeur,
        is_hard=budget.is_hard,
        of={name: value for name, value in dimensions.items() if value is not None},
        models=model_entries(catalog, budget.models),
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


def _remember(store: OrderedDict[K, T], key: K, value: T, most: int) -> None:
    store[key] = value
    if len(store) > most:
        store.popitem(last=False)
