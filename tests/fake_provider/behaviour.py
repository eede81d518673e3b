"""The fake provider's answer to one call: correct by default, or faulty in one of many ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self

VENDORS: Final = ("openai", "anthropic", "google", "mistral")
FOREVER: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The behaviour of the next `times` calls (0: all that follow), of `vendor` if given.

    What is billed: nothing for a `status` above 399 and for `reset="before"`, else the usage,
    whether the client gets to see it or not.
    """

    times: int = 1
    vendor: str | None = None
    when: tuple[str, ...] = ()  # only for a body that has all of these

    # --- what is answered
    content: str | None = None  # the last user message when None; nothing beside tool calls
    # Each {"name": ..., "arguments": {...}}; of OpenAI's responses also with a "namespace", and
    # {"name": ..., "input": ...} of a custom tool.
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    web_searches: int = 0  # of OpenAI's responses no more than the request allows; not in chat
    thinking: str | None = None  # what the model says to itself, where the vendor shows it
    hidden_thinking_tokens: int = 0  # of a stream, before its text; their number is not shown
    hidden_thinking_per_s: float = 100.0
    extra_fields: Mapping[str, Any] = field(default_factory=dict)  # put on top of a plain answer
    finish_reason: str | None = None  # the vendor's own word
    model: str | None = None
    service_tier: str | None = None

    # --- what is reported, in words that fit every vendor
    input_tokens: int | None = None  # all that went in, cached or not
    output_tokens: int | None = None  # all that came out, reasoning included
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    usage: Mapping[str, Any] | None = None  # the vendor's own report, in place of the above
    no_usage: bool = False
    usage_twice: bool = False  # a stream's usage event comes twice

    # --- another answer altogether
    status: int = 200
    body: Any = None  # a str is sent as it is, anything else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    needs_betas: bool = False  # 400 for what Anthropic takes only with a beta

    # --- trouble with the connection
    pause_s: float = 0.0  # before anything is answered
    until_released: bool = False  # before anything is answered: until the test releases the calls
    counts_at_once: bool = True  # counts of tokens do not pause, since nothing is generated
    stall: str | None = None  # "headers" or "body": then nothing more comes
    stall_after_events: int = 1
    reset: str | None = None  # "before" or "after" the request's body is read
    cut_after_bytes: int | None = None  # of the answer's body, then a reset
    drip_s: float = 0.0  # between two events, or between two pieces of a plain body
    endless: bool = False  # a stream that repeats its text for ever
    extra_events: tuple[str, ...] = ()  # raw events put in before the stream's end

    def once_less(self) -> Behaviour:
        """Return the behaviour for the calls after the next."""
        return replace(self, times=self.times - 1)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read a behaviour. Raises ValueError for an unknown field."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"a behaviour has no {', '.join(sorted(unknown))}")
        known = dict(values)
        for name in ("extra_events", "tool_calls", "when"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """A parsed request of any vendor; `body` is all of it, as received."""

    model: str
    words_in: int
    last_text: str
    max_tokens: int | None = None
    stream: bool = False
    with_usage: bool = False  # whether a stream's usage was asked for
    choices: int = 1
    texts: tuple[str, ...] = ()  # what is to be embedded
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer and its usage: tokens are words, unless the behaviour sets them."""

    asked: ParsedRequest
    model: str
    content: str
    is_whole: bool
    input_tokens: int
    output_tokens: int
    behaviour: Behaviour

    @property
    def pieces(self) -> list[str]:
        """The content word by word, with spaces; empty if there are only tool calls."""
        if not self.content and self.behaviour.tool_calls:
            return []
        words = self.content.split(" ")
        return [word if i == 0 else f" {word}" for i, word in enumerate(words)]

    @property
    def billed(self) -> dict[str, Any]:
        """The billed usage of a call with this answer."""
        if self.behaviour.usage is not None:
            return {"model": self.model, "usage": dict(self.behaviour.usage)}
        return {
            "model": self.model,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.behaviour.cached_tokens,
            "cache_write_tokens": self.behaviour.cache_write_tokens,
            "reasoning_tokens": self.behaviour.reasoning_tokens,
        }


def answer_to(asked: ParsedRequest, behaviour: Behaviour) -> Answer:
    """Return the answer: the last user message, cut at the cap that the request sets."""
    content = _content_of(asked, behaviour)
    words = content.split(" ")
    is_whole = asked.max_tokens is None or len(words) <= asked.max_tokens
    content_sent = content if is_whole else " ".join(words[: asked.max_tokens])
    output = behaviour.output_tokens
    return Answer(
        asked=asked,
        model=behaviour.model or asked.model,
        content=content_sent,
        is_whole=is_whole,
        input_tokens=asked.words_in if behaviour.input_tokens is None else behaviour.input_tokens,
        output_tokens=asked.choices * len(content_sent.split(" ")) if output is None else output,
        behaviour=behaviour,
    )


def _content_of(asked: ParsedRequest, behaviour: Behaviour) -> str:
    if behaviour.content is not None:
        return behaviour.content
    return "" if behaviour.tool_calls else asked.last_text
