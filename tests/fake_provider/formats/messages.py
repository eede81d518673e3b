"""Anthropic's messages, and the count of their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.fake_provider.behaviour import Answer, ParsedRequest
from tests.fake_provider.formats.common import (
    THINKS,
    Format,
    ToolCall,
    compact,
    ending,
    hidden_thinking,
    last_text,
    plain_text,
    reports,
    sse,
    tool_calls,
    word_count,
    words,
)

Event = dict[str, Any]


def _asked(body: Mapping[str, Any], _: str) -> ParsedRequest:
    return _counted(body, max_tokens=body["max_tokens"])


def _count_asked(body: Mapping[str, Any], _: str) -> ParsedRequest:
    return _counted(body, max_tokens=None)


def _counted(body: Mapping[str, Any], *, max_tokens: int | None) -> ParsedRequest:
    turns = [(turn["role"], plain_text(turn.get("content"))) for turn in body["messages"]]
    system = [plain_text(body["system"])] if body.get("system") else []
    return ParsedRequest(
        model=body["model"],
        words_in=word_count([*system, *(text for _, text in turns)]),
        last_text=last_text(turns),
        max_tokens=max_tokens,
        stream=bool(body.get("stream")),
        with_usage=True,
        body=body,
    )


def _usage(answer: Answer) -> dict[str, Any]:
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
    } | _searches_used(behaviour.web_searches)


def _searches_used(searches: int) -> dict[str, Any]:
    return {"server_tool_use": {"web_search_requests": searches}} if searches else {}


def _message(answer: Answer, content: list[Any], stop_reason: str | None) -> dict[str, Any]:
    return {
        "id": f"msg_fake_{len(answer.asked.body['messages'])}",  # agents join those of the same id
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
    }


def _stop_reason(answer: Answer) -> str:
    return ending(answer, whole="end_turn", cut="max_tokens", tools="tool_use")


def _safeguard_results(answer: Answer) -> dict[str, Any]:
    """Return the verdict on each tool call, where it was requested: Claude Code's auto mode.

    https://code.claude.com/docs/en/permission-modes#server-side-classifier-review
    """
    if not answer.asked.body.get("safeguards"):
        return {}
    harmless = {"type": "evaluated", "outcome": "not_flagged"}
    uses = {_tool_use(answer, call, {})["id"]: harmless for call in tool_calls(answer)}
    status = {"type": "available", "tool_uses": uses}
    return {"safeguard_results": [{"type": "dangerous_tool_use", "status": status}]}


def _thinking(thought: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": thought, "signature": signature}


def _tool_use(answer: Answer, call: ToolCall, given: Any) -> dict[str, Any]:
    """Return a call with an id that is new in its conversation: agents take a known one as done."""
    id_ = f"toolu_fake_{_tool_uses_in(answer.asked.body) + call.place}"
    return {"type": "tool_use", "id": id_, "name": call.name, "input": given}


def _tool_uses_in(body: Mapping[str, Any]) -> int:
    contents = [turn["content"] for turn in body["messages"]]
    blocks = [block for each in contents if isinstance(each, list) for block in each]
    return sum(block.get("type") == "tool_use" for block in blocks)


def _searches(answer: Answer) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each search that the provider made, and its result.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool
    """
    for number in range(answer.behaviour.web_searches):
        use = {"id": f"srvtoolu_fake_{number}", "name": "web_search"}
        found = {
            "type": "web_search_result",
            "url": "https://example.org/found",
            "title": "Found",
            "encrypted_content": "ZW5jcnlwdGVk",
            "page_age": None,
        }
        result = {"type": "web_search_tool_result", "tool_use_id": use["id"], "content": [found]}
        yield {"type": "server_tool_use", **use, "input": {"query": "hello"}}, result


def _plain(answer: Answer) -> dict[str, Any]:
    thought = answer.behaviour.thinking
    content: list[Any] = [_thinking(thought, "c2lnbmVk")] if thought else []
    content += [block for pair in _searches(answer) for block in pair]
    content += [{"type": "text", "text": answer.content}] if answer.pieces else []
    given = [dict(call.get("arguments", {})) for call in answer.behaviour.tool_calls]
    content += [
        _tool_use(answer, call, arguments)
        for call, arguments in zip(tool_calls(answer), given, strict=True)
    ]
    body = _message(answer, content, _stop_reason(answer)) | _safeguard_results(answer)
    return body | ({} if answer.behaviour.no_usage else {"usage": _usage(answer)})


def _blocks(answer: Answer) -> Iterator[tuple[Event, list[Event]]]:
    """Yield each block's start and its deltas."""
    thought = answer.behaviour.thinking
    if thought or answer.behaviour.hidden_thinking_tokens:
        signed = {"type": "signature_delta", "signature": "c2lnbmVk"}
        shown = [{"type": "thinking_delta", "thinking": each} for each in words(thought or "")]
        yield _thinking("", ""), [*shown, signed]
    for use, result in _searches(answer):
        query = {"type": "input_json_delta", "partial_json": compact(use["input"])}
        yield use | {"input": {}}, [query]
        yield result, []
    if answer.pieces:
        deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        yield {"type": "text", "text": ""}, deltas
    for call in tool_calls(answer):
        fragments = ["", *call.fragments]  # the first is empty, as the vendor's is
        deltas = [{"type": "input_json_delta", "partial_json": each} for each in fragments]
        yield _tool_use(answer, call, {}), deltas


def _block_events(answer: Answer) -> list[Event]:
    """As the vendor does: a ping after the first block's start, and sometimes later."""
    events: list[Event] = []
    for index, (block, deltas) in enumerate(_blocks(answer)):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "ping"}] if index == 0 else []
        if block["type"] == "thinking":
            events += [{"type": THINKS}] * len(hidden_thinking(answer))
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    return events


def _events(answer: Answer) -> list[str]:
    usage = _usage(answer)
    message = _message(answer, [], None)
    if not answer.behaviour.no_usage:
        message["usage"] = usage | {"output_tokens": 1}
    begun: list[Event] = [{"type": "message_start", "message": message}, *_block_events(answer)]
    written = [THINKS if event["type"] == THINKS else sse(event, event["type"]) for event in begun]
    *written, last_stop = written
    written += [*answer.behaviour.extra_events, last_stop]
    stop: dict[str, Any] = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
    stop |= _safeguard_results(answer)
    # As the vendor does: no split of the cache and no tier in a message_delta.
    counted = {n: c for n, c in usage.items() if n not in {"cache_creation", "service_tier"}}
    ends: list[Event] = [
        {"type": "message_delta", "delta": stop} | ({} if report is None else {"usage": report})
        for report in reports(answer, counted) or [None]
    ]
    ends.append({"type": "message_stop"})
    return written + [sse(event, event["type"]) for event in ends]


def _count_plain(answer: Answer) -> dict[str, Any]:
    return {"input_tokens": answer.input_tokens}


_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    kind = _KINDS.get(status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_fake",
    }


ANTHROPIC_MESSAGES = Format(_asked, _plain, _events)
ANTHROPIC_COUNT = Format(_count_asked, _count_plain, is_billed=False)
