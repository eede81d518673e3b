"""End a relayed stream in its vendor's own format, where its hold cannot grow with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from gateway.upstream import untrusted_json

Value = Mapping[str, Any]


class StreamEnding(Protocol):
    """Follows a stream, and ends it after any of its events as at its output cap.

    `after` is what follows the last event.
    """

    after: bytes

    def follow(self, event: Value) -> None:
        """Read one event that is passed on."""
        ...

    def events(self, *, input_tokens: int, output_tokens: int) -> list[Value]:
        """Return what is missing up to the end. The tokens are the most that there can be."""
        ...


def as_event(value: Value) -> bytes:
    """Return an event of server-sent events, named by its type if it has one."""
    kind = untrusted_json.word(value.get("type"))
    name = b"event: %b\n" % kind.encode() if kind else b""
    return name + b"data: %b\n\n" % orjson.dumps(value)
