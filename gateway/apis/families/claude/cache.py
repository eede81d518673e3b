"""Fit cache markers to Anthropic's rules of breakpoints.

https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from gateway.apis.families.changes import Changes
from gateway.core.calls import ProviderCall
from gateway.core.messages import CacheMark, Message, Part

# https://github.com/tghamm/Anthropic.SDK/issues/50
BREAKPOINTS_MAX: Final = 4
_HOUR: Final = "1h"
Marks = list[CacheMark | None]


def fit_cache(changes: Changes) -> None:
    """Fit the markers on tools, on messages and of the whole prompt."""
    messages = tuple(map(_tidied, changes.call.messages))
    cache = None if _ends_with_mark(messages) else changes.call.cache
    if (messages, cache) != (changes.call.messages, changes.call.cache):
        changes.make(
            "Cache markers were omitted where Anthropic takes none: on blank texts, and on "
            "blocks with a marker of their own",
            messages=messages,
            cache=cache,
        )
    marks = list(_marks_in(changes.call))
    if sum(mark is not None for mark in marks) > BREAKPOINTS_MAX:
        marks = _last(marks)
        _write(changes, "Cache markers before the last four were omitted", marks)
    if (fitted := _in_order(marks)) != marks:
        _write(
            changes,
            "Cache markers of an hour after one of five minutes were lowered to five minutes",
            fitted,
        )


def _tidied(message: Message) -> Message:
    """Return a message with at most one marker after each block.

    That of a tool's result is on the result, which has no others; a last one of a turn with tool
    calls is on the last call.
    """
    if not any(isinstance(part, CacheMark) for part in message.parts):
        return message
    if message.role == "tool":
        last = [part for part in message.parts if isinstance(part, CacheMark)][-1]
        rest = tuple(part for part in message.parts if not isinstance(part, CacheMark))
        return replace(message, parts=(*rest, last))
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, CacheMark) and parts and isinstance(parts[-1], CacheMark):
            parts[-1] = part
        elif not isinstance(part, CacheMark) or parts or message.tool_calls:
            parts.append(part)
    if len(parts) > 1 and isinstance(parts[0], CacheMark):
        del parts[0]  # there is a text after it, and none before it
    return replace(message, parts=tuple(parts))


def _marks_in(call: ProviderCall) -> Iterator[CacheMark | None]:
    """Yield the markers in the order of the prompt: tools, system, messages, the whole."""
    yield from (tool.cache for tool in call.tools)
    for place in _order(call.messages):
        yield from (part for part in call.messages[place].parts if isinstance(part, CacheMark))
    yield call.cache


def _order(messages: tuple[Message, ...]) -> list[int]:
    """Return the places of the messages in the order of the prompt: system messages first."""
    return sorted(range(len(messages)), key=lambda place: messages[place].role != "system")


def _ends_with_mark(messages: tuple[Message, ...]) -> bool:
    """Whether the last block has a marker, beside which that of the whole has no effect."""
    parts = messages[_order(messages)[-1]].parts
    return bool(parts) and isinstance(parts[-1], CacheMark)


def _last(marks: Marks) -> Marks:
    beyond = sum(mark is not None for mark in marks) - BREAKPOINTS_MAX
    found: Marks = []
    for mark in marks:
        found.append(None if beyond > 0 else mark)
        beyond -= mark is not None
    return found


def _in_order(marks: Marks) -> Marks:
    """Lower lifetimes that grow, which is rejected: system messages are moved to the front.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching#mixing-different-ttls
    """
    found: Marks = []
    is_short = False
    for mark in marks:
        is_short = is_short or (mark is not None and mark.ttl != _HOUR)
        is_lowered = is_short and mark is not None and mark.ttl == _HOUR
        found.append(CacheMark() if is_lowered else mark)
    return found


def _write(changes: Changes, sentence: str, marks: Marks) -> None:
    """Write markers back in the order in which they were read."""
    call, given = changes.call, iter(marks)
    tools = tuple(replace(tool, cache=next(given)) for tool in call.tools)
    messages = list(call.messages)
    for place in _order(call.messages):
        parts = tuple(_rewritten(messages[place].parts, given))
        messages[place] = replace(messages[place], parts=parts)
    changes.make(sentence, tools=tools, messages=tuple(messages), cache=next(given))


def _rewritten(parts: Iterable[Part], marks: Iterator[CacheMark | None]) -> Iterator[Part]:
    for part in parts:
        found = next(marks) if isinstance(part, CacheMark) else part
        if found is not None:
            yield found
