"""What an organization can name in forms: the catalog's models, and those of providers' rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from uuid import UUID

from django.conf import settings

from costs.prices.book import priced_models
from gateway.core.model_entries import compared, model_entries
from gateway.core.model_names import FINE_TUNE, REGION, Catalog, Model, undated
from gateway.core.providers import ProviderConfig
from gateway.providers.catalog import load_catalog
from gateway.providers.rows import all_provider_configs
from gateway.providers.served import served_model, served_then


class KnownModels:
    """The models that an organization can name. Prices are read when they are needed first."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, ProviderConfig]) -> None:
        vendors = {name: vendor.config for name, vendor in catalog.vendors.items()}
        self.catalog = catalog
        self.providers: Mapping[str, ProviderConfig] = {**vendors, **providers}
        self.rows = providers

    def find(self, name: str) -> Model | None:
        """Return the model that a name resolves to, or None if it is unknown."""
        return served_model(name, self.providers, catalog=self.catalog)

    def served_then(self, name: str, provider: str | None) -> Model | None:
        """Return the model of a charge or a past request; see `served_then`."""
        return served_then(name, provider, self.providers, catalog=self.catalog)

    @cached_property
    def names(self) -> list[str]:
        """The names to suggest, sorted."""
        priced = priced_models(self.rows) if self.rows else ()
        return sorted(callable_names(self.catalog, self.rows.values(), priced))

    def unknown(self, entries: Iterable[str]) -> list[str]:
        """Return the entries that match no known model: a typo, or a new model."""
        catalog_names = {
            name: None for model in self.catalog.by_name.values() for name in model.names
        }
        rows_names = {
            each: None
            for name in (self.names if self.rows else ())
            if (model := self.find(name)) is not None
            for each in model.names
        }
        regions = {f"{REGION}{tag.casefold()}" for row in self.rows.values() for tag in row.regions}
        known = compared((*catalog_names, *rows_names, *regions))
        return [
            entry
            for entry in entries
            if not self._is_open(entry) and not model_entries(self.catalog, [entry]).matches(known)
        ]

    def _is_open(self, entry: str) -> bool:
        """Whether an entry is of models of which no list is known.

        The catalog lists neither every snapshot nor any fine-tuned model, and a row may list none.
        """
        bare = self.catalog.bare(entry)
        row = self.rows.get(bare.partition("/")[0]) if "/" in bare else None
        is_unlisted = row is not None and not any(self._listed_by(row))
        return is_unlisted or undated(bare) in self.catalog.by_name or bare.startswith(FINE_TUNE)

    def _listed_by(self, row: ProviderConfig) -> Iterator[str]:
        return (name for name in self.names if name.startswith(f"{row.name}/"))


def known_models(org_id: UUID | None, *, catalog: Catalog | None = None) -> KnownModels:
    """Return what an organization can name; without one, what all can."""
    catalog = catalog or load_catalog(sandbox=settings.SANDBOX)
    return KnownModels(catalog, all_provider_configs(org_id))


def callable_names(
    catalog: Catalog, rows: Iterable[ProviderConfig], priced: Iterable[tuple[str, str]]
) -> dict[str, None]:
    """Return the names of models to list: the catalog's ids, and those of rows that can be called.

    These are what a row lists, as it spells it, or has a price, as `NAME/model`; and without the
    prefix what a row lists and takes the calls to.
    """
    usable = {row.name: row for row in rows if row.fault is None}
    names = dict.fromkeys(model.id for model in catalog.by_name.values())
    for row in usable.values():
        names |= dict.fromkeys(row.models.values() if row.weight else ())
        names |= dict.fromkeys(f"{row.name}/{name}" for name in row.models.values())
    for provider, model in priced:
        if provider in usable and model not in usable[provider].models:
            names[f"{provider}/{model}"] = None
    return names
