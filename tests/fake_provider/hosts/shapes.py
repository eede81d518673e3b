"""OpenAI's formats as other servers vary them: usage, where a stream has it, and what is beside."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from tests.fake_provider.behaviour import Answer
from tests.fake_provider.formats.chat import OPENAI_CHAT
from tests.fake_provider.formats.common import Format, reports, sse
from tests.fake_provider.formats.embeddings import OPENAI_EMBEDDINGS
from tests.fake_provider.formats.messages import ANTHROPIC_COUNT, ANTHROPIC_MESSAGES
from tests.fake_provider.formats.responses import OPENAI_RESPONSES

Usage = Callable[[Answer], dict[str, Any]]
DATA: Final = "data: "


def plain_usage(answer: Answer) -> dict[str, Any]:
    """Report no more than the three counts."""
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


def cached_usage(answer: Answer) -> dict[str, Any]:
    """Report what was cached and reasoned, too."""
    behaviour = answer.behaviour
    return plain_usage(answer) | {
        "prompt_tokens_details": {"cached_tokens": behaviour.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": behaviour.reasoning_tokens},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatShape:
    """Chat completions of a server.

    A stream's usage comes in a chunk of its own where it was asked for or `always`, or in the chunk
    that finishes. `head` replaces fields of each object; what is None there is omitted.
    """

    usage: Usage = plain_usage
    usage_in: Literal["asked", "always", "finish"] = "asked"
    head: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[Answer, Mapping[str, Any]], dict[str, Any]] | None = None  # its last chunk
    opening: Callable[[Answer], list[str]] | None = None  # raw events before the first

    def format(self) -> Format:
        """Return the format."""
        return replace(OPENAI_CHAT, plain=self._plain, events=self._events, indent=None)

    def _reported(self, answer: Answer) -> dict[str, Any]:
        given = answer.behaviour.usage
        return self.usage(answer) if given is None else dict(given)

    def _headed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {
            k: v for k, v in {**body, **self.head}.items() if k not in self.head or v is not None
        }

    def _plain(self, answer: Answer) -> dict[str, Any]:
        body = self._headed(OPENAI_CHAT.plain(answer))
        return body | {"usage": self._reported(answer)} if "usage" in body else body

    def _events(self, answer: Answer) -> list[str]:
        asked = replace(answer.asked, with_usage=False)
        *events, done = OPENAI_CHAT.events(replace(answer, asked=asked))
        events = [self._headed_event(event) for event in events]
        last = json.loads(events[-1].removeprefix(DATA))
        reported = reports(answer, self._reported(answer))
        if self.finish is not None:
            last = self.finish(answer, last)
        if self.usage_in == "finish" and not answer.asked.with_usage:
            events[-1:] = [sse(last | {"usage": report}) for report in reported] or [sse(last)]
        else:
            events[-1] = sse(last)
            if self.usage_in == "always" or answer.asked.with_usage:
                events += [sse(last | {"choices": [], "usage": report}) for report in reported]
        return [*(self.opening(answer) if self.opening else ()), *events, done]

    def _headed_event(self, event: str) -> str:
        if not event.startswith(f"{DATA}{{"):
            return event
        return sse(self._headed(json.loads(event.removeprefix(DATA))))


def _without(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda usage: {name: value for name, value in usage.items() if name not in names}


_TWO_COUNTS: Final = _without(
    *("cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"),
    *("output_tokens_details", "service_tier"),
)


def _small(value: Any) -> Any:
    """Return a message with input and output tokens only, at any depth."""
    if not isinstance(value, dict):
        return value
    return {
        name: _TWO_COUNTS(inner) if name == "usage" else _small(inner)
        for name, inner in value.items()
    }


def _small_plain(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = _small(ANTHROPIC_MESSAGES.plain(answer))
    return body


def _small_events(answer: Answer) -> list[str]:
    return [_small_event(event) for event in ANTHROPIC_MESSAGES.events(answer)]


def _small_event(event: str) -> str:
    name, found, data = event.partition(f"\n{DATA}")
    return sse(_small(json.loads(data)), name.removeprefix("event: ")) if found else event


# Anthropic's messages by servers without a cache, and OpenAI's responses by those that keep none.
SMALL_MESSAGES: Final = replace(
    ANTHROPIC_MESSAGES, plain=_small_plain, events=_small_events, indent=None
)
MESSAGES: Final = ANTHROPIC_MESSAGES
MESSAGES_COUNT: Final = ANTHROPIC_COUNT
RESPONSES: Final = replace(OPENAI_RESPONSES, keeps=False, is_kept=False)
EMBEDDINGS: Final = replace(OPENAI_EMBEDDINGS, indent=None)
