"""Collect what is changed in a call so that its vendor accepts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.calls import ProviderCall


class Changes:
    """Collects the changes to a call and the sentences that tell them, each once."""

    def __init__(self, call: ProviderCall) -> None:
        self.call = call
        self._told: dict[str, None] = {}

    def make(self, sentence: str, **values: Any) -> None:
        """Replace values of the call, and tell why."""
        self.call = replace(self.call, **values)
        self._told[sentence] = None

    def made(self) -> ProviderCall:
        """Return the changed call."""
        told = tuple(self._told)
        return replace(self.call, adjustments=told) if told else self.call


class BodyChanges:
    """Collects the changes to a relayed body and the sentences that tell them, each once.

    The body itself is new; what is in it is the caller's, and never changed.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = dict(body)
        self._told: dict[str, None] = {}

    @property
    def adjustments(self) -> tuple[str, ...]:
        """The sentences."""
        return tuple(self._told)

    def tell(self, sentence: str) -> None:
        """Tell a change."""
        self._told[sentence] = None

    def put(self, sentence: str, **fields: Any) -> None:
        """Replace fields of the body, and tell why."""
        self.body |= fields
        self.tell(sentence)

    def omit(self, *names: str) -> None:
        """Leave out those of the fields that are there, and tell it of those with a value."""
        for name in names:
            if self.body.pop(name, None) is not None:
                self.tell(left_out(name))


def left_out(name: str) -> str:
    """Return the sentence that tells of a field that is left out."""
    return f"{name} is left out"


def without(name: str, values: list[Any]) -> list[Any]:
    """Return messages or tools without a field, in parts, too: the same list if none has it."""
    if not any(_has(name, each) for each in values):
        return values
    return [_without(name, each) for each in values]


def _has(name: str, value: object) -> bool:
    if not isinstance(value, dict):
        return False
    content = value.get("content")
    return name in value or (
        isinstance(content, list) and any(_has(name, part) for part in content)
    )


def _without(name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {key: each for key, each in value.items() if key != name}
    if isinstance(kept.get("content"), list):
        kept["content"] = [_without(name, part) for part in kept["content"]]
    return kept
