"""Mistral's chat completions: a stream's last chunk has the usage, and tool calls are not split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fake_provider.behaviour import Answer
from tests.fake_provider.formats.chat import chat_asked, chat_ending
from tests.fake_provider.formats.common import (
    CREATED_AT,
    Format,
    hidden_thinking,
    reports,
    sse,
    tool_calls,
)


def _usage(answer: Answer) -> dict[str, Any]:
    behaviour = answer.behaviour
    if behaviour.usage is not None:
        return dict(behaviour.usage)
    usage: dict[str, Any] = {
        "prompt_tokens": answer.input_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "completion_tokens": answer.output_tokens,
    }
    if behaviour.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": behaviour.cached_tokens}
    return usage


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    head = {"id": "fake", "object": kind, "created": CREATED_AT, "model": answer.model}
    tier = answer.behaviour.service_tier
    return head | ({"service_tier": tier} if tier else {})


def _tool_calls(answer: Answer) -> list[dict[str, Any]] | None:
    calls = [
        {
            "id": f"fakeCall{call.place}",  # nine letters and digits, as the vendor demands
            "function": {"name": call.name, "arguments": call.arguments},
            "index": call.place,
        }
        for call in tool_calls(answer)
    ]
    return calls or None


def _plain(answer: Answer) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "tool_calls": _tool_calls(answer),
        "content": answer.content,
    }
    body = _head(answer, "chat.completion")
    body["choices"] = [
        {"index": index, "finish_reason": chat_ending(answer), "message": message}
        for index in range(answer.asked.choices)
    ]
    return body | ({} if answer.behaviour.no_usage else {"usage": _usage(answer)})


def _events(answer: Answer) -> list[str]:
    head = _head(answer, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        return head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    events = [sse(chunk({"role": "assistant", "content": ""})), *hidden_thinking(answer)]
    events += [sse(chunk({"content": piece})) for piece in answer.pieces]
    events += answer.behaviour.extra_events
    calls = _tool_calls(answer)
    last = chunk({"content": ""} | ({"tool_calls": calls} if calls else {}), chat_ending(answer))
    reported = reports(answer, _usage(answer))
    events += [sse(last | {"usage": report}) for report in reported] or [sse(last)]
    return [*events, "data: [DONE]\n\n"]


def mistral_error(status: int, message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "error", "code": str(status)}


MISTRAL_CHAT = Format(chat_asked, _plain, _events)
