"""Read usage from a relayed JSON array: Google's other stream format.

Only complete elements are passed on, and the closing bracket at the end, so that an error of ours
can follow as one more element.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import orjson

from gateway.apis.events import EVENT_MAX_BYTES, ValueReading, is_answer
from gateway.core.errors import Broken

# The characters that change the JSON nesting level. Outside of strings, whole strings are skipped.
# No string can be split in two ways, so an unterminated one is scanned twice at most. Groups are
# not possessive: before 3.11.5 Python handles those incorrectly (python/cpython#106052).
_OUTSIDE: Final = re.compile(
    rb"""(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*")*(["{}\[\]])""", re.DOTALL
)
_INSIDE: Final = re.compile(rb"""[^"\\]*+(["\\])""")
_BETWEEN_ELEMENTS: Final = b"[, \t\r\n"


@dataclass(slots=True, eq=False)
class ArrayReading(ValueReading):
    """A StreamReading of the elements of one array."""

    # Received bytes that are not passed on yet, and how far they are scanned.
    _held: bytearray = field(default_factory=bytearray)
    _place: int = 0
    _depth: int = 0
    _is_in_text: bool = False
    _is_array: bool = False
    _is_closed: bool = False

    def take(self, chunk: bytes) -> bytes:
        """Read a chunk and return its complete elements, with what is between them."""
        self._held += chunk
        passed = 0
        elements: list[bytes] = []
        while (end := self._next_end()) is not None:
            elements.append(self._read(bytes(self._held[passed:end])))
            passed = end
        if len(self._held) - passed > EVENT_MAX_BYTES:
            raise Broken("The provider sent an element that is too large")
        del self._held[:passed]
        self._place -= passed
        return b"".join(elements)

    def rest(self) -> bytes:
        """Return the end of the array; empty if an error of ours must end it."""
        if not is_answer(self):
            return b""
        rest = bytes(self._held) if self._is_closed else b"]"
        self._held.clear()
        return rest

    def cut(self, *, input_tokens: int, output_tokens: int) -> bytes:
        """Return the end of an array that the gateway ends here, after one of its elements."""
        if self.ending is None:
            return b""
        events = self.ending.events(input_tokens=input_tokens, output_tokens=output_tokens)
        return b"".join(b",\r\n" + orjson.dumps(event) for event in events) + b"]"

    def _next_end(self) -> int | None:
        """Return where the next complete element ends, or None until more is received."""
        while not self._is_closed:
            pattern = _INSIDE if self._is_in_text else _OUTSIDE
            found = pattern.match(self._held, self._place)
            if found is None:
                self._place = max(self._place, len(self._held))
                return None
            self._place = found.end()
            if self._moves(found[1]):
                return self._place
        return None

    def _moves(self, sign: bytes) -> bool:
        """Update the position for `sign`; return whether an element of the array ends there."""
        if sign == b'"':
            self._is_in_text = not self._is_in_text
        elif sign == b"\\":
            self._place += 1  # past the escaped character, which may not be received yet
        elif sign in b"{[":
            self._is_array = self._is_array or (self._depth == 0 and sign == b"[")
            self._depth += 1
        else:
            self._depth -= 1
            self._is_closed = self._depth <= 0
            if self._is_closed and not self._is_array:
                self._read(bytes(self._held[: self._place]))  # an error is not in an array
            return self._is_array and self._depth == 1 and sign == b"}"
        return False

    def _read(self, element: bytes) -> bytes:
        """Read an element and return what is passed on of it."""
        value = _value_of(element)
        self._note(element, value)
        return element if value is None or self._error is None else self._hidden(element)

    def _hidden(self, element: bytes) -> bytes:
        """Return an error without keys and accounts; unchanged if it has none."""
        text = element.lstrip(_BETWEEN_ELEMENTS)
        value = orjson.loads(text)
        shown = self.hide(value)
        return element if shown == value else element[: -len(text)] + orjson.dumps(shown)


def _value_of(element: bytes) -> object:
    try:
        return orjson.loads(element.lstrip(_BETWEEN_ELEMENTS))
    except orjson.JSONDecodeError:
        return None
