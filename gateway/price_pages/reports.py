"""The models that an organization can call: prices, policies' verdicts, use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from costs.core.calendar.date_ranges import DateRange
from costs.core.cost_query import CostQuery
from costs.core.rates import Rates
from costs.explorer.lines import grouped
from costs.prices.book import PriceBook, price_book
from gateway.core.model_names import Catalog, Model, canonical
from gateway.core.providers import ProviderConfig
from gateway.guards.policies import OK, PolicyMode, model_verdicts
from gateway.guards.rule_sets import RuleIndex
from gateway.models import AiRequestLog, Policy
from gateway.providers.catalog import load_catalog
from gateway.providers.known import callable_names
from gateway.providers.registry import providers_from_settings
from gateway.providers.rows import all_provider_configs
from gateway.providers.served import served_model
from orgs.core.frozen import frozen
from orgs.models import Organization

USAGE_DAYS: Final = 30
# Refusals that are read to count those of each model.
REFUSALS_READ_MAX: Final = 5_000
_UNPRICED: Final = "model_unpriced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How often a model was charged in USAGE_DAYS days, and for how much."""

    requests: int = 0
    cost_nanoeur: int = 0


NO_USE: Final = Use()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A model of the list: its provider, its name there, and the name that resolves to it."""

    provider: str
    id: str
    named: str
    use: Use = NO_USE

    @property
    def qualified_name(self) -> str:
        """The name that the list is searched by, and in the order of."""
        return f"{self.provider}/{self.id}".casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedModel:
    """A model that can be called, with its price in force; None is unpriced."""

    model: Model
    rates: Rates | None
    use: Use = NO_USE

    @property
    def price_name(self) -> str:
        """The name under which it has, or would get, a price."""
        return self.rates.model if self.rates else self.model.price_names[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """Every model that an organization can call at a moment, by provider and folded name, in order.

    Most pages show few of thousands, so that only these are resolved.
    """

    at: datetime
    book: PriceBook
    catalog: Catalog
    providers: Mapping[str, ProviderConfig]
    models: Mapping[tuple[str, str], ListedModel]

    def priced(self, listed: ListedModel) -> PricedModel:
        """Return a model of the list with its price."""
        model = served_model(listed.named, self.providers, catalog=self.catalog)
        assert model is not None  # noqa: S101  it was listed since its name resolves
        return PricedModel(model=model, rates=self.rates_of(model), use=listed.use)

    def find(self, provider: str, name: str) -> PricedModel | None:
        """Return a model by its provider and its name there, also one that is not listed."""
        listed = self.models.get((provider.casefold(), name.casefold()))
        if listed is not None:
            return self.priced(listed)
        model = served_model(f"{provider}/{name}", self.providers, catalog=self.catalog)
        return None if model is None else PricedModel(model=model, rates=self.rates_of(model))

    def rates_of(self, model: Model) -> Rates | None:
        """Return the price of a model in force."""
        return self.book.rates_for(model.price_names, model.provider, self.at)

    def next_change(self, model: Model) -> datetime | None:
        """Return when a model gets other prices."""
        return self.book.next_change(model.price_names, model.provider, self.at)


@frozen
class Refusing:
    """The policies that refuse a model: every call, and some calls; each with its refusal's code.

    Which calls the latter apply to depends on who sends them.
    """

    all_calls: tuple[tuple[str, str], ...] = ()
    some_calls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpricedModel:
    """A model without a price that was requested, as it was named first; `model` None is unknown.

    Others may have named it in other ways.
    """

    named: str
    model: Model | None
    requests: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpricedList:
    """Models to set a price for, requested last first; `is_cut` if not every refusal was read."""

    models: Sequence[UnpricedModel]
    is_cut: bool


def model_table(organization: Organization | None, *, at: datetime) -> ModelTable:
    """Return the models that an organization, or without one any, can call.

    These are the catalog's, those of providers' rows, and whatever else has a price.
    """
    org_id = organization.pk if organization else None
    catalog, book = load_catalog(sandbox=settings.SANDBOX), price_book()
    rows = all_provider_configs(org_id)
    providers = {**providers_from_settings().vendors, **rows}
    priced = book.models()
    by_vendor = (f"{of}/{name}" for of, name in priced if of in catalog.vendors)
    found: dict[tuple[str, str], ListedModel] = {}
    for name in (*callable_names(catalog, rows.values(), priced), *by_vendor):
        listed = _listed(name, rows, providers, catalog)
        if listed is not None:
            found.setdefault((listed.provider, listed.id.casefold()), listed)
    used = _use_of(organization, found, at) if organization else {}
    models = {
        key: replace(listed, use=used[key]) if key in used else listed
        for key, listed in sorted(found.items())
    }
    return ModelTable(at=at, book=book, catalog=catalog, providers=providers, models=models)


def _listed(
    name: str,
    rows: Mapping[str, ProviderConfig],
    providers: Mapping[str, ProviderConfig],
    catalog: Catalog,
) -> ListedModel | None:
    """Return the model that a name resolves to; a row's name has all that the list needs."""
    head, slash, rest = name.partition("/")
    if slash and head in rows:
        model_id = canonical(rest)
        return ListedModel(provider=head, id=model_id, named=name) if model_id else None
    model = served_model(name, providers, catalog=catalog)
    return ListedModel(provider=model.provider, id=model.id, named=name) if model else None


def _use_of(
    organization: Organization, listed: Container[tuple[str, str]], at: datetime
) -> dict[tuple[str, str], Use]:
    """Return the use of models; a charge of a snapshot that is not listed counts for its model."""
    today = at.astimezone(ZoneInfo(organization.timezone)).date()
    days = DateRange(today - timedelta(days=USAGE_DAYS - 1), today)
    query = CostQuery(date_range=days, group_by=("provider", "model"), today=today)
    charged = {
        (provider or "", (name or "").casefold()): Use(requests=requests, cost_nanoeur=nanoeur)
        for provider, name, nanoeur, _, _, requests, *_ in grouped(organization.pk, query)
    }
    sums: dict[tuple[str, str], list[Use]] = {}
    for (provider, name), use in charged.items():
        names = _price_names(provider, name)
        key = next((key for each in names if (key := (provider, each)) in listed), None)
        if key is not None:
            sums.setdefault(key, []).append(use)
    return {
        key: Use(
            requests=int(sum(use.requests for use in uses)),
            cost_nanoeur=int(sum(use.cost_nanoeur for use in uses)),
        )
        for key, uses in sums.items()
    }


def _price_names(provider: str, name: str) -> tuple[str, ...]:
    return Model(id=name, provider=provider).price_names


def policy_rules(organization: Organization, catalog: Catalog) -> RuleIndex:
    """Return the organization's policies that refuse calls."""
    rows = Policy.objects.filter(org=organization, mode=PolicyMode.ON)
    return RuleIndex(policy.rule(catalog) for policy in rows)


def refusing(model: Model, rules: RuleIndex) -> Refusing:
    """Return the policies that refuse a model by its name."""
    always = {rule.id for rule in rules.of({"provider": model.provider}).rules}
    whole: list[tuple[str, str]] = []
    part: list[tuple[str, str]] = []
    for rule, verdict in zip(rules.rules, model_verdicts(model, rules.rules), strict=True):
        of_providers = dict(rule.applies_to.named).get("provider")
        if verdict == OK or (of_providers is not None and model.provider not in of_providers):
            continue
        (whole if rule.id in always else part).append((rule.name, verdict))
    return Refusing(all_calls=tuple(whole), some_calls=tuple(part))


def unpriced(table: ModelTable, org_id: UUID | None) -> UnpricedList:
    """Return the models that an organization, or without one any, has requested without a price.

    Of the last USAGE_DAYS days; without those that have got a price since.
    """
    rows = unpriced_rows(org_id, since=table.at - timedelta(days=USAGE_DAYS))
    names: dict[tuple[str | None, str], str] = {}
    last: dict[tuple[str | None, str], datetime] = {}
    counts: Counter[tuple[str | None, str]] = Counter()
    read = 0
    columns = ("provider", "model", "requested_model", "occurred_at")
    for provider, model, named, at in rows.values_list(*columns)[:REFUSALS_READ_MAX]:
        key, read = (provider, model), read + 1
        names.setdefault(key, named)
        last.setdefault(key, at)
        counts[key] += 1
    found = [
        UnpricedModel(named=names[key], model=model, requests=count, last_at=last[key])
        for key, count in counts.items()
        for model in [_resolved(table, *key)]
        if model is None or table.rates_of(model) is None
    ]
    return UnpricedList(models=found, is_cut=read == REFUSALS_READ_MAX)


def unpriced_rows(org_id: UUID | None, *, since: datetime) -> QuerySet[AiRequestLog]:
    """Return the requests that were refused since they had no price, newest first.

    They are few, and have an index; see `gateway.policies.reports.watched_rows`.
    """
    rows = AiRequestLog.objects.filter(code=_UNPRICED, occurred_at__gte=since)
    if org_id is None:
        return rows.order_by("-occurred_at", "-id")
    mine: Any = rows.alias(its_org=Coalesce("org_id", "org_id")).filter(its_org=org_id)
    return mine.order_by("-occurred_at", "-id")  # type: ignore[no-any-return]  # an alias's name


def _resolved(table: ModelTable, provider: str | None, name: str) -> Model | None:
    named = f"{provider}/{name}" if provider else name
    return served_model(named, table.providers, catalog=table.catalog)
