"""Collect what is changed in a call so that its vendor accepts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.calls import ProviderCall


class Changes:
    """Collects the changes to a call and the sentences that report them, each once."""

    def __init__(self, call: ProviderCall) -> None:
        self.call = call
        self._reported: dict[str, None] = {}

    def make(self, sentence: str, **values: Any) -> None:
        """Replace values of the call, and report why."""
        self.call = replace(self.call, **values)
        self._reported[sentence] = None

    def made(self) -> ProviderCall:
        """Return the changed call."""
        reported = tuple(self._reported)
        return replace(self.call, adjustments=reported) if reported else self.call


class BodyChanges:
    """Collects the changes to a relayed body and the sentences that report them, each once.

    The body itself is new; what is in it is the caller's, and never changed.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = dict(body)
        self._reported: dict[str, None] = {}

    @property
    def adjustments(self) -> tuple[str, ...]:
        """The sentences."""
        return tuple(self._reported)

    def report(self, sentence: str) -> None:
        """Report a change."""
        self._reported[sentence] = None

    def put(self, sentence: str, **fields: Any) -> None:
        """Replace fields of the body, and report why."""
        self.body |= fields
        self.report(sentence)

    def omit(self, *names: str) -> None:
        """Omit those of the fields that are there, and report those with a value."""
        for name in names:
            if self.body.pop(name, None) is not None:
                self.report(omitted(name))


def omitted(name: str) -> str:
    """Return the sentence that reports an omitted field."""
    return f"{name} is omitted"


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
