"""What the formats share: how an answer is told in words, and the shape of a format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fake_provider.behaviour import Answer, Asked

CREATED_AT = 1_773_840_064


@dataclass(frozen=True, slots=True)
class Format:
    """One vendor's wire format: pure functions from a request to an answer's bytes."""

    asked: Callable[[Mapping[str, Any], str], Asked]
    plain: Callable[[Answer], dict[str, Any]]
    events: Callable[[Answer, Asked], list[str]]
    error: Callable[[int, str], dict[str, Any]]
    models: Callable[[], dict[str, Any]]


def word_count(texts: Iterable[str]) -> int:
    return sum(len(text.split(" ")) for text in texts)


def plain_text(content: Any) -> str:
    """Return a content's text: a string, or a list of parts that have one."""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or ())


def last_said(turns: list[tuple[str, str]]) -> str:
    return next((text for role, text in reversed(turns) if role == "user"), "")


def sse(data: Mapping[str, Any], name: str | None = None) -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n"


def reports(answer: Answer, report: Any) -> list[Any]:
    if answer.behaviour.no_usage:
        return []
    return [report, report] if answer.behaviour.usage_twice else [report]


def ending(answer: Answer, *, whole: str, cut: str) -> str:
    return answer.behaviour.finish_reason or (whole if answer.is_whole else cut)
