"""Strict JSON parsing: bodies that every reader understands the same way.

Values are counted before they are built: a value takes 2 bytes of a body and up to 200 of memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from orgs.core.values import QUOTED_MAX_CHARS, quoted

DEPTH_MAX: Final = 64
VALUES_MAX: Final = 200_000
# Of an integer: reading it takes time by their square.
DIGITS_MAX: Final = 640
# Of an integer: what JSON writers and databases can write again.
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
DIGITS_IN_ANY_CASE: Final = 18
COUNTED_AT_ONCE_BYTES: Final = 64 * 1024
_WHITESPACE: Final = b" \t\r\n"


class NotStrictJson(ValueError):
    """The text is not JSON, or is ambiguous JSON."""


class _Above64Bits(ValueError):
    """The text has an integer above 64 bits."""


class TooManyValues(NotStrictJson):
    """The text has more than VALUES_MAX values: every object, list, string, number and so on."""


def loads(body: bytes) -> Any:
    """Return the value. Raises NotStrictJson with a sentence.

    Rejected: too many values, duplicate keys, NaN and infinities, numbers too large, integers above
    64 bits (by their place), nesting over 64, text that is not UTF-8.
    """
    if values_at_most(body) > VALUES_MAX and count_values(body) > VALUES_MAX:
        raise TooManyValues(f"The body must have at most {VALUES_MAX} JSON values")
    try:
        value = _decoded(body.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise NotStrictJson("The body must be UTF-8") from exc
    except RecursionError as exc:
        raise NotStrictJson(f"The body must not be nested deeper than {DEPTH_MAX} levels") from exc
    except json.JSONDecodeError as exc:
        raise NotStrictJson(f"The body must be valid JSON: {exc}") from exc
    except NotStrictJson:
        raise
    if _depth_exceeds(value, DEPTH_MAX):
        raise NotStrictJson(f"The body must not be nested deeper than {DEPTH_MAX} levels")
    return value


def place_of(value: Any, is_found: Callable[[Any], bool], where: str = "") -> str | None:
    """Return the place of the first matching value or key, such as `messages[0].content`.

    For values that are not nested deeper than DEPTH_MAX.
    """
    if is_found(value):
        return where or "The body"
    pairs: Iterable[tuple[int | str, Any]] = enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, dict):
        odd = next(filter(is_found, value), None)
        if odd is not None:
            return f"The name {quoted(odd)}"
        pairs = value.items()
    for step, each in pairs:
        at = f"{where}[{step}]" if isinstance(step, int) else f"{where}.{shown(step)}".lstrip(".")
        if (found := place_of(each, is_found, at)) is not None:
            return found
    return None


def values_at_most(body: bytes) -> int:
    """Return a number that the values do not exceed, in 1 ns a byte: strings count as structure."""
    return 1 + len(body) - len(body.translate(None, b",[{"))


def count_values(body: bytes, *, at_once_bytes: int = COUNTED_AT_ONCE_BYTES) -> int:
    """Return the number of values of valid JSON, or of its start with more than VALUES_MAX.

    Each comma outside of strings separates two values, and each list or object that is not empty
    has one more than its commas. Read in pieces, between which other threads have their turn.
    """
    values, last, is_in_string, start = 1, b"", False, 0
    while start < len(body) and values <= VALUES_MAX:
        piece = body[start : start + at_once_bytes]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # an escape that the cut would halve
            piece = body[start : start + at_once_bytes + 1]
        start += len(piece)
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b'"'.join(parts[is_in_string::2]).translate(None, _WHITESPACE)
        is_in_string ^= not len(parts) % 2
        if is_in_string:
            outside += b'"'
        values += len(outside) - len(outside.translate(None, b",[{"))
        outside = last + outside
        values -= outside.count(b"[]") + outside.count(b"{}")
        last = outside[-1:] if outside[-1:] in (b"[", b"{") else b""
    return values


def shown(name: str) -> str:
    """Return a name from a body as part of a path: quoted if it could be confused with a path."""
    return name if name.isidentifier() and len(name) <= QUOTED_MAX_CHARS else quoted(name)


def _decoded(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except _Above64Bits:
        value = _TOLERANT.decode(text)
    if _depth_exceeds(value, DEPTH_MAX):
        return value
    place = place_of(value, lambda each: isinstance(each, int) and not _is_64_bits(each))
    raise NotStrictJson(f"{place} must fit in 64 bits")


def _is_64_bits(value: int) -> bool:
    return INTEGER_MIN <= value <= INTEGER_MAX


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotStrictJson(f"The body contains the key {quoted(repeated)} twice")
    return found


def _constant(name: str) -> NoReturn:
    raise NotStrictJson(f"The body contains {name}, which is not valid JSON")


def _int(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise NotStrictJson("The body contains a number that is too large")
    return int(text)


def _int_of_64_bits(text: str) -> int:
    if len(text) <= DIGITS_IN_ANY_CASE:
        return int(text)
    value = _int(text)
    if not _is_64_bits(value):
        raise _Above64Bits
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotStrictJson("The body contains a number that is too large")
    return value


def _decoder(parse_int: Callable[[str], int]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_object,
        parse_constant=_constant,
        parse_float=_float,
        parse_int=parse_int,
    )


# Made once: `json.loads` makes one at every call with arguments.
_DECODER: Final = _decoder(_int_of_64_bits)
# To name the place of an integer that the other one rejects.
_TOLERANT: Final = _decoder(_int)


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
