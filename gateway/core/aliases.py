"""Validate an alias's name and models, so that every name resolves to one model."""

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
    """Why an alias is invalid: `field` is name, models or retries."""

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
    """Return the first reason why an alias is invalid, or None.

    A name that a vendor knows is that vendor's model, and an alias never contains aliases. So an
    alias can have a model's name only if that model is its first: it then adds fallbacks to it.
    """
    if not 0 <= retries <= RETRIES_MAX:
        return Fault("retries", f"Retries must be between 0 and {RETRIES_MAX}.")
    return _fault_in_models(models, catalog, other_aliases) or _fault_in_name(name, models, catalog)


def _fault_in_models(
    models: Sequence[str], catalog: Catalog, other_aliases: Collection[str]
) -> Fault | None:
    if not models:
        return Fault("models", "Enter at least one model.")
    if len(models) > MODELS_MAX:
        return Fault("models", f"An alias can have at most {MODELS_MAX} models, not {len(models)}.")
    aliases = {other.casefold() for other in other_aliases}
    spelled: dict[tuple[str, str], str] = {}
    for name in models:
        model = catalog.find(name)
        if model is None and name.casefold() in aliases:
            return Fault("models", f'"{name}" is an alias; an alias can only contain models.')
        if model is None:
            return Fault("models", f'Unknown model: "{name}".')
        before = spelled.setdefault((model.provider, model.id), name)
        if before != name:
            return Fault("models", f'"{before}" and "{name}" are the same model.')
    return None


def _fault_in_name(name: str, models: Sequence[str], catalog: Catalog) -> Fault | None:
    if len(name) > ALIAS_NAME_MAX_CHARS or not _NAME.fullmatch(name):
        return Fault(
            "name",
            f"A name must have at most {ALIAS_NAME_MAX_CHARS} letters, digits, dots, hyphens and "
            "underscores, and begin with a letter or a digit.",
        )
    model = catalog.find(name)
    if model is not None and model != catalog.find(models[0]):
        return Fault(
            "name",
            f'"{name}" is a model name; an alias can only use it if that model is its first.',
        )
    return None
