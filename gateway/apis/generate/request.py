"""Build Gemini's generateContent request for Google's SDK.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final

from gateway.apis.arguments import arguments_of
from gateway.apis.families.gemini import models
from gateway.apis.families.gemini.media import image_type
from gateway.core.calls import ProviderCall
from gateway.core.messages import CacheMark, File, Image, Message, Part, Tool, ToolCall

# Google's placeholder for a missing thought signature, or another vendor's:
# https://ai.google.dev/gemini-api/docs/thought-signatures
NO_SIGNATURE: Final = b"skip_thought_signature_validator"

Fields = dict[str, Any]


def contents_from(call: ProviderCall) -> list[Any]:
    """Return the turns: the results of tools together in one, later messages in the next."""
    contents: list[Any] = []
    results: list[Fields] = []
    seen: list[Fields] = []
    for message in call.messages:
        if message.role == "tool":
            results.append(_result(message))
            seen += _parts(piece for piece in message.pieces if isinstance(piece, Image | File))
            continue
        _add(contents, "user", results)
        _add(contents, "user", seen)
        results, seen = [], []
        if message.role == "assistant":
            calls = _calls(message.tool_calls, call.model)
            _add(contents, "model", _parts(message.pieces) + calls)
        elif message.role == "user":
            _add(contents, "user", _parts(message.pieces))
    _add(contents, "user", results)
    _add(contents, "user", seen)
    return contents


def config_from(call: ProviderCall) -> Fields:
    """Return the call's settings."""
    systems = (message.text for message in call.messages if message.role == "system")
    system = "\n\n".join(text for text in systems if text)
    settings: Fields = {
        "system_instruction": system or None,
        "max_output_tokens": call.max_output_tokens,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "seed": call.seed,
        "frequency_penalty": call.frequency_penalty or None,
        "presence_penalty": call.presence_penalty or None,
        "stop_sequences": list(call.stop) or None,
    }
    if call.tools:
        settings["tools"] = [{"function_declarations": [_tool(tool) for tool in call.tools]}]
        settings["tool_config"] = _choice(call)
    if call.response_format is not None:
        settings["response_mime_type"] = "application/json"
        if call.response_format.schema is not None:
            settings["response_json_schema"] = call.response_format.schema
    if call.reasoning_effort is not None and models.takes_effort(call.model):
        settings["thinking_config"] = models.thinking(
            call.model, call.reasoning_effort, cap=call.max_output_tokens
        )
    return {name: value for name, value in settings.items() if value is not None}


def _add(contents: list[Any], role: str, parts: list[Fields]) -> None:
    if parts:
        contents.append({"role": role, "parts": parts})


def _parts(pieces: Iterable[Part]) -> list[Fields]:
    return [
        {"text": piece} if isinstance(piece, str) else _file(piece)
        for piece in pieces
        if not isinstance(piece, CacheMark)  # Google caches by itself
    ]


def _file(file: Image | File) -> Fields:
    if file.data is not None:
        data = base64.b64decode(file.data)
        return {"inline_data": {"data": data, "mime_type": file.media_type}}
    kind = file.media_type if isinstance(file, File) else image_type(file)
    return {"file_data": {"file_uri": file.url, "mime_type": kind}}


def _calls(calls: Iterable[ToolCall], model: str) -> list[Fields]:
    """Return the calls of a turn. Only the first of parallel calls has a signature."""
    parts: list[Fields] = []
    for call in calls:
        part: Fields = {
            "function_call": {
                "id": call.id,
                "name": call.name,
                "args": arguments_of(call.arguments),
            }
        }
        signature = _signature(call.signature) if models.takes_signatures(model) else None
        if signature is None and models.wants_signatures(model) and not parts:
            signature = NO_SIGNATURE
        if signature is not None:
            part["thought_signature"] = signature
        parts.append(part)
    return parts


def _signature(text: str | None) -> bytes | None:
    """Return the signature's bytes; the SDK uses another base64 alphabet than the API."""
    if not text:
        return None
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        return None


def _result(message: Message) -> Fields:
    return {
        "function_response": {
            "id": message.tool_call_id,
            "name": message.tool_name,
            "response": {"output": message.text},
        }
    }


def _tool(tool: Tool) -> Fields:
    found: Fields = {"name": tool.name, "description": tool.description}
    if tool.parameters is not None:
        found["parameters_json_schema"] = tool.parameters
    return found


def _choice(call: ProviderCall) -> Fields | None:
    chosen: Fields = {}
    if call.tool_choice == "none":
        chosen = {"mode": "NONE"}
    elif call.required_tool is not None:
        chosen = {"mode": "ANY", "allowed_function_names": [call.required_tool]}
    elif call.tool_choice == "required":
        chosen = {"mode": "ANY"}
    elif all(tool.is_strict for tool in call.tools):
        chosen = {"mode": "VALIDATED"}  # as auto, and the arguments fit the schema
    return {"function_calling_config": chosen} if chosen else None
