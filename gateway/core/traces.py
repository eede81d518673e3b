"""Read a decision trace, any part of which may be missing or of another type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """Return the object, empty if it is something else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> Sequence[Mapping[str, Any]]:
    """Return the objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def integer(value: object) -> int | None:
    """Return an integer, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text(value: object) -> str | None:
    """Return a non-empty string, or None."""
    return value if isinstance(value, str) and value else None


def texts(value: object) -> Sequence[str]:
    """Return the non-empty strings of a list."""
    return [each for each in value if text(each)] if isinstance(value, list) else []
