"""What an alias may be called and what it may name, so that a name never has two meanings."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.attempts import MODELS_MAX, RETRIES_MAX
from gateway.core.model_names import Catalog

ALIAS_NAME_MAX_CHARS: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an alias cannot be: `field` is name, models or retries."""

    field: str
    sentence: str


def fault_in(
    *,
    name: str,
    models: Sequence[str],
    retries: int,
    catalog: Catalog,
    other_aliases: Collection[str],
) -> Fault | None:
    """Return the first reason why an alias cannot be, or None.

    What a vendor would know is that vendor's model, and an alias's models are never aliases. So
    an alias has a model's name only where that model is its first: it then adds fallbacks to it.
    """
    if not 0 <= retries <= RETRIES_MAX:
        return Fault("retries", f"Retries are 0 to {RETRIES_MAX}.")
    return _fault_in_models(models, catalog, other_aliases) or _fault_in_name(name, models, catalog)


def _fault_in_models(
    models: Sequence[str], catalog: Catalog, other_aliases: Collection[str]
) -> Fault | None:
    if not models:
        return Fault("models", "Name at least one model.")
    if len(models) > MODELS_MAX:
        return Fault("models", f"There are {len(models)} models; at most {MODELS_MAX}.")
    aliases = {other.casefold() for other in other_aliases}
    spelled: dict[tuple[str, str], str] = {}
    for name in models:
        model = catalog.find(name)
        if model is None and name.casefold() in aliases:
            return Fault("models", f'"{name}" is an alias; an alias names models.')
        if model is None:
            return Fault("models", f"Unknown model: {name}.")
        before = spelled.setdefault((model.provider, model.id), name)
        if before != name:
            return Fault("models", f'"{before}" and "{name}" mean the same model.')
    return None


def _fault_in_name(name: str, models: Sequence[str], catalog: Catalog) -> Fault | None:
    if len(name) > ALIAS_NAME_MAX_CHARS or not _NAME.fullmatch(name):
        return Fault(
            "name",
            f"A name has up to {ALIAS_NAME_MAX_CHARS} letters, digits, dots, hyphens and "
            "underscores, and begins with a letter or a digit.",
        )
    meant = catalog.find(name)
    if meant is not None and meant != catalog.find(models[0]):
        return Fault(
            "name",
            f'"{name}" is the name of a model; an alias may have it only where that model is '
            "its first.",
        )
    return None
