"""Validate an alias's name and models, so that every name resolves to one model."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.attempts import MODELS_MAX, RETRIES_MAX
from gateway.core.model_names import Model

ALIAS_NAME_MAX_CHARS: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Find = Callable[[str], Model | None]


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
    find: Find,
    other_aliases: Collection[str],
) -> Fault | None:
    """Return the first reason why an alias is invalid, or None.

    `find` returns the model that a name means to the organization. An alias never contains aliases,
    and has a model's name only if that model, at any provider, is its first: it then adds fallbacks
    to it.
    """
    if not 0 <= retries <= RETRIES_MAX:
        return Fault("retries", f"Retries must be between 0 and {RETRIES_MAX}.")
    return _fault_in_models(models, find, other_aliases) or _fault_in_name(name, models, find)


def _fault_in_models(
    models: Sequence[str], find: Find, other_aliases: Collection[str]
) -> Fault | None:
    if not models:
        return Fault("models", "Enter at least one model.")
    if len(models) > MODELS_MAX:
        return Fault("models", f"An alias can have at most {MODELS_MAX} models, not {len(models)}.")
    aliases = {other.casefold() for other in other_aliases}
    spelled: dict[tuple[str, str], str] = {}
    for name in models:
        model = find(name)
        if model is None and name.casefold() in aliases:
            return Fault("models", f'"{name}" is an alias; an alias can only contain models.')
        if model is None:
            return Fault("models", f'Unknown model: "{name}".')
        before = spelled.setdefault((model.provider, model.id), name)
        if before != name:
            return Fault("models", f'"{before}" and "{name}" are the same model.')
    return None


def _fault_in_name(name: str, models: Sequence[str], find: Find) -> Fault | None:
    if len(name) > ALIAS_NAME_MAX_CHARS or not _NAME.fullmatch(name):
        return Fault(
            "name",
            f"A name must have at most {ALIAS_NAME_MAX_CHARS} letters, digits, dots, hyphens and "
            "underscores, and begin with a letter or a digit.",
        )
    model, first = find(name), find(models[0])
    if model is not None and first is not None and not _is_same(model, first):
        return Fault(
            "name",
            f'"{name}" is a model name; an alias can only use it if that model is its first.',
        )
    return None


def _is_same(model: Model, first: Model) -> bool:
    """Whether the first model of an alias is `model`, or the same one at another provider."""
    return first == model or (first.served_by.is_row and model.id in first.names)
