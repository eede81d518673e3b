"""Google's generateContent, its streams, and the count of their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.fake_provider.behaviour import Answer, ParsedRequest
from tests.fake_provider.formats.common import (
    Format,
    compact,
    ending,
    hidden_thinking,
    last_text,
    plain_text,
    reports,
    word_count,
    words,
)


def _asked(body: Mapping[str, Any], path: str) -> ParsedRequest:
    return _counted(body, body, path)


def _count_asked(body: Mapping[str, Any], path: str) -> ParsedRequest:
    return _counted(body, body.get("generateContentRequest") or body, path)


def _counted(body: Mapping[str, Any], content_body: Mapping[str, Any], path: str) -> ParsedRequest:
    model, _, method = path.rpartition("/")[2].partition(":")
    turns = [
        (turn.get("role", "user"), plain_text(turn.get("parts")))
        for turn in content_body["contents"]
    ]
    system = plain_text((content_body.get("systemInstruction") or {}).get("parts"))
    config = content_body.get("generationConfig") or {}
    return ParsedRequest(
        model=model,
        words_in=word_count([*([system] if system else []), *(text for _, text in turns)]),
        last_text=last_text(turns),
        max_tokens=config.get("maxOutputTokens"),
        stream=method == "streamGenerateContent",
        with_usage=True,
        choices=config.get("candidateCount") or 1,
        body=body,
    )


def _usage(answer: Answer) -> dict[str, Any]:
    behaviour = answer.behaviour
    if behaviour.usage is not None:
        return dict(behaviour.usage)
    counts = {
        "promptTokenCount": answer.input_tokens,
        "cachedContentTokenCount": behaviour.cached_tokens,
        "candidatesTokenCount": answer.output_tokens - behaviour.reasoning_tokens,
        "thoughtsTokenCount": behaviour.reasoning_tokens,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
    }
    # As the vendor does: a count of zero is omitted.
    usage: dict[str, Any] = {name: count for name, count in counts.items() if count}
    return usage | {"promptTokensDetails": _by_modality(answer)}


def _by_modality(answer: Answer) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": answer.input_tokens}]


def _body(answer: Answer, parts: list[Any], finish: str | None, usage: Any) -> dict[str, Any]:
    content = {"parts": parts, "role": "model"}
    end = {"finishReason": finish, **_grounding(answer)} if finish else {}
    body: dict[str, Any] = {
        "candidates": [
            {"content": content} | end | {"index": index} for index in range(answer.asked.choices)
        ]
    }
    body |= {"usageMetadata": usage} if usage is not None else {}
    return body | {"modelVersion": answer.model, "responseId": "fake"}


def _grounding(answer: Answer) -> dict[str, Any]:
    """Return what was searched and found.

    https://ai.google.dev/gemini-api/docs/google-search
    """
    if not answer.behaviour.web_searches:
        return {}
    queries = [f"hello {number}" for number in range(answer.behaviour.web_searches)]
    found = {"web": {"uri": "https://example.org/found", "title": "Found"}}
    return {"groundingMetadata": {"webSearchQueries": queries, "groundingChunks": [found]}}


def _thought(answer: Answer) -> list[dict[str, Any]]:
    thought = answer.behaviour.thinking
    return [{"text": thought, "thought": True}] if thought else []


def _function_calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"functionCall": {"name": call["name"], "args": dict(call.get("arguments", {}))}}
        for call in answer.behaviour.tool_calls
    ]


def _finish(answer: Answer) -> str:
    return ending(answer, whole="STOP", cut="MAX_TOKENS", tools="STOP")


def _plain(answer: Answer) -> dict[str, Any]:
    texts = [{"text": answer.content}] if answer.pieces else []
    parts = [*_thought(answer), *texts, *_function_calls(answer)]
    usage = None if answer.behaviour.no_usage else _usage(answer)
    return _body(answer, parts, _finish(answer), usage)


def _events(answer: Answer) -> list[str]:
    reported = reports(answer, _usage(answer)) or [None]
    thoughts = [
        [{"text": word, "thought": True}] for word in words(answer.behaviour.thinking or "")
    ]
    texts = [[{"text": piece}] for piece in answer.pieces]
    calls = [_function_calls(answer)] if answer.behaviour.tool_calls else []
    steps: list[list[Any]] = [*thoughts, *texts, *calls]
    *head, tail = steps
    is_counted = reported[0] is not None and answer.behaviour.usage is None
    events = hidden_thinking(answer)
    for place, parts in enumerate(head, start=1):
        counted = _so_far(answer, thoughts=len(thoughts), words=place) if is_counted else None
        events.append(_sse(_body(answer, parts, None, counted)))
    events += answer.behaviour.extra_events
    finish = _finish(answer)
    events.append(_sse(_body(answer, tail, finish, reported[0])))
    return events + [_sse(_body(answer, [{"text": ""}], finish, again)) for again in reported[1:]]


def _so_far(answer: Answer, *, thoughts: int, words: int) -> dict[str, Any]:
    """As the vendor does: every chunk counts up to its moment."""
    thought = min(thoughts, words) + answer.behaviour.hidden_thinking_tokens
    counts = {
        "promptTokenCount": answer.input_tokens,
        "candidatesTokenCount": words - min(thoughts, words),
        "thoughtsTokenCount": thought,
        "totalTokenCount": answer.input_tokens + words + answer.behaviour.hidden_thinking_tokens,
    }
    return {name: count for name, count in counts.items() if count}


def _sse(body: Mapping[str, Any]) -> str:
    """As the vendor does: lines end in CR and LF."""
    return f"data: {compact(body)}\r\n\r\n"


def as_array(events: list[str]) -> list[str]:
    """Return a stream as one JSON array that grows, which is what comes without `alt=sse`."""
    bodies = [event.partition("data: ")[2].strip() for event in events]
    first, *others = bodies
    return [f"[{first}", *(f"\n,\r\n{body}" for body in others), "\n]\n"]


def _count_plain(answer: Answer) -> dict[str, Any]:
    return {"totalTokens": answer.input_tokens, "promptTokensDetails": _by_modality(answer)}


_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def google_error(status: int, message: str) -> dict[str, Any]:
    word = _STATUSES.get(status, "INTERNAL")
    return {"error": {"code": status, "message": message, "status": word}}


GOOGLE_GENERATE = Format(_asked, _plain, _events, indent=2, without_sse=as_array)
GOOGLE_COUNT = Format(_count_asked, _count_plain, indent=2, is_billed=False)
