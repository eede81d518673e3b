"""Checks of JSON values, composed as a vendor's schema is: each returns the faults at a place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

Check = Callable[[object, str], list[str]]

_NO_LIMIT: Final = float("inf")


def anything(_value: object, _where: str) -> list[str]:
    """Accept every value."""
    return []


def text(value: object, where: str) -> list[str]:
    """Accept a string."""
    return [] if isinstance(value, str) else [f"{where} must be a string"]


def text_of(*, most: int) -> Check:
    """Return the check of a string of at most so many characters."""

    def check(value: object, where: str) -> list[str]:
        if isinstance(value, str) and len(value) <= most:
            return []
        return [f"{where} must be a string of at most {most} characters"]

    return check


def flag(value: object, where: str) -> list[str]:
    """Accept true and false."""
    return [] if isinstance(value, bool) else [f"{where} must be true or false"]


def free_object(value: object, where: str) -> list[str]:
    """Accept an object with any fields."""
    return [] if isinstance(value, Mapping) else [f"{where} must be an object"]


def number(
    *,
    least: float = -_NO_LIMIT,
    most: float = _NO_LIMIT,
    above: float | None = None,
    whole: bool = False,
) -> Check:
    """Return the check of a number within limits; `above` is not itself within them."""

    def check(value: object, where: str) -> list[str]:
        kind = "an integer" if whole else "a number"
        is_number = isinstance(value, int if whole else (int, float))
        if isinstance(value, bool) or not is_number:
            return [f"{where} must be {kind}"]
        assert isinstance(value, int | float)
        is_within = least <= value <= most and (above is None or value > above)
        lowest = f"above {above}" if above is not None else f"at least {least}"
        return [] if is_within else [f"{where} must be {kind} {lowest} and at most {most}"]

    return check


def one_of(*values: str) -> Check:
    """Return the check of a word."""

    def check(value: object, where: str) -> list[str]:
        return [] if value in values else [f"{where} must be one of {', '.join(values)}"]

    return check


def nullable(inner: Check) -> Check:
    """Return the check that also accepts null."""

    def check(value: object, where: str) -> list[str]:
        return [] if value is None else inner(value, where)

    return check


def either(*checks: Check) -> Check:
    """Return the check that accepts what one of several accepts."""

    def check(value: object, where: str) -> list[str]:
        found = [each(value, where) for each in checks]
        return [] if [] in found else [" or ".join(each[0] for each in found)]

    return check


def list_of(inner: Check, *, least: int = 0, most: int | None = None) -> Check:
    """Return the check of a list and of each entry."""

    def check(value: object, where: str) -> list[str]:
        if not isinstance(value, list):
            return [f"{where} must be a list"]
        if len(value) < least or (most is not None and len(value) > most):
            limit = f"at least {least}" if most is None else f"between {least} and {most}"
            return [f"{where} must have {limit} entries"]
        return [
            fault for index, each in enumerate(value) for fault in inner(each, f"{where}[{index}]")
        ]

    return check


def record(
    fields: Mapping[str, Check], *, required: Collection[str] = (), closed: bool = True
) -> Check:
    """Return the check of an object with known fields; a closed one has no others."""

    def check(value: object, where: str) -> list[str]:
        if not isinstance(value, Mapping):
            return [f"{where} must be an object"]
        return record_faults(value, fields, required=required, closed=closed, where=where)

    return check


def record_faults(
    value: Mapping[str, Any],
    fields: Mapping[str, Check],
    *,
    required: Collection[str] = (),
    closed: bool = True,
    where: str = "",
) -> list[str]:
    """Return the faults of an object's fields."""
    prefix = f"{where}." if where else ""
    faults = [f"{prefix}{name} is missing" for name in required if name not in value]
    for name, each in value.items():
        if name in fields:
            faults += fields[name](each, f"{prefix}{name}")
        elif closed:
            faults.append(f"{prefix}{name} is not a field")
    return faults


def by_kind(kinds: Mapping[str, Check], *, name: str = "type", default: str | None = None) -> Check:
    """Return the check of objects that a field tells apart."""

    def check(value: object, where: str) -> list[str]:
        if not isinstance(value, Mapping):
            return [f"{where} must be an object"]
        kind = value.get(name, default)
        inner = kinds.get(kind) if isinstance(kind, str) else None
        if inner is None:
            return [f"{where}.{name} must be one of {', '.join(kinds)}"]
        return inner(value, where)

    return check
