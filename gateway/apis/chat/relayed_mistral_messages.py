"""Fit the messages of a relayed chat completion to Mistral.

https://docs.mistral.ai/api/endpoint/chat, and what is examined after the schema:
https://github.com/mistralai/mistral-common/blob/main/src/mistral_common/protocol/instruct/validator.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.apis.chat.translated_messages import untranslatable
from gateway.apis.families.call_ids import with_call_ids
from gateway.apis.families.changes import BodyChanges, omitted
from gateway.apis.families.mistral import (
    GOES_ON,
    NO_QUESTION,
    QUESTION_FIRST,
    SYSTEM_FIRST,
    order_of,
    takes_text_beside_calls,
)
from gateway.core.model_names import Model

Messages = list[dict[str, Any]]

# Fields of other vendors' messages; a result's name is Mistral's, too.
# https://github.com/danny-avila/LibreChat/issues/4866 (name),
# https://github.com/charmbracelet/crush/issues/1590 (reasoning_content),
# https://github.com/BerriAI/litellm/issues/30882 (thinking_blocks and provider fields)
_NOT_THEIRS: Final = frozenset(
    {
        *("name", "refusal", "audio", "annotations", "reasoning_content", "reasoning"),
        *("reasoning_details", "thinking_blocks", "provider_specific_fields", "metadata"),
        *("cache_control", "function_call"),
    }
)
_PART_MARKS: Final = frozenset({"cache_control", "prompt_cache_breakpoint"})
_CALL_FIELDS: Final = ("id", "type", "index", "function")
_DETAILS: Final = {"original": "high"}
_PDF: Final = "data:application/pdf;base64,"
# https://github.com/anomalyco/opencode/issues/1680
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")


def fit(changes: BodyChanges, model: Model) -> None:
    """Change the messages. Raises Refused."""
    given = changes.body["messages"]
    messages = [_message(changes, each, f"messages[{at}]", model) for at, each in enumerate(given)]
    messages = _answered(changes, messages)
    messages = _in_order(changes, messages)
    if not takes_text_beside_calls(model.id):
        messages = [turn for message in messages for turn in _turns(changes, message)]
    named = with_call_ids(
        messages,
        fits=lambda given: _CALL_ID.fullmatch(given) is not None,
        made=lambda digits: digits[:9],
    )
    if named != messages:
        changes.report("ids of tool calls are replaced by nine letters and digits")
    changes.body["messages"] = named


def text_in(parts: Sequence[object]) -> str | None:
    """Return the text of parts, or None if one is none."""
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None


def _message(
    changes: BodyChanges, given: Mapping[str, Any], where: str, model: Model
) -> dict[str, Any]:
    role = given["role"]
    if role == "function":
        raise untranslatable(f"{where}.role function", model)
    for name in ("audio", "function_call"):
        if given.get(name) is not None:
            raise untranslatable(f"{where}.{name}", model)
    if role == "developer":
        changes.report("developer messages are sent as system messages")
        role = "system"
    message = {"role": role}
    for name, value in given.items():
        is_theirs = name not in _NOT_THEIRS or (name == "name" and role == "tool" and value)
        if is_theirs and (name == "content" or value is not None):
            message[name] = value
        elif value not in (None, "", [], {}) and name != "refusal":
            changes.report(omitted(f"{name} of messages"))
    message["role"] = role
    content = message.get("content")
    if isinstance(content, list):
        places = (f"{where}.content[{at}]" for at in range(len(content)))
        message["content"] = [
            _part(changes, part, place, model) for part, place in zip(content, places, strict=True)
        ]
    if role == "assistant":
        _fit_answer(message, given, where, model)
    return message


def _fit_answer(
    message: dict[str, Any], given: Mapping[str, Any], where: str, model: Model
) -> None:
    """Keep a refusal as the text that it is, and of calls what Mistral knows."""
    refusal = given.get("refusal")
    if isinstance(refusal, str) and not message.get("content"):
        message["content"] = refusal
    calls = message.pop("tool_calls", None)
    if not isinstance(calls, list):
        if calls is not None:
            message["tool_calls"] = calls
        return
    if calls:
        message["tool_calls"] = [
            _call(call, f"{where}.tool_calls[{at}]", model) for at, call in enumerate(calls)
        ]


def _call(call: Any, where: str, model: Model) -> Any:
    if not isinstance(call, dict):
        return call
    if call.get("type") == "custom":
        raise untranslatable(f"{where} of type custom", model)
    return {name: call[name] for name in _CALL_FIELDS if call.get(name) is not None}


def _part(changes: BodyChanges, given: Any, where: str, model: Model) -> Any:
    if isinstance(given, str):
        return {"type": "text", "text": given}
    part = {name: value for name, value in given.items() if name not in _PART_MARKS}
    if "cache_control" in given:
        changes.report(omitted("cache_control"))
    kind = part.get("type")
    if kind == "refusal":
        return {"type": "text", "text": part.get("refusal")}
    inner = part.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, dict):
        return part
    if kind == "image_url":
        return {**part, kind: _image(inner)}
    if kind == "file":
        return _document(changes, inner, where, model)
    if kind == "input_audio":
        # https://docs.mistral.ai/capabilities/audio/
        changes.report("sound is sent as Mistral takes it")
        return {"type": kind, kind: inner.get("data")}
    return part


def _image(image: Mapping[str, Any]) -> dict[str, Any]:
    sent = {name: image[name] for name in ("url", "detail") if image.get(name) is not None}
    if isinstance(detail := sent.get("detail"), str):
        sent["detail"] = _DETAILS.get(detail, detail)
    return sent


def _document(
    changes: BodyChanges, file: Mapping[str, Any], where: str, model: Model
) -> dict[str, Any]:
    """https://github.com/BerriAI/litellm/issues/25531, https://docs.mistral.ai/capabilities/document_ai"""
    url = file.get("file_data")
    if not isinstance(url, str):
        raise untranslatable(f"{where}.file without file_data", model)
    if not url.startswith(("data:", "https:", "http:")):
        url = _PDF + url
    changes.report("files are sent as documents")
    named = {"document_name": file["filename"]} if file.get("filename") else {}
    return {"type": "document_url", "document_url": url, **named}


def _answered(changes: BodyChanges, messages: Messages) -> Messages:
    """Omit answers without text and calls ("but not none").

    https://github.com/OpenHands/OpenHands/issues/8685
    """
    kept = [
        each
        for each in messages
        if each["role"] != "assistant" or each.get("content") or each.get("tool_calls")
    ]
    if len(kept) < len(messages):
        changes.report("empty messages of the assistant are omitted")
    return kept


def _in_order(changes: BodyChanges, messages: Messages) -> Messages:
    """Put system messages first, a question before an answer; let the last answer go on.

    https://github.com/huggingface/smolagents/issues/757 (prefix)
    """
    if order := order_of([message["role"] for message in messages]):
        messages = [messages[at] for at in order]
        changes.report(SYSTEM_FIRST)
    if not messages or [message["role"] for message in messages] == ["assistant"]:
        messages = [{"role": "user", "content": NO_QUESTION}, *messages]
        changes.report(QUESTION_FIRST)
    last = messages[-1]
    if last["role"] == "assistant" and not last.get("tool_calls") and "prefix" not in last:
        messages = [*messages[:-1], {**last, "prefix": True}]
        changes.report(GOES_ON)
    return messages


def _turns(changes: BodyChanges, message: dict[str, Any]) -> Messages:
    """Return the text and the calls of a turn as turns of their own."""
    if not (message.get("content") and message.get("tool_calls")):
        return [message]
    changes.report("the text before tool calls is sent as a message of its own")
    calls = {name: value for name, value in message.items() if name != "content"}
    return [{"role": "assistant", "content": message["content"]}, calls]
