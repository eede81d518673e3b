"""What was seen of an answer that has not ended: the most that it can have cost by then."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from costs.core.usage import Usage

# Output that the provider had produced and that had not arrived when its connection was closed:
# seconds at the model's fastest known rate, besides one more event as large as the largest.
ON_ITS_WAY_S: Final = 0.1
# Of each stream; what is beyond counts one token for each byte.
TEXT_KEPT_BYTES: Final = 128 * 1024


def texts_of(value: object, without: Collection[str] = ()) -> Iterator[str]:
    """Yield every string in a JSON value, at any depth, but for those of the fields `without`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each, without)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in without:
                yield from texts_of(each, without)


@dataclass(slots=True, eq=False)
class SeenText:
    """The text of one kind of output: a token covers at least one byte, an event has at least one.

    `beyond_bytes` are those that are not kept.
    """

    kept: bytearray = field(default_factory=bytearray)
    beyond_bytes: int = 0
    events: int = 0
    largest_bytes: int = 0

    def add(self, text: str) -> None:
        """Add the text of one event, if it has any."""
        if not text:
            return
        added = text.encode(errors="replace")
        size = len(added)
        self.events += 1
        if size > self.largest_bytes:
            self.largest_bytes = size
        if len(self.kept) + size <= TEXT_KEPT_BYTES:
            self.kept += added
        else:
            self.beyond_bytes += size

    def tokens_at_most(self, counted: int) -> int:
        """Return the tokens of the text, of which those kept are `counted` by a tokenizer."""
        return min(len(self.kept), max(self.events, counted)) + self.beyond_bytes

    def event_tokens(self, counted: int) -> int:
        """Return the tokens of an event as large as the largest."""
        size = len(self.kept) + self.beyond_bytes
        return ceil(self.largest_bytes * self.tokens_at_most(counted) / size) if size else 0


@dataclass(slots=True, eq=False)
class SeenOutput:
    """The output that was seen of one streamed answer. Instants are on the monotonic clock.

    Some output is not shown as it is produced. What is `hidden` while a block or item of it is
    open (thinking, of which at most a summary is shown) can be any number of tokens, as fast as
    the model is. What comes `in_bursts` (a tool's arguments) is shown a while later.
    Where the provider `shows_tools`, its own searches and other `tool_uses` are counted as they
    begin. `usage` is what the provider reported last; where it reports again and again, what was
    seen `is_counted` by it.
    """

    sent_s: float = 0.0
    seen_s: float = 0.0
    events: int = 0
    has_ended: bool = False
    shows_tools: bool = False
    is_counted: bool = False
    in_bursts: bool = False
    searches: int = 0
    tool_uses: int = 0
    text: SeenText = field(default_factory=SeenText)
    thoughts: SeenText = field(default_factory=SeenText)
    usage: Usage | None = None
    _before_s: float = 0.0
    _hidden_since_s: float | None = None
    _hidden_s: float = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether anything arrived."""
        return self.events > 0

    def send(self, now_s: float) -> None:
        """Record that the request is sent."""
        self.sent_s = self.seen_s = self._before_s = now_s

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

    def take_whole(self, usage: Usage, now_s: float) -> None:
        """Record the usage of an answer that came as a whole."""
        self.arrive(now_s)
        self.report(usage)
        self.has_ended = True

    def report(self, usage: Usage | None) -> None:
        """Record that the provider reported the usage so far; None is none that is usable."""
        if usage is not None:
            self.is_counted = self.usage is not None
            self.usage = usage

    def output_tokens_at_most(
        self, *, text: int, thoughts: int, tokens_per_s: float, choices: int, now_s: float
    ) -> int:
        """Return the most that can have been produced by `now_s`.

        `text` and `thoughts` are counted by a tokenizer, with its margin.
        """
        hidden_s = self._hidden_s
        if self._hidden_since_s is not None:
            hidden_s += now_s - self._hidden_since_s
        thought = max(self.thoughts.tokens_at_most(thoughts), _tokens(hidden_s, tokens_per_s))
        seen = self.text.tokens_at_most(text) + thought
        seen = max(seen, self.usage.output_tokens if self.usage else 0)
        if self.has_ended and choices == 1:
            return seen
        silent_s = now_s - self.seen_s if self.in_bursts else 0.0
        on_its_way = _tokens(ON_ITS_WAY_S * choices + silent_s, tokens_per_s)
        return seen + on_its_way + self.text.event_tokens(text)


def _tokens(seconds: float, tokens_per_s: float) -> int:
    return ceil(round(seconds * tokens_per_s, 3))
