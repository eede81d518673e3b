"""Collect what is changed in a call so that its vendor accepts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from gateway.core.calls import ProviderCall

T = TypeVar("T")


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

    def drop(self, places: Iterable[str]) -> None:
        """Omit what a provider does not take, by place: `logprobs`, `messages[].name`."""
        for place in places:
            dropped = without_place(self.body, place)
            if dropped is not self.body:
                self.body = dropped
                self.report(omitted(place))


def without_places(body: Mapping[str, Any], places: Iterable[str]) -> dict[str, Any]:
    """Return a body without what a provider does not take."""
    changes = BodyChanges(body)
    changes.drop(places)
    return changes.body


def without_place(value: T, place: str) -> T:
    """Return a JSON value without a place (`messages[].name`): itself if it has none."""
    head, _, rest = place.partition(".")
    name = head.removesuffix("[]")
    if not isinstance(value, dict) or name not in value:
        return value
    if not rest:
        return cast("T", {key: each for key, each in value.items() if key != name})
    inner = value[name]
    if name == head:
        changed = without_place(inner, rest)
        is_same = changed is inner
    else:
        given = inner if isinstance(inner, list) else []
        changed = [without_place(each, rest) for each in given]
        is_same = all(new is old for new, old in zip(changed, given, strict=True))
    return value if is_same else cast("T", {**value, name: changed})


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
