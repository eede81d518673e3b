"""What was seen of an answer that has not ended: the most that it can have cost by then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from costs.core.usage import Usage
from gateway.core.kept import GivenId

# Output that the provider had produced and that had not arrived when its connection was closed:
# seconds at the model's fastest known rate, besides one more event as large as the largest.
ON_ITS_WAY_S: Final = 0.1
# After a disconnect, what has already arrived from the provider is read: until, in a time of
# ARRIVED_S, this process was not late and no more events came than a model can have produced.
ARRIVED_S: Final = 0.05
ARRIVED_MAX_S: Final = 3.0
ARRIVED_EVENTS: Final = 20
LATE_S: Final = 0.02
# Of each kind of output of a stream; what is beyond counts one token for each byte. The first bytes
# are free, more are counted as the caller's memory, as its request bodies are.
TEXT_FREE_BYTES: Final = 16 * 1024
TEXT_KEPT_BYTES: Final = 128 * 1024

# Takes bytes of the caller's memory until its call ends, or returns False without room.
TakeMemory = Callable[[int], bool]


def no_memory(_n_bytes: int) -> bool:
    """Take no memory."""
    return False


def all_text(value: object, without: Collection[str] = ()) -> str:
    """Return all strings in a JSON value, at any depth, but for those of the fields `without`."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, list):
            waiting.extend(reversed(each))
        elif isinstance(each, dict):
            waiting.extend([each[name] for name in reversed(each) if name not in without])
    return "".join(found)


@dataclass(slots=True, eq=False)
class SeenText:
    """The text of one kind of output: a token covers at least one byte, an event has at least one.

    `beyond_bytes` are those that are not kept; `take` is asked once for memory for more.
    """

    kept: bytearray = field(default_factory=bytearray)
    beyond_bytes: int = 0
    events: int = 0
    largest_bytes: int = 0
    take: TakeMemory = no_memory
    _room_bytes: int = TEXT_FREE_BYTES

    def add(self, text: str) -> None:
        """Add the text of one event, if it has any."""
        if not text:
            return
        added = text.encode(errors="replace")
        size = len(added)
        self.events += 1
        if size > self.largest_bytes:
            self.largest_bytes = size
        if len(self.kept) + size <= self._room_bytes or self._grows_for(size):
            self.kept += added
        else:
            self.beyond_bytes += size

    def _grows_for(self, size: int) -> bool:
        """Return whether a text of this size can be kept with all memory that there may be."""
        take, self.take = self.take, no_memory
        if take(TEXT_KEPT_BYTES - self._room_bytes):
            self._room_bytes = TEXT_KEPT_BYTES
        return len(self.kept) + size <= self._room_bytes

    def tokens_at_most(self, counted: int) -> int:
        """Return the tokens of the text, of which those kept are `counted` by a tokenizer."""
        return min(len(self.kept), max(self.events, counted)) + self.beyond_bytes

    def event_tokens(self, counted: int) -> int:
        """Return the tokens of an event as large as the largest."""
        size = len(self.kept) + self.beyond_bytes
        return ceil(self.largest_bytes * self.tokens_at_most(counted) / size) if size else 0


@dataclass(slots=True, eq=False)
class SeenOutput:
    """The output that was seen of one streamed answer of `choices`. Instants are monotonic.

    Some output is not shown as it is produced. What is `hidden` while a block or item of it is
    open (thinking, of which at most a summary is shown) can be any number of tokens, as fast as
    the model is. What comes `in_bursts` (a tool's arguments) is shown a while later.
    Where the provider `shows_tools`, its own searches and other `tool_uses` are counted as they
    begin. `usage` is what the provider reported last: it `is_final` if all choices had ended;
    where it reports again and again, what was seen `is_counted` by it. `given` are the ids that
    were seen, and that are not known yet.

    The gateway may end a stream that `is_sliced`: its hold grows with it. What it has not read of
    one while its client `is_behind` is unknown, as where output comes in bursts. Of a stream that
    `is_unread`, more had arrived than was read: it may have been produced all the time.
    """

    choices: int = 1
    seen_s: float = 0.0
    events: int = 0
    shows_tools: bool = False
    is_counted: bool = False
    is_final: bool = False
    in_bursts: bool = False
    is_sliced: bool = False
    is_behind: bool = False
    is_unread: bool = False
    searches: int = 0
    tool_uses: int = 0
    text: SeenText = field(default_factory=SeenText)
    thoughts: SeenText = field(default_factory=SeenText)
    usage: Usage | None = None
    given: list[GivenId] = field(default_factory=list)
    _begun: set[str] = field(default_factory=set)
    _ended: set[str] = field(default_factory=set)
    _sent_s: float = 0.0
    _before_s: float = 0.0
    _hidden_since_s: float | None = None
    _hidden_s: float = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether anything arrived."""
        return self.events > 0

    @property
    def has_ended(self) -> bool:
        """Whether the output of every choice is complete."""
        return len(self._ended) >= self.choices

    def send(self, now_s: float, *, choices: int = 1, take: TakeMemory = no_memory) -> None:
        """Record that the request is sent. Memory for long text is requested with `take`."""
        self.choices = choices
        self.text.take = self.thoughts.take = take
        self.seen_s = self._before_s = self._sent_s = now_s

    def arrive(self, now_s: float) -> None:
        """Record that an event arrived."""
        self.events += 1
        self._before_s, self.seen_s = self.seen_s, now_s

    def hide(self, is_hidden: bool) -> None:
        """Record that hidden output begins or ends with the current event."""
        if is_hidden and self._hidden_since_s is None:
            self._hidden_since_s = self._before_s
        elif not is_hidden and self._hidden_since_s is not None:
            self._hidden_s += self.seen_s - self._hidden_since_s
            self._hidden_since_s = None

    def begin(self, choice: object) -> None:
        """Record that a choice shows output: nothing is hidden once all of them do."""
        if self._hidden_since_s is not None:
            self._begun.add(f"{choice}")
            self.hide(len(self._begun) < self.choices)

    def end(self, choice: object = 0) -> None:
        """Record that the output of a choice is complete."""
        self._ended.add(f"{choice}")

    def take_whole(self, usage: Usage, now_s: float) -> None:
        """Record the usage of an answer that came as a whole."""
        self.arrive(now_s)
        self.report(usage)
        for choice in range(self.choices):
            self.end(choice)

    def take_unreported(self, text: str, now_s: float) -> None:
        """Record the text of an answer that came as a whole, without a usage."""
        self.arrive(now_s)
        self.text.add(text)
        for choice in range(self.choices):
            self.end(choice)

    def report(self, usage: Usage | None) -> None:
        """Record that the provider reported the usage so far.

        None is none that is usable, and one of no tokens is none.
        """
        if usage is not None and usage.total_tokens:
            self.is_counted = self.usage is not None
            self.is_final = self.has_ended
            self.usage = usage

    def output_tokens_at_most(
        self, *, text: int, thoughts: int, tokens_per_s: float, now_s: float
    ) -> int:
        """Return the most that can have been produced by `now_s`.

        `text` and `thoughts` are counted by a tokenizer, with its margin. Each of the choices is
        produced as fast as the model is.
        """
        hidden_s = self._hidden_s
        if self._hidden_since_s is not None:
            hidden_s += now_s - self._hidden_since_s
        tokens_per_s *= self.choices
        thought = max(self.thoughts.tokens_at_most(thoughts), _tokens(hidden_s, tokens_per_s))
        seen = self.text.tokens_at_most(text) + thought
        seen = max(seen, self.usage.output_tokens if self.usage else 0)
        if self.has_ended:
            return seen
        silent_s = now_s - self.seen_s if self.in_bursts or self.is_behind else 0.0
        on_its_way = _tokens(ON_ITS_WAY_S + silent_s, tokens_per_s)
        produced = seen + on_its_way + self.text.event_tokens(text)
        if self.is_unread:
            produced = max(produced, _tokens(now_s - self._sent_s, tokens_per_s))
        return produced


async def arrived(seen: SeenOutput, *, events_max: float = ARRIVED_EVENTS) -> None:
    """Return when what had arrived from the provider is read, or ARRIVED_MAX_S is over.

    More than `events_max` in ARRIVED_S had arrived before.
    """
    end_s = time.monotonic() + ARRIVED_MAX_S
    is_late, before = True, 0
    while (is_late or seen.events - before > events_max) and time.monotonic() < end_s:
        before, due_s = seen.events, time.monotonic() + ARRIVED_S
        await asyncio.sleep(ARRIVED_S)
        is_late = time.monotonic() - due_s > LATE_S
    seen.is_unread = is_late or seen.events - before > events_max


def _tokens(seconds: float, tokens_per_s: float) -> int:
    return ceil(round(seconds * tokens_per_s, 3))
