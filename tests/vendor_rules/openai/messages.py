"""What OpenAI accepts as the messages of a chat completion.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.vendor_rules.openai.families import Family
from tests.vendor_rules.shapes import (
    Check,
    by_kind,
    either,
    free_object,
    list_of,
    nullable,
    one_of,
    record,
    text,
    text_of,
)

# What is known of unknown fields inside messages differs, so that they are let pass.
_TEXT: Final = record({"text": text}, required=("type", "text"), closed=False)
_IMAGE: Final = record(
    {
        "image_url": record(
            {"url": text, "detail": one_of("auto", "low", "high", "original")}, required=("url",)
        )
    },
    required=("image_url",),
    closed=False,
)
_SOUND: Final = record(
    {
        "input_audio": record(
            {"data": text, "format": one_of("wav", "mp3")}, required=("data", "format")
        )
    },
    required=("input_audio",),
    closed=False,
)
_FILE: Final = record(
    {"file": record({"filename": text, "file_data": text, "file_id": text})},
    required=("file",),
    closed=False,
)
_REFUSAL: Final = record({"refusal": text}, required=("refusal",), closed=False)


def _content(**kinds: Check) -> Check:
    return either(text, list_of(by_kind(kinds), least=1))


# https://github.com/vercel/ai/issues/5171 and https://github.com/agno-agi/agno/issues/5382
_ID: Final = text_of(most=40)
_CALL: Final = by_kind(
    {
        "function": record(
            {"id": _ID, "function": record({"name": text, "arguments": text}, closed=False)},
            required=("id", "function"),
            closed=False,
        ),
        "custom": record(
            {"id": _ID, "custom": record({"name": text, "input": text}, closed=False)},
            required=("id", "custom"),
            closed=False,
        ),
    }
)


def _message(content: Check, *required: str, **fields: Check) -> Check:
    return record({"content": content, **fields}, required=required, closed=False)


_MESSAGES: Final = by_kind(
    {
        "system": _message(_content(text=_TEXT), "content", name=text),
        "developer": _message(_content(text=_TEXT), "content", name=text),
        "user": _message(
            _content(text=_TEXT, image_url=_IMAGE, input_audio=_SOUND, file=_FILE),
            "content",
            name=text,
        ),
        "assistant": _message(
            nullable(_content(text=_TEXT, refusal=_REFUSAL)),
            name=text,
            refusal=nullable(text),
            audio=nullable(free_object),
            tool_calls=list_of(_CALL, least=1),
            function_call=nullable(free_object),
        ),
        "tool": _message(_content(text=_TEXT), "content", "tool_call_id", tool_call_id=_ID),
        "function": _message(nullable(text), "content", "name", name=text),
    },
    name="role",
)


def message_faults(body: Mapping[str, Any], family: Family) -> list[str]:
    """Return the faults of the messages and of their order."""
    messages: list[Mapping[str, Any]] = body["messages"]
    found = list_of(_MESSAGES)(messages, "messages")
    if found:
        return found
    found += [f"{where} is empty" for where in _empty_answers(messages)]
    return [*found, *_result_faults(messages), *_family_faults(body, family)]


def _empty_answers(messages: list[Mapping[str, Any]]) -> Iterator[str]:
    """An assistant's content is required, unless it calls."""
    telling = ("content", "tool_calls", "function_call", "refusal", "audio")
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and all(message.get(name) is None for name in telling):
            yield f"messages[{index}]"


def _result_faults(messages: list[Mapping[str, Any]]) -> list[str]:
    """Each call is followed by its result, before any other message.

    https://github.com/FoundationAgents/OpenManus/issues/744,
    https://github.com/aliasrobotics/cai/issues/111
    """
    found: list[str] = []
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                found.append(f"messages[{index}] is the result of no preceding call")
            waiting.discard(message["tool_call_id"])
            continue
        found += [f"messages[{index}] comes before the result of {each}" for each in waiting]
        waiting = {call["id"] for call in message.get("tool_calls") or ()}
    return [*found, *(f"{each} has no result" for each in sorted(waiting))]


def _family_faults(body: Mapping[str, Any], family: Family) -> list[str]:
    """What single families do not read.

    https://github.com/rksm/org-ai/issues/130 (no instructions for the first reasoning models),
    https://community.openai.com/t/developer-role-not-accepted-for-o1-o1-mini-o3-mini/1110750/7
    (images), https://developers.openai.com/api/docs/guides/audio (sound in or out)
    """
    messages = body["messages"]
    parts = [
        part.get("type")
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    ]
    found = []
    roles = {message["role"] for message in messages}
    if family.is_first_reasoning and roles & {"system", "developer", "tool"}:
        found.append(f"{family.name} takes messages of user and assistant only")
    if not family.takes_images and "image_url" in parts:
        found.append(f"{family.name} does not read images")
    speaks = "audio" in (body.get("modalities") or ())
    if family.is_audio and not speaks and "input_audio" not in parts:
        found.append(f"{family.name} needs sound in a message or in its answer")
    return found
