"""Shared by the formats: words of an answer, and the interface of a format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.fake_provider.behaviour import Answer, ParsedRequest

CREATED_AT: Final = 1_773_840_064
FRAGMENT_CHARS: Final = 6


# Where a stream pauses while the model thinks; it is not sent.
THINKS: Final = "(thinks)"


def no_events(_: Answer) -> list[str]:
    """A format that has no stream."""
    return []


@dataclass(frozen=True, slots=True)
class Format:
    """One endpoint's wire format: pure functions from a request to an answer's bytes."""

    asked: Callable[[Mapping[str, Any], str], ParsedRequest]
    plain: Callable[[Answer], dict[str, Any]]
    events: Callable[[Answer], list[str]] = no_events
    indent: int | None = None  # as the vendor lays out a plain answer
    is_billed: bool = True
    keeps: bool = False  # its requests may name what is kept
    without_sse: Callable[[list[str]], list[str]] | None = None  # a stream that asks for no SSE
    is_kept: bool = False  # and so are its answers, unless they ask not to be


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called, its arguments as JSON text, a custom tool's as they are.

    `namespace` is that of the tool, where the vendor has such.
    """

    place: int
    name: str
    arguments: str
    namespace: str | None = None
    is_custom: bool = False

    @property
    def fragments(self) -> list[str]:
        """The arguments in the pieces of a stream."""
        starts = range(0, len(self.arguments), FRAGMENT_CHARS)
        return [self.arguments[start : start + FRAGMENT_CHARS] for start in starts]


def hidden_thinking(answer: Answer) -> list[str]:
    """Return where a stream pauses, if it does."""
    return [THINKS] if answer.behaviour.hidden_thinking_tokens else []


def tool_calls(answer: Answer) -> list[ToolCall]:
    return [
        ToolCall(
            place=place,
            name=call["name"],
            arguments=call.get("input") or compact(call.get("arguments", {})),
            namespace=call.get("namespace"),
            is_custom="input" in call,
        )
        for place, call in enumerate(answer.behaviour.tool_calls)
    ]


def words(text: str) -> list[str]:
    """Return a text word by word, with spaces; empty if it is empty."""
    first, *others = text.split(" ")
    return [first, *(f" {word}" for word in others)] if text else []


def word_count(texts: Iterable[str]) -> int:
    return sum(len(text.split(" ")) for text in texts)


def plain_text(content: Any) -> str:
    """Return a content's text: a string, or a list of parts that have one."""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or ())


def last_text(turns: list[tuple[str, str]]) -> str:
    return next((text for role, text in reversed(turns) if role == "user" and text.strip()), "")


def compact(data: Any) -> str:
    """Return JSON as the vendors stream it: no blanks, characters as they are."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def sse(data: Mapping[str, Any], name: str | None = None) -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {compact(data)}\n\n"


def reports(answer: Answer, report: Any) -> list[Any]:
    if answer.behaviour.no_usage:
        return []
    return [report, report] if answer.behaviour.usage_twice else [report]


def ending(answer: Answer, *, whole: str, cut: str, tools: str) -> str:
    if answer.behaviour.finish_reason:
        return answer.behaviour.finish_reason
    if answer.behaviour.tool_calls:
        return tools
    return whole if answer.is_whole else cut
