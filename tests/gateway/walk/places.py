"""Generate the wrong forms of a JSON body: each place, at any depth, with each wrong value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

Place = tuple[str | int, ...]


def nested(depth: int) -> Any:
    """Return lists and objects in one another."""
    value: Any = "x"
    for level in range(depth):
        value = [value] if level % 2 else {"type": value}
    return value


WRONG: Final[dict[str, Any]] = {
    "null": None,
    "true": True,
    "false": False,
    "0": 0,
    "5": 5,
    "-1": -1,
    "1.5": 1.5,
    "1e308": 1e308,
    "2**64 - 1": 2**64 - 1,
    "2**64": 2**64,
    "-2**64": -(2**64),
    "2**70": 2**70,
    "empty text": "",
    "x": "x",
    "half a pair": "\ud800",
    "NUL": "\0",
    "[]": [],
    "[null]": [None],
    "[5]": [5],
    "[[]]": [[]],
    "[{}]": [{}],
    "['x', 'y']": ["x", "y"],
    "{}": {},
    "{'type': []}": {"type": []},
    "{'type': {}}": {"type": {}},
    "{'type': 5}": {"type": 5},
    "{'type': 2**64}": {"type": 2**64},
    "{'x': 'half a pair'}": {"x": "\ud800"},
    "{'half a pair': 1}": {"\ud800": 1},
    "long text": "long " * 1000,
    "nested": nested(40),
    "nested too deep": nested(70),
}
# Added to every object, under a name that no API has.
UNKNOWN: Final[dict[str, Any]] = {
    "unknown": {"more": [{"unknown": {"type": []}}, None, 1.5]},
    "un_known": 2**70,
    "\ud800": {"\ud800": ["\ud800"]},
    "\0": 1,
}


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the place of the value itself and of everything within it."""
    yield at
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places(each, (*at, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, (*at, index))


def at_place(value: Any, place: Place) -> Any:
    """Return what is at a place."""
    for step in place:
        value = value[step]
    return value


def replaced(value: Any, place: Place, by: Any) -> Any:
    """Return a copy with another value at a place."""
    if not place:
        return by
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], by)
    return copy


def without(value: Any, place: Place) -> Any:
    """Return a copy without a place."""
    copy = at_place(value, place[:-1]).copy()
    del copy[place[-1]]
    return replaced(value, place[:-1], copy)


def wrong_forms(body: Any, *, place: Place) -> Iterator[tuple[str, bytes]]:
    """Yield the wrong forms of a body at one place, each with a name for messages."""
    where = "/".join(map(str, place)) or "the body"
    for name, value in WRONG.items():
        yield f"{where} = {name}", encoded(replaced(body, place, value))
    if place:
        yield f"{where} omitted", encoded(without(body, place))
    found = at_place(body, place)
    if isinstance(found, list):
        yield f"{where} twice", encoded(replaced(body, place, found * 2))
    if isinstance(found, dict):
        for name, value in UNKNOWN.items():
            longer = {**found, name: value}
            yield f"{where} with {name!a}", encoded(replaced(body, place, longer))


def encoded(value: Any) -> bytes:
    """Return JSON, in which half of a surrogate pair is an escape."""
    return json.dumps(value).encode()
