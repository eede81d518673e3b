"""Build a request for Anthropic's messages API.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any, Final

from costs.core.usage import STANDARD_PLACE
from gateway.apis import json_schema
from gateway.apis.arguments import arguments_of
from gateway.apis.families import anthropic as anthropic_models
from gateway.core.calls import CacheMark, File, Image, Message, Part, ProviderCall, Tool

# The API rejects a request without a cap. The gateway passes one; this is for a caller that does
# not, and every model supports it.
DEFAULT_OUTPUT_TOKENS: Final = 4096
# The version that the SDK asks for, 2026-10-21, answers 400 to any temperature. Its predecessor
# accepts one for the models that support it:
# https://platform.claude.com/docs/en/api/versioning
VERSION_WITH_SAMPLING: Final = "2023-06-01"
# More are rejected, so then none is strict:
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#schema-complexity-limits
STRICT_TOOLS_MAX: Final = 20
# There is no mode for JSON without a schema.
_JSON_ONLY: Final = (
    "Answer with one JSON object and nothing else: no text before or after it, no code fence."
)
_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9_-]")

Fields = dict[str, Any]


def request_from(call: ProviderCall) -> Fields:
    """Return the body of a request to `/v1/messages`."""
    request: Fields = {
        "model": call.model,
        "messages": _turns(call.messages),
        "max_tokens": call.max_output_tokens or DEFAULT_OUTPUT_TOKENS,
        # Otherwise an organization's priority tier may answer, at a price above the bound:
        # https://platform.claude.com/docs/en/api/service-tiers
        "service_tier": "standard_only",
    }
    if anthropic_models.takes_place(call.model):
        # Otherwise the workspace's setting decides, possibly a more expensive place.
        request["inference_geo"] = STANDARD_PLACE
    if system := _system(call):
        request["system"] = system
    if call.user is not None:
        request["metadata"] = {"user_id": call.user}
    if call.stop:
        request["stop_sequences"] = list(call.stop)
    return request | _tools(call) | _output(call) | _sampling(call)


# --- messages ---------------------------------------------------------------------------------


def _system(call: ProviderCall) -> str:
    texts = [message.text for message in call.messages if message.role == "system"]
    wants_any_json = call.response_format is not None and call.response_format.schema is None
    return "\n\n".join([*texts, _JSON_ONLY] if wants_any_json else texts)


def headers_from(call: ProviderCall) -> dict[str, str]:
    """Return the headers: an older version, if the newest does not accept the request."""
    return {"anthropic-version": VERSION_WITH_SAMPLING} if _sampling(call) else {}


def _turns(messages: Iterable[Message]) -> list[Fields]:
    """Return the turns. Tool results are grouped, before the next user text."""
    turns: list[Fields] = []
    follows_tool = False
    for message in messages:
        if message.role == "system":
            continue
        if message.role == "tool" or (message.role == "user" and follows_tool):
            blocks = [_result(message)] if message.role == "tool" else _blocks(message.pieces)
            if not follows_tool:
                turns.append({"role": "user", "content": []})
            turns[-1]["content"] += blocks
        elif message.role == "user" or message.pieces or message.tool_calls:
            turns.append({"role": message.role, "content": _content(message)})
        follows_tool = message.role == "tool"
    return turns


def _content(message: Message) -> str | list[Fields]:
    if not message.parts and not message.tool_calls:
        return message.content
    calls = [
        {
            "type": "tool_use",
            "id": _id(call.id),
            "name": call.name,
            "input": arguments_of(call.arguments),
        }
        for call in message.tool_calls
    ]
    return _blocks(message.pieces) + calls


def _result(message: Message) -> Fields:
    result: Fields = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id or "")}
    if message.pieces:
        result["content"] = _blocks(message.pieces) if message.parts else message.content
    return result


def _blocks(pieces: Iterable[Part]) -> list[Fields]:
    blocks: list[Fields] = []
    for piece in pieces:
        if isinstance(piece, CacheMark):
            if blocks:
                blocks[-1]["cache_control"] = _cache_control(piece)
        elif isinstance(piece, str):
            blocks.append({"type": "text", "text": piece})
        elif isinstance(piece, Image):
            blocks.append({"type": "image", "source": _source(piece)})
        else:
            title = {"title": piece.name} if piece.name else {}
            blocks.append({"type": "document", "source": _source(piece), **title})
    return blocks


def _cache_control(mark: CacheMark) -> Fields:
    return {"type": "ephemeral"} | ({"ttl": mark.ttl} if mark.ttl else {})


def _source(file: Image | File) -> Fields:
    if file.data is None:
        return {"type": "url", "url": file.url}
    if file.media_type == "text/plain":
        text = base64.b64decode(file.data).decode(errors="replace")
        return {"type": "text", "media_type": file.media_type, "data": text}
    return {"type": "base64", "media_type": file.media_type, "data": file.data}


def _id(text: str) -> str:
    """Return a call's id with the characters that Anthropic accepts; other vendors allow more."""
    return _NOT_IN_ID.sub("_", text)


# --- options ----------------------------------------------------------------------------------


def _tools(call: ProviderCall) -> Fields:
    """Return the tools and how they may be used.

    A conversation with tool calls is rejected without tools, so the called ones are declared.
    """
    if not call.tools:
        called = {each.name for message in call.messages for each in message.tool_calls}
        if not called:
            return {}
        tools = [{"name": name, "input_schema": json_schema.as_object(None)} for name in called]
        return {"tools": sorted(tools, key=str), "tool_choice": {"type": "none"}}
    strict = [tool for tool in call.tools if tool.is_strict]
    can_be_strict = (
        anthropic_models.takes_strict_tools(call.model) and len(strict) <= STRICT_TOOLS_MAX
    )
    fields: Fields = {"tools": [_tool(tool, can_be_strict) for tool in call.tools]}
    choice = _choice(call)
    return fields | ({"tool_choice": choice} if choice else {})


def _tool(tool: Tool, can_be_strict: bool) -> Fields:
    schema = json_schema.as_object(tool.parameters)
    found: Fields = {"name": tool.name, "input_schema": schema}
    if tool.description:
        found["description"] = tool.description
    if tool.is_strict and can_be_strict:
        found |= {"strict": True, "input_schema": json_schema.for_anthropic(schema)}
    return found


def _choice(call: ProviderCall) -> Fields | None:
    if call.tool_choice == "none":
        return {"type": "none"}
    one_at_a_time = {"disable_parallel_tool_use": True}
    more = one_at_a_time if call.parallel_tool_calls is False else {}
    if call.required_tool is not None:
        return {"type": "tool", "name": call.required_tool, **more}
    if call.tool_choice == "required":
        return {"type": "any", **more}
    return {"type": "auto", **more} if more else None


def _output(call: ProviderCall) -> Fields:
    """Return the thinking effort and the schema of the answer."""
    effort = call.reasoning_effort
    fields = {} if effort is None else anthropic_models.thinking(call.model, effort)
    if call.response_format is not None and call.response_format.schema is not None:
        schema = json_schema.for_anthropic(call.response_format.schema)
        output = {**fields.get("output_config", {}), "format": _format(schema)}
        fields = {**fields, "output_config": output}
    return fields


def _format(schema: Fields) -> Fields:
    return {"type": "json_schema", "schema": schema}


def _sampling(call: ProviderCall) -> Fields:
    given = {"temperature": call.temperature, "top_p": call.top_p}
    return {name: value for name, value in given.items() if value is not None}
