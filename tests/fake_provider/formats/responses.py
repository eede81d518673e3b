"""OpenAI's responses: output items, and a stream with an event for the start and end of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from tests.fake_provider.behaviour import Answer, ParsedRequest
from tests.fake_provider.formats.common import (
    CREATED_AT,
    THINKS,
    Format,
    ToolCall,
    compact,
    hidden_thinking,
    last_text,
    plain_text,
    reports,
    sse,
    tool_calls,
    word_count,
    words,
)

STATUSES: Final = ("completed", "incomplete", "failed")
Event = tuple[str, dict[str, Any]]


def _asked(body: Mapping[str, Any], _: str) -> ParsedRequest:
    given = body["input"] if _is_first(body) else body.get("input") or []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    turns = [(item.get("role", ""), plain_text(item.get("content"))) for item in items]
    instructions = body.get("instructions")
    return ParsedRequest(
        model=body["model"],
        words_in=word_count([*([instructions] if instructions else []), *(t for _, t in turns)]),
        last_text=last_text(turns),
        max_tokens=body.get("max_output_tokens"),
        stream=bool(body.get("stream")),
        with_usage=True,
        body=body,
    )


def _is_first(body: Mapping[str, Any]) -> bool:
    return not (body.get("previous_response_id") or body.get("conversation"))


def _mark(answer: Answer) -> str:
    """Return what the ids of an answer end with: the same for the same conversation."""
    body = answer.asked.body
    names = ("input", "instructions", "previous_response_id", "conversation")
    return sha256(compact([body.get(name) for name in names]).encode()).hexdigest()[:24]


def _usage(answer: Answer) -> dict[str, Any]:
    behaviour = answer.behaviour
    if behaviour.usage is not None:
        return dict(behaviour.usage)
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {
            "cached_tokens": behaviour.cached_tokens,
            "cache_write_tokens": behaviour.cache_write_tokens,
        },
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": behaviour.reasoning_tokens},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


def _status(answer: Answer) -> str:
    """Return the status; a behaviour may name it as its finish reason."""
    if answer.behaviour.finish_reason in STATUSES:
        return answer.behaviour.finish_reason
    return "completed" if answer.is_whole else "incomplete"


def _response(answer: Answer, status: str, output: list[Any], usage: Any) -> dict[str, Any]:
    body = answer.asked.body
    failed = {"code": "server_error", "message": "The fake provider failed"}
    return {
        "id": f"resp_{_mark(answer)}",
        "object": "response",
        "created_at": CREATED_AT,
        "status": status,
        "background": False,
        "error": failed if status == "failed" else None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": answer.behaviour.service_tier or "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _message(answer: Answer, status: str, content: list[Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{_mark(answer)}",
        "type": "message",
        "status": status,
        "content": content,
        "role": "assistant",
    }


def _kind(call: ToolCall) -> tuple[str, str, str]:
    """Return the type of a tool call, its field for what the model gives, and how ids begin."""
    if call.is_custom:
        return "custom_tool_call", "input", "ctc"
    return "function_call", "arguments", "fc"


def _tool_call(answer: Answer, call: ToolCall, status: str, given: str) -> dict[str, Any]:
    kind, field, prefix = _kind(call)
    item = {
        "id": f"{prefix}_{_mark(answer)}_{call.place}",
        "type": kind,
        "status": status,
        field: given,
        "call_id": f"call_fake_{call.place}",
        "name": call.name,
    }
    return item | ({"namespace": call.namespace} if call.namespace else {})


def _reasoning(answer: Answer) -> list[dict[str, Any]]:
    thought = answer.behaviour.thinking
    if thought is None and not answer.behaviour.hidden_thinking_tokens:
        return []
    summary = [{"type": "summary_text", "text": thought}] if thought else []
    return [{"id": f"rs_{_mark(answer)}", "type": "reasoning", "summary": summary}]


def _searches(answer: Answer) -> list[dict[str, Any]]:
    most = answer.asked.body.get("max_tool_calls") or answer.behaviour.web_searches
    action, mark = {"type": "search", "query": "hello"}, _mark(answer)
    return [
        {"id": f"ws_{mark}_{n}", "type": "web_search_call", "status": "completed", "action": action}
        for n in range(min(most, answer.behaviour.web_searches))
    ]


def _output(answer: Answer) -> list[dict[str, Any]]:
    state = "completed" if answer.is_whole else "incomplete"
    messages = [_message(answer, state, [_text_part(answer.content)])] if answer.pieces else []
    calls = [_tool_call(answer, call, "completed", call.arguments) for call in tool_calls(answer)]
    return [*_reasoning(answer), *_searches(answer), *messages, *calls]


def _plain(answer: Answer) -> dict[str, Any]:
    usage = None if answer.behaviour.no_usage else _usage(answer)
    return _response(answer, _status(answer), _output(answer), usage)


def _message_events(answer: Answer, place: int) -> Iterator[Event]:
    at = {"item_id": f"msg_{_mark(answer)}", "output_index": place, "content_index": 0}
    begun, whole = _message(answer, "in_progress", []), _text_part(answer.content)
    state = "completed" if answer.is_whole else "incomplete"
    yield "output_item.added", {"output_index": place, "item": begun}
    yield "content_part.added", at | {"part": _text_part("")}
    for piece in answer.pieces:
        yield "output_text.delta", at | {"delta": piece, "logprobs": []}
    yield "output_text.done", at | {"text": answer.content, "logprobs": []}
    yield "content_part.done", at | {"part": whole}
    yield "output_item.done", {"output_index": place, "item": _message(answer, state, [whole])}


def _call_events(answer: Answer, call: ToolCall, place: int) -> Iterator[Event]:
    begun = _tool_call(answer, call, "in_progress", "")
    whole = _tool_call(answer, call, "completed", call.arguments)
    at = {"item_id": whole["id"], "output_index": place}
    kind, field, _ = _kind(call)
    yield "output_item.added", {"output_index": place, "item": begun}
    for fragment in call.fragments:
        yield f"{kind}_{field}.delta", at | {"delta": fragment}
    yield f"{kind}_{field}.done", at | {field: call.arguments}
    yield "output_item.done", {"output_index": place, "item": whole}


def _item_events(answer: Answer) -> Iterator[Event]:
    place = 0
    for item in _reasoning(answer):
        yield "output_item.added", {"output_index": place, "item": item | {"summary": []}}
        yield from ((THINKS, {}) for _ in hidden_thinking(answer))
        at = {"item_id": item["id"], "output_index": place, "summary_index": 0}
        for word in words(answer.behaviour.thinking or ""):
            yield "reasoning_summary_text.delta", at | {"delta": word}
        yield "output_item.done", {"output_index": place, "item": item}
        place += 1
    for item in _searches(answer):
        yield "output_item.added", {"output_index": place, "item": item}
        yield "output_item.done", {"output_index": place, "item": item}
        place += 1
    if answer.pieces:
        yield from _message_events(answer, place)
        place += 1
    for call in tool_calls(answer):
        yield from _call_events(answer, call, place + call.place)


def _events(answer: Answer) -> list[str]:
    begun = _response(answer, "in_progress", [], None)
    events: list[Event] = [("created", {"response": begun}), ("in_progress", {"response": begun})]
    events += _item_events(answer)
    written = [_written(number, *event) for number, event in enumerate(events)]
    written += answer.behaviour.extra_events
    status, output = _status(answer), _output(answer)
    for report in reports(answer, _usage(answer)) or [None]:
        ended = _response(answer, status, output, report)
        written.append(_written(len(written), status, {"response": ended}))
    return written


def _written(number: int, name: str, data: Mapping[str, Any]) -> str:
    if name == THINKS:
        return THINKS
    kind = f"response.{name}"
    return sse({"type": kind, "sequence_number": number} | dict(data), kind)


def _compaction(answer: Answer) -> dict[str, Any]:
    item = {"id": f"cmp_{_mark(answer)}", "type": "compaction", "encrypted_content": "c" * 40}
    report = {"id": f"resp_{_mark(answer)}", "object": "response.compaction"}
    usage = None if answer.behaviour.no_usage else _usage(answer)
    return report | {"created_at": CREATED_AT, "output": [item], "usage": usage}


def _count(answer: Answer) -> dict[str, Any]:
    return {"object": "response.input_tokens", "input_tokens": answer.input_tokens}


OPENAI_RESPONSES = Format(_asked, _plain, _events, indent=2, keeps=True, is_kept=True)
OPENAI_COMPACT = Format(_asked, _compaction, keeps=True)
OPENAI_COUNT = Format(_asked, _count, is_billed=False, keeps=True)
