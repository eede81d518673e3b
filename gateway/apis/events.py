"""Read usage from relayed server-sent events; events are re-encoded only if they must change.

Only complete events and comments are passed on, so that an error of ours can follow the last one;
a client cannot use an incomplete event anyway.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import orjson

from gateway.apis.endings import StreamEnding, as_event
from gateway.core.calls import Completion, Hide
from gateway.core.errors import Broken
from gateway.core.seen import SeenOutput
from gateway.upstream.untrusted_json import ErrorAnswer

# Above any valid event; the largest ones repeat a whole answer.
EVENT_MAX_BYTES: Final = 32 * 1024 * 1024
_END: Final = re.compile(rb"\n\r?\n")
# Before an event: some servers send them alone, to say that they are alive.
_COMMENTS: Final = re.compile(rb"(?::[^\n]*\n)*")
DONE: Final = b"[DONE]"


class StreamReader(Protocol):
    """Parses a vendor's decoded events."""

    def feed(self, event: object) -> object:
        """Parse one event. Raises ErrorAnswer for one that is an error."""
        ...

    def see(self, event: object, seen: SeenOutput) -> None:
        """Record the output that one event shows."""
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
    """Whether the stream is an answer so far; anything else ends with an error of ours."""
    try:
        completion = read.completion()
    except ErrorAnswer:
        return False
    return completion.finish_reason is not None


@dataclass(slots=True, eq=False)
class ValueReading:
    """What the JSON values of a stream say: the output and the answer so far.

    Of each value the output is recorded in `seen`; those that `telling` matches are read further,
    and the first one. `hide` removes keys and accounts from an error. `ending` follows a stream
    that the gateway may have to end.
    """

    reading: StreamReader
    telling: re.Pattern[bytes]
    hide: Hide
    seen: SeenOutput
    ending: StreamEnding | None = None
    _has_begun: bool = False
    _error: ErrorAnswer | None = None

    def completion(self) -> Completion:
        """Return the answer so far. Raises ErrorAnswer if it was an error."""
        if self._error is not None:
            raise self._error
        return self.reading.completion()

    def _note(self, raw: bytes, value: object) -> None:
        """Read one value; None is something else, such as a comment, a ping, [DONE]."""
        if value is not None:
            self.seen.arrive(time.monotonic())
            self.reading.see(value, self.seen)
            if self.ending is not None and isinstance(value, dict):
                self.ending.follow(value)
        if self._has_begun and self.telling.search(raw) is None:
            return
        if value is not None:
            self._has_begun = True
            try:
                self.reading.feed(value)
            except ErrorAnswer as exc:
                self._error = exc


def _kept(event: bytes, _value: object) -> bytes:
    return event


@dataclass(slots=True, eq=False)
class EventReading(ValueReading):
    """A StreamReading of server-sent events. `shown` returns what the client gets of one."""

    shown: Callable[[bytes, object], bytes] = _kept
    _half: bytearray = field(default_factory=bytearray)

    def take(self, chunk: bytes) -> bytes:
        """Read a chunk and return its complete events, without what the client did not request."""
        if self._half:
            self._half += chunk
            ends_comment = self._half.startswith(b":") and b"\n" in chunk
            if not (ends_comment or _has_end(self._half[-len(chunk) - 3 :])):
                self._check_half()
                return b""
            chunk = bytes(self._half)
            self._half.clear()
        if not chunk.endswith(b"\n\n"):
            chunk = self._without_half(chunk)
        return b"".join(map(self._read, _events(chunk)))

    def rest(self) -> bytes:
        """Return what followed the last complete event: some servers end without a blank line.

        If the stream is not an answer, an error of ours follows, which an incomplete event would
        absorb. One without a value is not complete: the connection broke in it.
        """
        half = bytes(self._half)
        self._half.clear()
        if _value_of(half) is None and DONE not in half:
            return b""
        passed = self._read(half)
        return passed if is_answer(self) else b""

    def cut(self, *, input_tokens: int, output_tokens: int) -> bytes:
        """Return the end of a stream that the gateway ends here."""
        if self.ending is None:
            return b""
        events = self.ending.events(input_tokens=input_tokens, output_tokens=output_tokens)
        return b"".join(map(as_event, events)) + self.ending.after

    def _without_half(self, chunk: bytes) -> bytes:
        cut = max(chunk.rfind(b"\n\n") + 2, chunk.rfind(b"\n\r\n") + 3)
        comments = _COMMENTS.match(chunk, cut if cut > 2 else 0)
        cut = comments.end() if comments else 0  # it matches nothing, too
        self._half += chunk[cut:]
        self._check_half()
        return chunk[:cut]

    def _check_half(self) -> None:
        if len(self._half) > EVENT_MAX_BYTES:
            raise Broken("The provider sent an event that is too large")

    def _read(self, event: bytes) -> bytes:
        value = _value_of(event)
        self._note(event, value)
        if value is None:
            # After a stream's last event a client reads no further, and an error of ours follows.
            return b"" if DONE in event and not is_answer(self) else event
        if self._error is not None:
            return rewritten(event, value, self.hide(value))
        return self.shown(event, value)


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


def data_in(chunk: bytes) -> list[bytes]:
    """Return the data of each event; comments have none."""
    found = map(_data_of, _events(chunk))
    return [data for data in found if data and data != DONE]


def _data_of(event: bytes) -> bytes:
    """Return the data lines of an event, joined."""
    if event.startswith(b"data:") and event.find(b"\n", 0, -2) == -1:
        return event[5:].strip()  # nearly all have one line
    lines = event.splitlines()
    return b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))


def _value_of(event: bytes) -> object:
    """Return the JSON of an event's data lines, or None if it has none."""
    try:
        return orjson.loads(_data_of(event))
    except orjson.JSONDecodeError:
        return None
