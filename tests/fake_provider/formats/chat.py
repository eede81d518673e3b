"""OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fake_provider.behaviour import Answer, ParsedRequest
from tests.fake_provider.formats.common import (
    CREATED_AT,
    Format,
    ToolCall,
    ending,
    hidden_thinking,
    last_text,
    plain_text,
    reports,
    sse,
    tool_calls,
    word_count,
)


def chat_asked(body: Mapping[str, Any], _: str) -> ParsedRequest:
    turns = [(turn["role"], plain_text(turn.get("content"))) for turn in body["messages"]]
    return ParsedRequest(
        model=body["model"],
        words_in=word_count(text for _, text in turns),
        last_text=last_text(turns),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stream=bool(body.get("stream")),
        with_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        choices=body.get("n") or 1,
        body=body,
    )


def chat_ending(answer: Answer) -> str:
    return ending(answer, whole="stop", cut="length", tools="tool_calls")


def _usage(answer: Answer) -> dict[str, Any]:
    behaviour = answer.behaviour
    if behaviour.usage is not None:
        return dict(behaviour.usage)
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": behaviour.cached_tokens,
            "audio_tokens": 0,
            "cache_write_tokens": behaviour.cache_write_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": behaviour.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-fake",
        "object": kind,
        "created": CREATED_AT,
        "model": answer.model,
        "service_tier": answer.behaviour.service_tier or "default",
        "system_fingerprint": "fp_fake",
    }


def _message(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.content or (None if answer.behaviour.tool_calls else ""),
        "refusal": None,
        "annotations": [],
    }
    calls = tool_calls(answer)
    return message | ({"tool_calls": [_tool_call(call) for call in calls]} if calls else {})


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_fake_{call.place}", "type": "function", "function": function}


def _plain(answer: Answer) -> dict[str, Any]:
    finish = chat_ending(answer)
    body = _head(answer, "chat.completion")
    body["choices"] = [
        {"index": index, "message": _message(answer), "logprobs": None, "finish_reason": finish}
        for index in range(answer.asked.choices)
    ]
    return body | ({} if answer.behaviour.no_usage else {"usage": _usage(answer)})


def _deltas(answer: Answer) -> list[dict[str, Any]]:
    content = None if answer.behaviour.tool_calls and not answer.content else ""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": content, "refusal": None}]
    deltas += [{"content": piece} for piece in answer.pieces]
    for call in tool_calls(answer):
        begun = _tool_call(call)
        begun["function"]["arguments"] = ""
        deltas.append({"tool_calls": [{"index": call.place} | begun]})
        deltas += [
            {"tool_calls": [{"index": call.place, "function": {"arguments": fragment}}]}
            for fragment in call.fragments
        ]
    return deltas


def _events(answer: Answer) -> list[str]:
    """As the vendor does: with usage, every chunk has the field, and a last one has no choice.

    https://developers.openai.com/api/reference/resources/chat (stream_options)
    """
    head = _head(answer, "chat.completion.chunk")
    usage: dict[str, Any] = {"usage": None} if answer.asked.with_usage else {}

    def chunks(delta: Mapping[str, Any], finish: str | None = None) -> list[str]:
        return [
            sse(head | {"choices": [_choice(index, delta) | {"finish_reason": finish}]} | usage)
            for index in range(answer.asked.choices)
        ]

    first, *others = _deltas(answer)
    events = [*chunks(first), *hidden_thinking(answer)]
    events += [event for delta in others for event in chunks(delta)]
    events += answer.behaviour.extra_events
    events += chunks({}, chat_ending(answer))
    if answer.asked.with_usage:
        reported = reports(answer, _usage(answer))
        events += [sse(head | {"choices": [], "usage": report}) for report in reported]
    return [*events, "data: [DONE]\n\n"]


def _choice(index: int, delta: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None}


def openai_error(status: int, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


OPENAI_CHAT = Format(chat_asked, _plain, _events, indent=2)
