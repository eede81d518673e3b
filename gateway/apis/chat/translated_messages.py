"""Parse the messages of a chat completion: texts, images, tool calls and their results."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.apis.arrival import objects
from gateway.core.errors import Refused
from gateway.core.messages import CacheMark, File, Image, Message, Part, ToolCall
from gateway.core.model_names import Model
from gateway.core.request_body import invalid
from orgs.core.values import quoted

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_WITH_FILES: Final = frozenset({"user", "tool"})
# Only images: audio and video cost more than the bound of an image.
_IMAGE_TYPES: Final = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/heif"}
)
_DOCUMENT_TYPES: Final = ("application/pdf", "text/plain")
_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)(?:;[^,;]+)*;base64,", re.IGNORECASE)
# https://developers.openai.com/api/reference/resources/chat: `input_audio.format`
_SOUND_TYPES: Final = {"wav": "audio/wav", "mp3": "audio/mp3"}
# As Anthropic's own markers, which clients of translated models send in OpenAI's format:
# https://platform.claude.com/docs/en/build-with-claude/prompt-caching
_CACHE_TTLS: Final = (None, "5m", "1h")
_SIGNATURE_AT: Final = ("extra_content", "google", "thought_signature")


def messages_in(fields: Mapping[str, Any], model: Model) -> tuple[Message, ...]:
    """Return the messages of a body. Raises Refused, which names the field."""
    called: dict[str, str] = {}
    messages: list[Message] = []
    for index, given in enumerate(fields["messages"]):
        message = _message(given, f"messages[{index}]", model, called)
        called |= {call.id: call.name for call in message.tool_calls}
        messages.append(message)
    return tuple(messages)


def untranslatable(what: str, model: Model) -> Refused:
    """Return the refusal of a field that the model's vendor does not support."""
    whose = f'model {model.id} of provider "{model.provider}"'
    return invalid(f"{what} is not supported by {whose}; remove it")


def _message(
    given: Mapping[str, Any], where: str, model: Model, called: Mapping[str, str]
) -> Message:
    role = _ROLES.get(given["role"])
    if role is None:
        raise invalid(f"{where}.role must be one of {', '.join(_ROLES)}")
    for name in ("audio", "function_call"):
        if given.get(name) is not None:
            raise untranslatable(f"{where}.{name}", model)
    calls = objects(given, "tool_calls") if role == "assistant" else []
    places = (f"{where}.tool_calls[{index}]" for index in range(len(calls)))
    call_id = _call_id(given, where, called) if role == "tool" else None
    parts = _parts(given, where, role, model)
    if (mark := cache_mark(given, where)) is not None:
        parts = (*parts, mark)
    is_text = len(parts) <= 1 and all(isinstance(part, str) for part in parts)
    return Message(
        role,
        "".join(map(str, parts)) if is_text else "",
        () if is_text else parts,
        tool_calls=tuple(map(_tool_call, calls, places)),
        tool_call_id=call_id,
        tool_name=None if call_id is None else called[call_id],
    )


def _call_id(given: Mapping[str, Any], where: str, called: Mapping[str, str]) -> str:
    call_id = given.get("tool_call_id")
    if not isinstance(call_id, str) or call_id not in called:
        raise invalid(f"{where}.tool_call_id must be the id of a tool call in an earlier message")
    return call_id


def cache_mark(given: Mapping[str, Any], where: str) -> CacheMark | None:
    """Return the cache marker of a message, a part, a tool or a body. Raises Refused."""
    control = given.get("cache_control")
    if control is None:
        return None
    ttl = control.get("ttl") if isinstance(control, dict) else None
    if not isinstance(control, dict) or control.get("type") != "ephemeral":
        raise invalid(f"{where}.cache_control must be an object of type ephemeral")
    if ttl not in _CACHE_TTLS:
        raise invalid(f"{where}.cache_control.ttl must be 5m or 1h")
    return CacheMark(ttl=ttl)


def _parts(given: Mapping[str, Any], where: str, role: str, model: Model) -> tuple[Part, ...]:
    content = given.get("content")
    if content is None:
        content = given.get("refusal") if role == "assistant" else None
    if content is None and role == "assistant":
        return ()
    if isinstance(content, str):
        return (content,)
    if not isinstance(content, list):
        raise invalid(f"{where}.content must be a string or a list of parts")
    parts: list[Part] = []
    for index, part in enumerate(content):
        parts.append(_part(part, f"{where}.content[{index}]", role, model))
        if isinstance(part, dict) and (mark := cache_mark(part, f"{where}.content[{index}]")):
            parts.append(mark)
    return tuple(parts)


def _part(part: object, where: str, role: str, model: Model) -> Part:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise invalid(f"{where} must be an object with a type")
    if kind == "image_url" and role in _WITH_FILES:
        return _image(part.get("image_url"), f"{where}.image_url")
    if kind == "file" and role in _WITH_FILES:
        return _document(part.get("file"), f"{where}.file")
    if kind == "input_audio" and role in _WITH_FILES:
        return _sound(part.get("input_audio"), f"{where}.input_audio")
    if kind not in ("text", "refusal"):
        raise untranslatable(f"{where} of type {quoted(kind)}", model)
    text = part.get(kind)
    if not isinstance(text, str):
        raise invalid(f"{where}.{kind} must be a string")
    return text


def _image(given: object, where: str) -> Image:
    described = given if isinstance(given, dict) else {"url": given}
    url, detail = described.get("url"), described.get("detail")
    if not isinstance(url, str):
        raise invalid(f"{where}.url must be a string")
    if url.startswith("https://"):
        return Image(url=url, detail=detail if isinstance(detail, str) else None)
    media_type, data = _data_in(url, f"{where}.url")
    media_type = media_type.replace("image/jpg", "image/jpeg")
    if media_type not in _IMAGE_TYPES:
        raise invalid(f"{where}.url must be an image, not {quoted(media_type)}")
    return Image(
        media_type=media_type, data=data, detail=detail if isinstance(detail, str) else None
    )


def _document(given: object, where: str) -> File:
    """Return a file. One that is stored at OpenAI (`file_id`) is refused before."""
    described = given if isinstance(given, dict) else {}
    file_data, name = described.get("file_data"), described.get("filename")
    if not isinstance(file_data, str) or not isinstance(name, str | None):
        raise invalid(f"{where} must have file_data and may have a filename, both strings")
    if file_data.startswith("https://"):
        return File(media_type=_DOCUMENT_TYPES[0], url=file_data, name=name)
    media_type, data = _data_in(file_data, f"{where}.file_data")
    if media_type not in _DOCUMENT_TYPES:
        kinds = " or ".join(_DOCUMENT_TYPES)
        raise invalid(f"{where}.file_data must be {kinds}, not {quoted(media_type)}")
    return File(media_type=media_type, data=data, name=name)


def _sound(given: object, where: str) -> File:
    described = given if isinstance(given, dict) else {}
    data, kind = described.get("data"), described.get("format")
    if not isinstance(data, str) or kind not in _SOUND_TYPES:
        raise invalid(f"{where} must have data, and a format: {' or '.join(_SOUND_TYPES)}")
    return File(media_type=_SOUND_TYPES[kind], data=_base64(data, f"{where}.data"))


def _data_in(url: str, where: str) -> tuple[str, str]:
    """Return the media type of a data URL and its base64 data."""
    head = _DATA_URL.match(url)
    if head is None:
        raise invalid(f"{where} must be an https:// URL or a base64 data URL")
    return head[1].lower(), _base64(url[head.end() :], where)


def _base64(text: str, where: str) -> str:
    data = "".join(text.split())
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise invalid(f"{where} must contain valid base64 data") from exc
    return data


def _tool_call(given: Mapping[str, Any], where: str) -> ToolCall:
    function = given.get("function")
    described = function if isinstance(function, dict) else {}
    call_id, name = given.get("id"), described.get("name")
    arguments = described.get("arguments")
    if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str)):
        raise invalid(
            f"{where} must have an id and a function with name and arguments, all strings"
        )
    return ToolCall(id=call_id, name=name, arguments=arguments, signature=_signature(given))


def _signature(given: Mapping[str, Any]) -> str | None:
    """Return the call's signature from the field that Google's compatibility layer uses."""
    found: object = given
    for name in _SIGNATURE_AT:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None
