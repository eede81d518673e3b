"""The sandbox: a provider without a network that repeats the last user message.

If a tool is required it calls one; if JSON is requested it fills in the schema: enough to try a
client, and deterministic.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import orjson

from costs.core.usage import Usage
from gateway.apis.json_schema import as_object
from gateway.core.calls import Completion, Delta, ProviderCall, ToolCallDelta
from gateway.core.messages import Message, Tool, ToolCall
from gateway.core.providers import ProviderConfig
from gateway.core.seen import SeenOutput
from gateway.providers import tokens
from gateway.providers.adapters.sample_values import sample_of
from gateway.upstream.http_client import HttpClient
from orgs.threads import TOKENS

ENCODING: Final = "o200k_base"
_PIECES: Final = re.compile(r"\S+\s*|\s+")


class Sandbox:
    """The local Provider; its token counts are real."""

    def __init__(self, config: ProviderConfig, http: HttpClient) -> None:
        self._name = config.name

    async def complete(self, call: ProviderCall) -> Completion:
        """Repeat the last user message, cut at the output cap."""
        chars = sum(map(len, _read(call)))
        if chars <= tokens.INLINE_MAX_CHARS and tokens.ENCODINGS.is_loaded(ENCODING):
            return _completion(call)
        # One caller for all: the counts that organizations' limits need have threads left.
        return await TOKENS.run(self._name, partial(_completion, call))

    async def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Repeat it word by word, as a stream."""
        completion = await self.complete(call)
        seen.report(completion.usage and replace(completion.usage, output_text=0))
        for delta in _deltas(completion):
            seen.arrive(time.monotonic())
            seen.text.add(delta.content or (delta.tool_call.arguments if delta.tool_call else ""))
            yield delta
            await asyncio.sleep(0)
        yield replace(completion, content="", tool_calls=())

    async def aclose(self) -> None:
        """Close nothing."""


def _deltas(completion: Completion) -> Iterator[Delta]:
    for piece in _PIECES.finditer(completion.content):
        yield Delta(piece[0])
    for tool_call in completion.tool_calls:
        yield Delta(tool_call=ToolCallDelta(index=0, id=tool_call.id, name=tool_call.name))
        for piece in _PIECES.finditer(tool_call.arguments):
            yield Delta(tool_call=ToolCallDelta(index=0, arguments=piece[0]))


def _completion(call: ProviderCall) -> Completion:
    tool = _tool_called(call)
    written = _reply(call) if tool is None else _arguments(tool, call)
    cap = call.max_output_tokens
    kept = written if cap is None else tokens.cut(written, ENCODING, cap)
    is_whole = kept == written
    usage = Usage(
        input_uncached=sum(tokens.count(text, ENCODING) for text in _read(call))
        + tokens.frame_tokens(len(call.messages)),
        output_text=cap if cap is not None and not is_whole else tokens.count(kept, ENCODING),
    )
    ended = "stop" if tool is None else "tool_calls"
    return Completion(
        model=call.model,
        content=kept if tool is None else "",
        finish_reason=ended if is_whole else "length",
        usage=usage,
        raw_usage={"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
        tool_calls=() if tool is None else (ToolCall(id="", name=tool.name, arguments=kept),),
    )


def _read(call: ProviderCall) -> list[str]:
    """Return all texts that are counted as input; images cost nothing here."""
    texts = [message.text for message in call.messages]
    texts += [each.arguments for message in call.messages for each in message.tool_calls]
    for tool in call.tools:
        texts += [tool.name, tool.description or "", _json(dict(tool.parameters or {}))]
    if call.response_format is not None and call.response_format.schema is not None:
        texts.append(_json(dict(call.response_format.schema)))
    return texts


# --- answers ----------------------------------------------------------------------------------


def _reply(call: ProviderCall) -> str:
    reply = _last_text(call.messages)
    if call.response_format is not None:
        schema = call.response_format.schema
        return _json({"answer": reply} if schema is None else sample_of(schema, text=reply))
    for stop in call.stop:
        reply = reply.partition(stop)[0]
    return reply


def _last_text(messages: tuple[Message, ...]) -> str:
    texts = (message.text for message in reversed(messages) if message.role == "user")
    return next(texts, messages[-1].text if messages else "")


def _tool_called(call: ProviderCall) -> Tool | None:
    """Return the required tool; of several, the first not called since the last user message."""
    if call.tool_choice != "required" or not call.tools:
        return None
    if call.required_tool is not None:
        return next((tool for tool in call.tools if tool.name == call.required_tool), None)
    called: set[str] = set()
    for message in call.messages:
        names = {each.name for each in message.tool_calls}
        called = set() if message.role == "user" else called | names
    return next((tool for tool in call.tools if tool.name not in called), call.tools[-1])


def _arguments(tool: Tool, call: ProviderCall) -> str:
    sample = sample_of(as_object(tool.parameters), text=_last_text(call.messages))
    return _json(sample)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
