"""A client's view of an answer, in a common form, so that two clients can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Called = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An answer. `tools` has a name and arguments each; `events` is how many a stream had."""

    content: str = ""
    finish_reason: str | None
    tools: Called = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    events: int = 0


def called(calls: Iterable[Any]) -> Called:
    """Return the tool calls of an OpenAI message, in whose form arguments are JSON text."""
    return tuple((each.function.name, json.loads(each.function.arguments)) for each in calls)


def of_chat(answer: Any) -> Seen:
    """Read a plain answer of OpenAI's chat completions."""
    [choice] = answer.choices
    return Seen(
        content=choice.message.content or "",
        finish_reason=choice.finish_reason,
        tools=called(choice.message.tool_calls or ()),
        input_tokens=answer.usage.prompt_tokens,
        output_tokens=answer.usage.completion_tokens,
    )


def of_chat_stream(chunks: list[Any]) -> Seen:
    """Join a stream of OpenAI's chat completions."""
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for fragment in (each for choice in deltas for each in choice.delta.tool_calls or ()):
        names.setdefault(fragment.index, fragment.function.name)
        before = arguments.get(fragment.index, "")
        arguments[fragment.index] = before + (fragment.function.arguments or "")
    usages = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    return Seen(
        content="".join(choice.delta.content or "" for choice in deltas),
        finish_reason=next(c.finish_reason for c in reversed(deltas) if c.finish_reason),
        tools=tuple((names[index], json.loads(arguments[index])) for index in names),
        input_tokens=usages[-1].prompt_tokens if usages else None,
        output_tokens=usages[-1].completion_tokens if usages else None,
        events=len(chunks),
    )


def of_message(message: Any) -> Seen:
    """Read a message of Anthropic's."""
    blocks = message.content
    return Seen(
        content="".join(block.text for block in blocks if block.type == "text"),
        finish_reason=message.stop_reason,
        tools=tuple((block.name, block.input) for block in blocks if block.type == "tool_use"),
        input_tokens=message.usage.input_tokens,
        output_tokens=message.usage.output_tokens,
    )


def of_gemini(answers: list[Any]) -> Seen:
    """Join a stream of Google's; a plain answer is a stream of one."""
    parts = [part for answer in answers for part in answer.candidates[0].content.parts or ()]
    functions = [part.function_call for part in parts if part.function_call]
    usage = answers[-1].usage_metadata
    return Seen(
        content="".join(part.text or "" for part in parts),
        finish_reason=answers[-1].candidates[0].finish_reason.value,
        tools=tuple((function.name, function.args) for function in functions),
        input_tokens=usage.prompt_token_count,
        output_tokens=usage.candidates_token_count,
        events=len(answers),
    )
