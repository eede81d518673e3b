"""List the models that a caller can use: served, priced and allowed by every policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core.attempts import Alias
from gateway.core.model_names import Model, Offered
from gateway.guards.policies import OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What decides: the names to list, the models that a call to one may go to, the policies'
    verdicts on these, the organization's aliases.

    A provider with a fault cannot be called. `aliases` are by normalized name.
    """

    names: Callable[[], Iterable[str]]
    resolve: Callable[[str], Sequence[Model]]
    verdicts_on: Callable[[Model], Sequence[str]]
    is_priced: Callable[[Model], bool]
    aliases: Mapping[str, Alias] = field(default_factory=dict)

    def all(self) -> list[Offered]:
        """Return every usable model: the aliases first, then each name once."""
        own = (self._by_alias(alias) for alias in self.aliases.values())
        names = (name for name in self.names() if name.casefold() not in self.aliases)
        return [each for each in (*own, *map(self._by_name, names)) if each is not None]

    def find(self, name: str) -> Offered | None:
        """Return the model that `name` resolves to, or None if it is unknown or may not be used."""
        alias = self.aliases.get(name.strip().casefold())
        if alias is not None:
            return self._by_alias(alias)
        return self._by_name(name)

    def _by_alias(self, alias: Alias) -> Offered | None:
        """Return the alias's first usable model: models without a configured provider and refused
        fallbacks are skipped; a refusal of the first model refuses the request.
        """
        for place, name in enumerate(alias.models):
            allowed = self._allowed(name)
            usable = _configured(allowed)
            if usable is not None:
                return Offered(alias.name, usable)
            if place == 0 and not allowed:
                return None
        return None

    def _by_name(self, name: str) -> Offered | None:
        model = _configured(self._allowed(name))
        return None if model is None else Offered(_listed_name(name, model), model)

    def _allowed(self, name: str) -> list[Model]:
        return [model for model in self.resolve(name) if self._is_allowed(model)]

    def _is_allowed(self, model: Model) -> bool:
        is_let_pass = all(verdict == OK for verdict in self.verdicts_on(model))
        return is_let_pass and self.is_priced(model)


def _configured(models: Sequence[Model]) -> Model | None:
    return next((model for model in models if model.served_by.fault is None), None)


def _listed_name(name: str, model: Model) -> str:
    """Return the name to list: as its server spells it, with the row's prefix if it was given."""
    if not model.served_by.is_row:
        return model.id
    has_prefix = name.strip().casefold().startswith(f"{model.provider}/")
    return model.qualified_name if has_prefix else model.spelling
