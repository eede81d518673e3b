"""Format an answer of a vendor's SDK as a chat completion, whole or in chunks.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

import time
from typing import Any, Final
from uuid import UUID

import orjson

from gateway.core.calls import CallResult, Delta, ToolCallDelta
from gateway.core.messages import ToolCall

# Besides these, clients know `stop` and `tool_calls`; all other reasons map to one of them.
_TRUNCATED: Final = frozenset({"length", "content_filter"})
_LIMITS: Final = frozenset({"continuation"})
_ID_CHARS: Final = 24


class ChatSpeaker:
    """Format one translated answer."""

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
        fields: dict[str, Any] = {} if delta.tool_call else {"content": delta.content}
        if delta.tool_call is not None:
            self._has_called = True
            fields["tool_calls"] = [self._call_piece(delta.tool_call)]
        return self._chunk([self._choice(fields)])

    def last(self, answer: CallResult) -> bytes:
        """Return the chunk with the finish reason, the usage chunk if requested, and the end."""
        reason = _finish_reason(answer.completion.finish_reason, has_called=self._has_called)
        ended = self._chunk([self._choice({}, finish_reason=reason)])
        usage = self._chunk([], usage=_usage(answer)) if self._with_usage else b""
        return ended + usage + b"data: [DONE]\n\n"

    def _choice(self, delta: dict[str, Any], *, finish_reason: str | None = None) -> dict[str, Any]:
        begun = {} if self._has_begun else {"role": "assistant", "content": None}
        self._has_begun = True
        return {
            "index": 0,
            "delta": {**begun, **delta},
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
        """Return a unique id for a call to which the vendor gave none."""
        return f"call_{self._request_id.hex[-_ID_CHARS:]}_{index}"


def _signed(signature: str | None) -> dict[str, Any]:
    """Return a call's signature in the field that Google's OpenAI compatibility layer uses.

    A client that sends the call back unchanged returns the model's thoughts to it:
    https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def _finish_reason(reason: str | None, *, has_called: bool) -> str:
    if reason in _LIMITS:
        return "length"
    if reason in _TRUNCATED:
        return str(reason)
    # Google has no finish reason for tool calls.
    return "tool_calls" if has_called else "stop"


def _usage(answer: CallResult) -> dict[str, Any] | None:
    usage = answer.completion.usage
    if usage is None:
        return None
    written = usage.tokens_of("cache_write_")
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.tokens_of("cache_read"),
            "cache_write_tokens": written,
            "audio_tokens": usage.input_audio + usage.cache_read_audio,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.output_reasoning,
            "audio_tokens": usage.output_audio,
        },
    }
