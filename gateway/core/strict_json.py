"""Strict JSON parsing: bodies that every reader understands the same way."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

DEPTH_MAX: Final = 64
QUOTED_MAX_CHARS: Final = 100


class NotStrictJson(ValueError):
    """The text is not JSON, or is ambiguous JSON."""


def loads(body: bytes) -> Any:
    """Return the value. Raises NotStrictJson with a sentence.

    Rejected: duplicate keys, NaN and infinities, numbers too large, nesting over 64, text that is
    not UTF-8.
    """
    try:
        value = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise NotStrictJson("The body must be UTF-8") from exc
    except RecursionError as exc:
        raise NotStrictJson(f"The body must not be nested deeper than {DEPTH_MAX} levels") from exc
    except json.JSONDecodeError as exc:
        raise NotStrictJson(f"The body must be valid JSON: {exc}") from exc
    except NotStrictJson:
        raise
    except ValueError as exc:  # an integer of more digits than Python reads
        raise NotStrictJson("The body contains a number that is too large") from exc
    if _depth_exceeds(value, DEPTH_MAX):
        raise NotStrictJson(f"The body must not be nested deeper than {DEPTH_MAX} levels")
    return value


def quoted(name: str) -> str:
    """Return a name from a body quoted for a sentence: short, printable, storable as text."""
    shown = name[:QUOTED_MAX_CHARS].encode(errors="replace").decode()
    return f'"{shown}"' if shown.isprintable() else ascii(shown)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotStrictJson(f"The body contains the key {quoted(repeated)} twice")
    return found


def _constant(name: str) -> NoReturn:
    raise NotStrictJson(f"The body contains {name}, which is not valid JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotStrictJson("The body contains a number that is too large")
    return value


# Made once: `json.loads` makes one at every call with arguments.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
)


def _depth_exceeds(value: Any, left: int) -> bool:
    """Whether containers nest deeper than `left`; looks one level at a time, never recursing."""
    level = [value]
    while level:
        containers = [each for each in level if isinstance(each, (dict, list))]
        if containers and left == 0:
            return True
        left -= 1
        level = [
            child
            for each in containers
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, (dict, list))
        ]
    return False
