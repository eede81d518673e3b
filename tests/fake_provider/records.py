"""The calls that the fake provider received, in memory and, before it answers, on disk."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fake_provider.behaviour import Behaviour


@dataclass(slots=True, kw_only=True)
class Call:
    """One received request. `billed` is what its caller owes, None when nothing.

    `raw` is the body as it came, bytes that are no UTF-8 as surrogates. Of what was answered:
    how many writes (a stream's events) and bytes, and their SHA-256; of a stream, how many tokens
    of output had been written or thought.
    Instants are seconds since the epoch. `disconnected_at` is when the client was seen to have
    gone before the answer was complete; `answered_at` when the answer was.
    """

    vendor: str
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    client_port: int
    received_at: float = field(default_factory=time.time)
    raw: str = ""
    billed: dict[str, Any] | None = None
    sent_pieces: int = 0
    sent_bytes: int = 0
    sent_sha256: str = ""
    written_tokens: int = 0
    answered_at: float | None = None
    disconnected_at: float | None = None


class Records:
    """The calls so far and the behaviours to come; safe to use from any thread."""

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._queue: list[Behaviour] = []
        self.is_released = False
        self._file = file

    @property
    def calls(self) -> list[Call]:
        """Every call so far, oldest first."""
        with self._lock:
            return list(self._calls)

    def containing(self, text: str) -> list[Call]:
        """Return every call so far with this text in its body."""
        return [call for call in self.calls if text in call.raw]

    def add(self, call: Call) -> None:
        """Record a call."""
        with self._lock:
            self._calls.append(call)

    def queue(self, behaviour: Behaviour) -> None:
        """Queue behaviours for the next calls."""
        with self._lock:
            self._queue.append(behaviour)

    def take(self, vendor: str, body: str | None) -> Behaviour | None:
        """Return the behaviour of the next call to `vendor`, the first that fits.

        Without a body, None where one must be read to decide.
        """
        with self._lock:
            for place, behaviour in enumerate(self._queue):
                if behaviour.vendor not in (None, vendor):
                    continue
                if body is None and behaviour.when:
                    return None
                if all(text in (body or "") for text in behaviour.when):
                    self._use(place, behaviour)
                    return behaviour
        return Behaviour()

    def reset(self) -> None:
        """Clear calls and behaviours; the file on disk is kept."""
        with self._lock:
            self._calls.clear()
            self._queue.clear()
            self.is_released = False

    def write(self, call: Call) -> None:
        """Append the call to the file and wait for the disk; nothing without a file."""
        if self._file is None:
            return
        line = json.dumps(asdict(call)) + "\n"
        with self._lock, self._file.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def write_output(self, call: Call) -> None:
        """Append what a stream had written, when its client left, to a file of its own."""
        if self._file is None or call.disconnected_at is None:
            return
        line = json.dumps(asdict(call))
        with self._lock, self._file.with_suffix(".written").open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _use(self, place: int, behaviour: Behaviour) -> None:
        if behaviour.times == 1:
            del self._queue[place]
        elif behaviour.times > 1:
            self._queue[place] = behaviour.once_less()


def as_json(calls: list[Call]) -> list[Mapping[str, Any]]:
    """Return the calls for `GET /_calls`."""
    return [asdict(call) for call in calls]
