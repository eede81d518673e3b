"""Google's generateContent."""

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


def _gemini_asked(body: Mapping[str, Any], path: str) -> Asked:
    model, _, method = path.rpartition("/")[2].partition(":")
    turns = [(turn.get("role", "user"), plain_text(turn.get("parts"))) for turn in body["contents"]]
    system = plain_text((body.get("systemInstruction") or {}).get("parts"))
    return Asked(
        model=model,
        words_in=word_count([*([system] if system else []), *(text for _, text in turns)]),
        last_said=last_said(turns),
        max_tokens=(body.get("generationConfig") or {}).get("maxOutputTokens"),
        stream=method == "streamGenerateContent",
        with_usage=True,
    )


def _google_usage(answer: Answer) -> dict[str, Any]:
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
    # As the vendor does: a count of zero is left out.
    usage: dict[str, Any] = {name: count for name, count in counts.items() if count}
    return usage | {
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.input_tokens}]
    }


def _google_body(answer: Answer, text: str, finish: str | None, usage: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    candidate: dict[str, Any] = {"content": content, "index": 0}
    body: dict[str, Any] = {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "modelVersion": answer.model,
        "responseId": "fake",
    }
    return body | ({"usageMetadata": usage} if usage is not None else {})


def _google_plain(answer: Answer) -> dict[str, Any]:
    finish = ending(answer, whole="STOP", cut="MAX_TOKENS")
    usage = None if answer.behaviour.no_usage else _google_usage(answer)
    return _google_body(answer, answer.content, finish, usage)


def _google_events(answer: Answer, _: Asked) -> list[str]:
    finish = ending(answer, whole="STOP", cut="MAX_TOKENS")
    told = reports(answer, _google_usage(answer)) or [None]
    # As the vendor does: every chunk counts up to its moment.
    partial = None
    if told[0] is not None and answer.behaviour.usage is None:
        partial = told[0] | {
            "candidatesTokenCount": 1,
            "totalTokenCount": answer.input_tokens + 1,
        }
    *head, tail = answer.pieces
    events = [sse(_google_body(answer, piece, None, partial)) for piece in head]
    events += answer.behaviour.extra_events
    events.append(sse(_google_body(answer, tail, finish, told[0])))
    return events + [sse(_google_body(answer, "", finish, again)) for again in told[1:]]


_GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _google_error(status: int, message: str) -> dict[str, Any]:
    word = _GOOGLE_STATUSES.get(status, "INTERNAL")
    return {"error": {"code": status, "message": message, "status": word}}


def _google_models() -> dict[str, Any]:
    return {
        "models": [
            {"name": "models/gemini-2.5-flash", "displayName": "Gemini 2.5 Flash"},
            {"name": "models/gemini-2.5-pro", "displayName": "Gemini 2.5 Pro"},
        ]
    }


GOOGLE = Format(_gemini_asked, _google_plain, _google_events, _google_error, _google_models)
