"""Read usage from relayed server-sent events; events are re-encoded only if they must change.

Only complete events are passed on, so that an error of ours can follow the last one; a client
cannot use an incomplete event anyway. Only relevant events are parsed: the model, the finish
reason, the usage. Measured: 1.3 us for a chunk that needs no parsing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import orjson

from gateway.core.calls import Completion, Hide
from gateway.core.errors import Broken
from gateway.upstream.untrusted_json import ErrorAnswer

# Above any valid event; the largest ones repeat a whole answer.
EVENT_MAX_BYTES: Final = 32 * 1024 * 1024
_END: Final = re.compile(rb"\r?\n\r?\n")
DONE: Final = b"[DONE]"


class StreamReader(Protocol):
    """Parses a vendor's decoded events."""

    def feed(self, event: object) -> object:
        """Parse one event. Raises ErrorAnswer for one that is an error."""
        ...

    def completion(self) -> Completion:
        """Return the answer so far."""
        ...


class Read(Protocol):
    """The part of a stream read so far."""

    def completion(self) -> Completion:
        """Return the answer so far. Raises ErrorAnswer if it was an error."""
        ...


def is_answer(read: Read) -> bool:
    """Whether the stream is an answer; anything else ends with an error of ours."""
    try:
        completion = read.completion()
    except ErrorAnswer:
        return False
    return completion.finish_reason is not None or completion.usage is not None


def _unchanged(chunk: bytes) -> bytes:
    return chunk


def _kept(event: bytes, _value: object) -> bytes:
    return event


@dataclass(slots=True, eq=False)
class EventReading:
    """A StreamReading of server-sent events.

    `telling` matches the events that are parsed; the first one always is. `ends` matches the last.
    `hide` removes keys and accounts from an error. `plain` returns what the client gets of unparsed
    events, `shown` of a parsed one. `counting` is
    contained in events that each replace the previous one: the last one is kept, and parsed when
    the stream has ended.
    """

    reading: StreamReader
    telling: re.Pattern[bytes]
    ends: re.Pattern[bytes]
    hide: Hide
    plain: Callable[[bytes], bytes] = _unchanged
    shown: Callable[[bytes, object], bytes] = _kept
    counting: bytes | None = None
    _has_begun: bool = False
    _is_ended: bool = False
    _half: bytearray = field(default_factory=bytearray)
    _last: bytes = b""
    _error: ErrorAnswer | None = field(default=None)

    @property
    def is_ended(self) -> bool:
        """Whether the last event was received."""
        return self._is_ended

    def take(self, chunk: bytes) -> bytes:
        """Read a chunk and return its complete events, without what the client did not request."""
        if self._half:
            self._half += chunk
            if not _has_end(self._half[-len(chunk) - 3 :]):
                self._check_half()
                return b""
            chunk = bytes(self._half)
            self._half.clear()
        if not chunk.endswith(b"\n\n"):
            chunk = self._without_half(chunk)
        if self._has_begun and self.telling.search(chunk) is None:
            self._keep(chunk)
            return self.plain(chunk) if chunk else chunk
        return b"".join(self._read(event) for event in _events(chunk))

    def rest(self) -> bytes:
        """Return what followed the last complete event: some servers end without a blank line.

        If the stream is not an answer, an error of ours follows, which an incomplete event would
        absorb.
        """
        half = bytes(self._half)
        self._half.clear()
        if not half.strip():
            return b""
        passed = self._read(half)
        return passed if is_answer(self) else b""

    def completion(self) -> Completion:
        """Return the answer so far. Raises ErrorAnswer if it was an error."""
        for event in reversed([*_events(self._last)]):
            if self.counting is not None and self.counting in event:
                self._feed(_value_of(event))
                break
        self._last = b""
        if self._error is not None:
            raise self._error
        return self.reading.completion()

    def _keep(self, chunk: bytes) -> None:
        if self.counting is not None and self.counting in chunk:
            self._last = chunk

    def _without_half(self, chunk: bytes) -> bytes:
        cut = max(chunk.rfind(b"\n\n") + 2, chunk.rfind(b"\n\r\n") + 3)
        cut = cut if cut > 2 else 0
        self._half += chunk[cut:]
        self._check_half()
        return chunk[:cut]

    def _check_half(self) -> None:
        if len(self._half) > EVENT_MAX_BYTES:
            raise Broken("The provider sent an event that is too large")

    def _read(self, event: bytes) -> bytes:
        if self.ends.search(event) is not None:
            self._is_ended = True
        if self._has_begun and self.telling.search(event) is None:
            self._keep(event)
            return self.plain(event)
        value = _value_of(event)
        if value is None:  # a comment, a ping, [DONE]
            return event
        self._has_begun = True
        if self.counting is not None and self.counting in event:
            self._last = b""
        self._feed(value)
        if self._error is not None:
            return rewritten(event, value, self.hide(value))
        return self.shown(event, value)

    def _feed(self, value: object) -> None:
        try:
            self.reading.feed(value)
        except ErrorAnswer as exc:
            self._error = exc


def _has_end(chunk: bytearray) -> bool:
    return b"\n\n" in chunk or b"\n\r\n" in chunk


def _events(chunk: bytes) -> Iterator[bytes]:
    start = 0
    for end in _END.finditer(chunk):
        yield chunk[start : end.end()]
        start = end.end()
    if start < len(chunk):
        yield chunk[start:]


def rewritten(event: bytes, value: object, shown: object) -> bytes:
    """Return an event with `shown` in place of its `value`; the same bytes if they are equal."""
    if shown == value:
        return event
    named = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join([*named, b"data: " + orjson.dumps(shown)]) + b"\n\n"


def _value_of(event: bytes) -> object:
    """Return the JSON of an event's data lines, or None if it has none."""
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    try:
        return orjson.loads(b"\n".join(lines)) if lines else None
    except orjson.JSONDecodeError:
        return None
