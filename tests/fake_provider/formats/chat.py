"""OpenAI's chat completions, and Mistral's, which differ in their ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.fake_provider.behaviour import Answer, Asked
from tests.fake_provider.formats.common import (
    CREATED_AT,
    Format,
    ending,
    last_said,
    plain_text,
    reports,
    sse,
    word_count,
)


def _chat_asked(body: Mapping[str, Any], _: str) -> Asked:
    turns = [(turn["role"], plain_text(turn.get("content"))) for turn in body["messages"]]
    return Asked(
        model=body["model"],
        words_in=word_count(text for _, text in turns),
        last_said=last_said(turns),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stream=bool(body.get("stream")),
        with_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def _openai_usage(answer: Answer) -> dict[str, Any]:
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


def _mistral_usage(answer: Answer) -> dict[str, Any]:
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


def _chat_plain(
    answer: Answer, *, usage: Callable[[Answer], dict[str, Any]], extra: dict[str, Any]
) -> dict[str, Any]:
    finish = ending(answer, whole="stop", cut="length")
    message: dict[str, Any] = {"role": "assistant", "content": answer.content} | extra
    body: dict[str, Any] = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": CREATED_AT,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if not answer.behaviour.no_usage:
        body["usage"] = usage(answer)
    if answer.behaviour.service_tier:
        body["service_tier"] = answer.behaviour.service_tier
    return body


def _openai_plain(answer: Answer) -> dict[str, Any]:
    return _chat_plain(answer, usage=_openai_usage, extra={"refusal": None, "annotations": []})


def _mistral_plain(answer: Answer) -> dict[str, Any]:
    return _chat_plain(answer, usage=_mistral_usage, extra={"tool_calls": None})


def _chunk(answer: Answer, choices: list[Any], usage: Any = None) -> dict[str, Any]:
    chunk: dict[str, Any] = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": CREATED_AT,
        "model": answer.model,
        "choices": choices,
    }
    if answer.behaviour.service_tier:
        chunk["service_tier"] = answer.behaviour.service_tier
    return chunk | ({"usage": usage} if usage is not None else {})


def _delta(delta: Mapping[str, Any], finish: str | None = None) -> list[Any]:
    return [{"index": 0, "delta": delta, "finish_reason": finish}]


def _openai_events(answer: Answer, asked: Asked) -> list[str]:
    finish = ending(answer, whole="stop", cut="length")
    events = [sse(_chunk(answer, _delta({"role": "assistant", "content": ""})))]
    events += [sse(_chunk(answer, _delta({"content": piece}))) for piece in answer.pieces]
    events += answer.behaviour.extra_events
    events.append(sse(_chunk(answer, _delta({}, finish))))
    if asked.with_usage:
        told = reports(answer, _openai_usage(answer))
        events += [sse(_chunk(answer, [], report)) for report in told]
    return [*events, "data: [DONE]\n\n"]


def _mistral_events(answer: Answer, _: Asked) -> list[str]:
    finish = ending(answer, whole="stop", cut="length")
    events = [sse(_chunk(answer, _delta({"role": "assistant", "content": ""})))]
    events += [sse(_chunk(answer, _delta({"content": piece}))) for piece in answer.pieces]
    events += answer.behaviour.extra_events
    told = reports(answer, _mistral_usage(answer)) or [None]
    last = _delta({"content": ""}, finish)
    events += [sse(_chunk(answer, last, report)) for report in told]
    return [*events, "data: [DONE]\n\n"]


def _openai_error(status: int, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _mistral_error(status: int, message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "error", "code": str(status)}


def _chat_models() -> dict[str, Any]:
    model = {"id": "gpt-4o-mini", "object": "model", "created": CREATED_AT, "owned_by": "system"}
    return {"object": "list", "data": [model, model | {"id": "gpt-4o"}]}


def _mistral_models() -> dict[str, Any]:
    model = {
        "id": "mistral-small-latest",
        "object": "model",
        "created": CREATED_AT,
        "owned_by": "mistralai",
        "capabilities": {"completion_chat": True},
        "type": "base",
    }
    return {"object": "list", "data": [model, model | {"id": "mistral-large-latest"}]}


OPENAI = Format(_chat_asked, _openai_plain, _openai_events, _openai_error, _chat_models)
MISTRAL = Format(_chat_asked, _mistral_plain, _mistral_events, _mistral_error, _mistral_models)
