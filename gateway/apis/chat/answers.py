"""Chat completions worded from what a vendor's SDK answered, whole or in chunks.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

import time
from typing import Any, Final
from uuid import UUID

import orjson

from gateway.core.calls import Delta, ToolCall, ToolCallDelta
from gateway.core.results import CallResult

# Beside these, clients know `stop` and `tool_calls`; whatever else a vendor says is one of them.
_CUT_SHORT: Final = frozenset({"length", "content_filter"})
_LIMITS_MET: Final = frozenset({"continuation"})
_ID_CHARS: Final = 24


class ChatSpeaker:
    """Words one translated answer."""

    def __init__(self, *, model: str, request_id: UUID, with_usage: bool) -> None:
        self._with_usage = with_usage
        self._request_id = request_id
        self._head = {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._has_begun = False
        self._has_called = False

    def whole(self, answer: CallResult) -> dict[str, Any]:
        """Return a chat completion."""
        completion = answer.completion
        calls = completion.tool_calls
        message: dict[str, Any] = {
            "role": "assistant",
            "content": completion.content or (None if calls else ""),
            "refusal": None,
        }
        if calls:
            message["tool_calls"] = [self._call(i, call) for i, call in enumerate(calls)]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish_reason(completion.finish_reason, has_called=bool(calls)),
        }
        return {
            **self._head,
            "object": "chat.completion",
            "model": answer.model,
            "choices": [choice],
            "usage": _usage(answer),
        }

    def piece(self, delta: Delta) -> bytes:
        """Return a chunk."""
        said: dict[str, Any] = {} if delta.tool_call else {"content": delta.content}
        if delta.tool_call is not None:
            self._has_called = True
            said["tool_calls"] = [self._call_piece(delta.tool_call)]
        return self._chunk([self._choice(said)])

    def last(self, answer: CallResult) -> bytes:
        """Return the chunk with the finish reason, that with the usage where asked, and the end."""
        reason = _finish_reason(answer.completion.finish_reason, has_called=self._has_called)
        ended = self._chunk([self._choice({}, finish_reason=reason)])
        usage = self._chunk([], usage=_usage(answer)) if self._with_usage else b""
        return ended + usage + b"data: [DONE]\n\n"

    def _choice(self, said: dict[str, Any], *, finish_reason: str | None = None) -> dict[str, Any]:
        begun = {} if self._has_begun else {"role": "assistant", "content": None}
        self._has_begun = True
        return {
            "index": 0,
            "delta": {**begun, **said},
            "logprobs": None,
            "finish_reason": finish_reason,
        }

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        nothing = {"usage": None} if self._with_usage else {}
        return b"data: %b\n\n" % orjson.dumps({**self._head, "choices": choices, **nothing, **more})

    def _call(self, index: int, call: ToolCall) -> dict[str, Any]:
        return {
            "id": call.id or self._made_id(index),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
            **_signed(call.signature),
        }

    def _call_piece(self, piece: ToolCallDelta) -> dict[str, Any]:
        if piece.name is None:
            return {"index": piece.index, "function": {"arguments": piece.arguments}}
        return {
            "index": piece.index,
            "id": piece.id or self._made_id(piece.index),
            "type": "function",
            "function": {"name": piece.name, "arguments": piece.arguments},
            **_signed(piece.signature),
        }

    def _made_id(self, index: int) -> str:
        """Return an id for a call to which the vendor gave none: no other call has the same."""
        return f"call_{self._request_id.hex[-_ID_CHARS:]}_{index}"


def _signed(signature: str | None) -> dict[str, Any]:
    """Return a call's signature where Google's own layer for OpenAI's clients has it.

    A client that sends the call back as it came gives the model its thoughts again:
    https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def _finish_reason(reason: str | None, *, has_called: bool) -> str:
    if reason in _LIMITS_MET:
        return "length"
    if reason in _CUT_SHORT:
        return str(reason)
    # Google has no word of its own for a call of a tool.
    return "tool_calls" if has_called else "stop"


def _usage(answer: CallResult) -> dict[str, Any] | None:
    usage = answer.completion.usage
    if usage is None:
        return None
    written = usage.cache_write_5m + usage.cache_write_1h
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": written,
            "audio_tokens": usage.input_audio,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.output_reasoning,
            "audio_tokens": usage.output_audio,
        },
    }
