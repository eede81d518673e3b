"""Build a request for Anthropic's messages API from a call that is fitted to it.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final

from costs.core.usage import STANDARD_PLACE
from gateway.apis import json_schema
from gateway.apis.arguments import arguments_of
from gateway.apis.families.claude import models as claude
from gateway.core.calls import ProviderCall
from gateway.core.messages import CacheMark, File, Image, Message, Part, Tool

# The version that the SDK asks for, 2026-10-21, answers 400 to any temperature. Its predecessor
# accepts one for the models that support it:
# https://platform.claude.com/docs/en/api/versioning
VERSION_WITH_SAMPLING: Final = "2023-06-01"

Fields = dict[str, Any]


def request_from(call: ProviderCall) -> Fields:
    """Return the body of a request to `/v1/messages`."""
    request: Fields = {
        "model": call.model,
        "messages": _turns(call.messages),
        "max_tokens": call.max_output_tokens,  # always given: `Model.requires_cap`
        # Otherwise an organization's priority tier may answer, at a price above the bound:
        # https://platform.claude.com/docs/en/api/service-tiers
    }
    if claude.takes_place(call.model):
        # Otherwise the workspace's setting decides, possibly a more expensive place.
        request["inference_geo"] = STANDARD_PLACE
    if system := _system(call):
        request["system"] = system
    if call.user is not None:
        request["metadata"] = {"user_id": call.user}
    if call.cache is not None:
        request["cache_control"] = _cache_control(call.cache)
    if call.stop:
        request["stop_sequences"] = list(call.stop)
    return request | _tools(call) | _output(call) | _sampling(call)


def headers_from(call: ProviderCall) -> dict[str, str]:
    """Return the headers: an older version, if the newest does not accept the request."""
    return {"anthropic-version": VERSION_WITH_SAMPLING} if _sampling(call) else {}


# --- messages ---------------------------------------------------------------------------------


def _system(call: ProviderCall) -> str | list[Fields]:
    """Return the system messages: as blocks, if one of them ends what is cached."""
    messages = [message for message in call.messages if message.role == "system"]
    if any(isinstance(part, CacheMark) for message in messages for part in message.parts):
        return [block for message in messages for block in _blocks(message.pieces)]
    return "\n\n".join(message.text for message in messages)


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
            "id": call.id,
            "name": call.name,
            "input": arguments_of(call.arguments),
        }
        for call in message.tool_calls
    ]
    *pieces, last = message.pieces or ("",)
    if calls and isinstance(last, CacheMark):  # the end of the whole turn
        calls[-1]["cache_control"] = _cache_control(last)
        return _blocks(pieces) + calls
    return _blocks(message.pieces) + calls


def _result(message: Message) -> Fields:
    """Return a tool's result; only as a whole can it end what is cached."""
    result: Fields = {"type": "tool_result", "tool_use_id": message.tool_call_id}
    marks = [piece for piece in message.pieces if isinstance(piece, CacheMark)]
    pieces = [piece for piece in message.pieces if not isinstance(piece, CacheMark)]
    if pieces:
        result["content"] = _blocks(pieces) if message.parts else message.content
    return result | ({"cache_control": _cache_control(marks[-1])} if marks else {})


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
    fields: Fields = {"tools": [_tool(tool) for tool in call.tools]}
    choice = _choice(call)
    return fields | ({"tool_choice": choice} if choice else {})


def _tool(tool: Tool) -> Fields:
    found: Fields = {"name": tool.name, "input_schema": json_schema.as_object(tool.parameters)}
    if tool.description:
        found["description"] = tool.description
    if tool.is_strict:
        found["strict"] = True
    if tool.cache is not None:
        found["cache_control"] = _cache_control(tool.cache)
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
    effort, is_forced = call.reasoning_effort, call.tool_choice == "required"
    fields: Fields = {}
    if effort is not None:
        fields = claude.thinking(call.model, effort, is_tool_forced=is_forced)
    if call.response_format is not None:
        output_format = {"type": "json_schema", "schema": call.response_format.schema}
        output = {**fields.get("output_config", {}), "format": output_format}
        fields = {**fields, "output_config": output}
    return fields


def _sampling(call: ProviderCall) -> Fields:
    given = {"temperature": call.temperature, "top_p": call.top_p}
    return {name: value for name, value in given.items() if value is not None}
