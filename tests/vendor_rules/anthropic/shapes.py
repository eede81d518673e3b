"""Shapes of fields in requests to Anthropic's messages API, and the generations of its models.

Unknown fields and wrong types are rejected ("Extra inputs are not permitted"). The fields:
https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Check = Callable[[Any], bool]
Shape = Mapping[str, Check]

_FAMILY_FIRST: Final = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_NUMBER_FIRST: Final = re.compile(r"claude-(\d)(?:[-.](\d))?(?!\d)(?:-([a-z]+))?")


@dataclass(frozen=True, slots=True)
class Claude:
    """A model: its family, and its generation, which is (0, 0) if the name has none."""

    name: str
    family: str
    generation: tuple[int, int]

    @classmethod
    def named(cls, name: str) -> Claude:
        """Return the model of a name, in its newer or older form, with or without a date."""
        if name.startswith("claude-mythos-preview"):  # released with 4.7
            return cls(name, "mythos-preview", (4, 7))
        if found := _FAMILY_FIRST.match(name):
            return cls(name, found[1], (int(found[2]), int(found[3] or 0)))
        if found := _NUMBER_FIRST.match(name):
            return cls(name, found[3] or "", (int(found[1]), int(found[2] or 0)))
        return cls(name, "", (0, 0))

    @property
    def is_known(self) -> bool:
        """Whether the name has a generation, so that rules by generation apply."""
        return self.generation > (0, 0)

    def is_before(self, *generation: int) -> bool:
        """Whether the model is known and older than a generation."""
        return self.is_known and self.generation < generation


def is_text(value: object) -> bool:
    """Whether it is a string."""
    return isinstance(value, str)


def is_flag(value: object) -> bool:
    """Whether it is a boolean."""
    return isinstance(value, bool)


def is_integer(value: object) -> bool:
    """Whether it is an integer, and no boolean."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a number, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_object(value: object) -> bool:
    """Whether it is an object with names."""
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def is_list(value: object) -> bool:
    """Whether it is a list."""
    return isinstance(value, list)


def one_of(*values: object) -> Check:
    """Return a check for one of some values."""
    return lambda value: value in values


def nullable(check: Check) -> Check:
    """Return a check that also accepts null."""
    return lambda value: value is None or check(value)


def list_of(check: Check) -> Check:
    """Return a check for a list of such values."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def either(*checks: Check) -> Check:
    """Return a check for a value that passes one of some checks."""
    return lambda value: any(check(value) for check in checks)


def is_cache_control(value: object) -> bool:
    """Whether it is a cache breakpoint.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    """
    return (
        isinstance(value, Mapping)
        and value.get("type") == "ephemeral"
        and set(value) <= {"type", "ttl"}
        and ("ttl" not in value or value["ttl"] in ("5m", "1h"))
    )


CACHE: Final[Shape] = {"cache_control": nullable(is_cache_control)}


def shape_faults(
    value: object, where: str, required: Shape, optional: Shape | None = None
) -> Iterator[str]:
    """Yield the missing, unknown and wrongly typed fields of an object."""
    if not isinstance(value, Mapping):
        yield f"{where or 'body'} must be an object"
        return
    prefix = f"{where}." if where else ""
    for name in required:
        if name not in value:
            yield f"{prefix}{name} is required"
    checks = {**(optional or {}), **required}
    for name, given in value.items():
        if name not in checks:
            yield f"{prefix}{name}: extra inputs are not permitted"
        elif not checks[name](given):
            yield f"{prefix}{name} has a wrong type or value"
