"""List the models that a caller can use: served, priced and allowed by every policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core.attempts import Alias
from gateway.core.model_names import Catalog, Model, Offered
from gateway.guards.policies import OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What decides: the configured providers, the policies' verdicts, the organization's aliases.

    `aliases` are by normalized name.
    """

    catalog: Catalog
    providers: Collection[str]
    verdicts_on: Callable[[Model], Sequence[str]]
    is_priced: Callable[[Model], bool]
    aliases: Mapping[str, Alias] = field(default_factory=dict)

    def all(self) -> list[Offered]:
        """Return every usable model: the aliases first, then each model once."""
        own = (self._by_alias(alias) for alias in self.aliases.values())
        models = {model.id: model for model in self.catalog.by_name.values()}
        listed = (
            Offered(model.id, model)
            for model in models.values()
            if model.id not in self.aliases and self._may_be_asked(model)
        )
        return [*(each for each in own if each is not None), *listed]

    def find(self, name: str) -> Offered | None:
        """Return the model that `name` resolves to, or None if it is unknown or may not be used."""
        alias = self.aliases.get(name.strip().casefold())
        if alias is not None:
            return self._by_alias(alias)
        model = self.catalog.find(name)
        is_offered = model is not None and self._may_be_asked(model)
        return Offered(model.id, model) if model is not None and is_offered else None

    def _by_alias(self, alias: Alias) -> Offered | None:
        """Return the alias's first usable model: models without a configured provider are skipped,
        and one that is refused refuses the request.
        """
        for name in alias.models:
            model = self.catalog.find(name)
            if model is None or not self._is_allowed(model):
                return None
            if model.provider in self.providers:
                return Offered(alias.name, model)
        return None

    def _may_be_asked(self, model: Model) -> bool:
        return model.provider in self.providers and self._is_allowed(model)

    def _is_allowed(self, model: Model) -> bool:
        is_let_pass = all(verdict == OK for verdict in self.verdicts_on(model))
        return is_let_pass and self.is_priced(model)
