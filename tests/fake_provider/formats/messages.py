"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fake_provider.behaviour import Answer, Asked
from tests.fake_provider.formats.common import (
    Format,
    ending,
    last_said,
    plain_text,
    reports,
    sse,
    word_count,
)


def _messages_asked(body: Mapping[str, Any], _: str) -> Asked:
    turns = [(turn["role"], plain_text(turn.get("content"))) for turn in body["messages"]]
    system = [plain_text(body["system"])] if body.get("system") else []
    return Asked(
        model=body["model"],
        words_in=word_count([*system, *(text for _, text in turns)]),
        last_said=last_said(turns),
        max_tokens=body["max_tokens"],
        stream=bool(body.get("stream")),
        with_usage=True,
    )


def _anthropic_usage(answer: Answer) -> dict[str, Any]:
    behaviour = answer.behaviour
    if behaviour.usage is not None:
        return dict(behaviour.usage)
    written = behaviour.cache_write_tokens
    return {
        "input_tokens": answer.input_tokens - behaviour.cached_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": behaviour.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"thinking_tokens": behaviour.reasoning_tokens},
        "service_tier": behaviour.service_tier or "standard",
    }


def _message(answer: Answer, content: list[Any], stop_reason: str | None) -> dict[str, Any]:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
    }


def _anthropic_plain(answer: Answer) -> dict[str, Any]:
    content = [{"type": "text", "text": answer.content}]
    body = _message(answer, content, ending(answer, whole="end_turn", cut="max_tokens"))
    if not answer.behaviour.no_usage:
        body["usage"] = _anthropic_usage(answer)
    return body


def _anthropic_events(answer: Answer, _: Asked) -> list[str]:
    usage = _anthropic_usage(answer)
    message = _message(answer, [], None)
    if not answer.behaviour.no_usage:
        message["usage"] = usage | {"output_tokens": 1}
    block = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "ping"},
    ]
    for piece in answer.pieces:
        delta = {"type": "text_delta", "text": piece}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    written = [sse(event, event["type"]) for event in events]
    written += answer.behaviour.extra_events
    stop = {
        "stop_reason": ending(answer, whole="end_turn", cut="max_tokens"),
        "stop_sequence": None,
    }
    # As the vendor does: no split of the cache and no tier in a message_delta.
    counted = {n: c for n, c in usage.items() if n not in {"cache_creation", "service_tier"}}
    ends: list[dict[str, Any]] = [{"type": "content_block_stop", "index": 0}]
    ends += [
        {"type": "message_delta", "delta": stop} | ({} if report is None else {"usage": report})
        for report in reports(answer, counted) or [None]
    ]
    ends.append({"type": "message_stop"})
    return written + [sse(event, event["type"]) for event in ends]


_ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def _anthropic_error(status: int, message: str) -> dict[str, Any]:
    kind = _ANTHROPIC_ERRORS.get(status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_fake",
    }


def _anthropic_models() -> dict[str, Any]:
    model = {
        "type": "model",
        "id": "claude-sonnet-4-5",
        "display_name": "Claude Sonnet 4.5",
        "created_at": "2025-09-29T00:00:00Z",
    }
    return {"data": [model], "has_more": False, "first_id": model["id"], "last_id": model["id"]}


ANTHROPIC = Format(
    _messages_asked, _anthropic_plain, _anthropic_events, _anthropic_error, _anthropic_models
)
