"""Chat completions for models of vendors that do not speak them: to the vendor's SDK and back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from gateway.core.calls import Delta, Message, ProviderCall
from gateway.core.demand import OutputCap
from gateway.core.models import Model
from gateway.exchange import Answered


def provider_call(
    fields: Mapping[str, Any], model: Model, cap: OutputCap, *, timeout_s: float
) -> ProviderCall:
    """Return what the vendor is asked. Raises Refused (400) for what it cannot be asked."""
    return ProviderCall(
        model=model.id,
        messages=tuple(
            Message(message["role"], message.get("content") or "") for message in fields["messages"]
        ),
        max_output_tokens=cap.tokens if cap.is_written else None,
        temperature=fields.get("temperature"),
        timeout_s=timeout_s,
    )


class Speaker:
    """Words one translated answer."""

    def __init__(self, *, model: str, request_id: UUID, with_usage: bool) -> None:
        self._with_usage = with_usage
        self._head = {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._has_begun = False

    def whole(self, answer: Answered) -> dict[str, Any]:
        """Return a chat completion."""
        completion = answer.completion
        return {
            **self._head,
            "object": "chat.completion",
            "model": answer.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": completion.content},
                    "logprobs": None,
                    "finish_reason": completion.finish_reason,
                }
            ],
            "usage": _usage(answer),
        }

    def piece(self, delta: Delta) -> bytes:
        """Return a chunk."""
        said: dict[str, Any] = {} if self._has_begun else {"role": "assistant"}
        self._has_begun = True
        return self._chunk([{"index": 0, "delta": {**said, "content": delta.content}}])

    def last(self, answer: Answered) -> bytes:
        """Return the chunk with the finish reason, that with the usage where asked, and the end."""
        reason = answer.completion.finish_reason
        ended = self._chunk([{"index": 0, "delta": {}, "finish_reason": reason}])
        usage = self._chunk([], usage=_usage(answer)) if self._with_usage else b""
        return ended + usage + b"data: [DONE]\n\n"

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: %b\n\n" % orjson.dumps({**self._head, "choices": choices, **more})


def _usage(answer: Answered) -> dict[str, Any] | None:
    usage = answer.completion.usage
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
