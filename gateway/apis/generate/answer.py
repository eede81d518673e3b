"""Parse Gemini's generateContent: content, tool calls, finish reason and usage.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from costs.core.usage import UnusableUsage, Usage
from gateway.core.calls import Completion, Delta, ToolCall, ToolCallDelta
from gateway.core.seen import SeenOutput, texts_of
from gateway.upstream import untrusted_json

_STANDARD_TIERS: Final = frozenset({"unspecified"})
_FINISH_REASONS: Final = {
    "max_tokens": "length",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
}


def usage_from(report: Mapping[str, Any]) -> Usage | None:
    """Return the usage that a response body or a chunk reports, or None.

    The prompt's count includes the cached part and excludes what tools added; the
    candidates' count excludes thoughts.
    """
    return untrusted_json.usable(report.get("usageMetadata"), lambda usage: _usage(usage, report))


def _usage(usage: Mapping[str, Any], report: Mapping[str, Any]) -> Usage:
    prompt = untrusted_json.count(usage, "promptTokenCount")
    cached = untrusted_json.part(usage, "cachedContentTokenCount")
    tool_prompt = untrusted_json.part(usage, "toolUsePromptTokenCount")
    thoughts = untrusted_json.part(usage, "thoughtsTokenCount")
    total = usage.get("totalTokenCount")
    reported_total = None if total is None else untrusted_json.count(usage, "totalTokenCount")
    if usage.get("candidatesTokenCount") is not None:
        answer = untrusted_json.count(usage, "candidatesTokenCount")
    elif reported_total == prompt + tool_prompt + thoughts:
        answer = 0  # Google omits zeros, and the total shows that it is one
    else:
        raise UnusableUsage("candidatesTokenCount is absent")
    audio_in = _audio(usage, "promptTokensDetails") - _audio(usage, "cacheTokensDetails")
    audio_out = _audio(usage, "candidatesTokensDetails")
    return Usage(
        input_uncached=prompt - cached - audio_in,
        cache_read=cached,
        input_audio=audio_in,
        tool_prompt=tool_prompt,
        output_text=answer - audio_out,
        output_reasoning=thoughts,
        output_audio=audio_out,
        web_searches=_searches(report),
        service_tier=untrusted_json.tier(usage.get("serviceTier"), standard=_STANDARD_TIERS),
        reported_total=reported_total,
    )


def _audio(usage: Mapping[str, Any], name: str) -> int:
    parts = (untrusted_json.mapping(part) for part in untrusted_json.items(usage.get(name)))
    return sum(untrusted_json.part(p, "tokenCount") for p in parts if p.get("modality") == "AUDIO")


def _searches(report: Mapping[str, Any]) -> int:
    candidate = untrusted_json.first(report.get("candidates"))
    grounding = untrusted_json.mapping(candidate.get("groundingMetadata"))
    return len(untrusted_json.items(grounding.get("webSearchQueries")))


def finish_reason_from(report: Mapping[str, Any]) -> str | None:
    """Return the finish reason; a blocked prompt has no candidate with one."""
    reason = untrusted_json.word(untrusted_json.first(report.get("candidates")).get("finishReason"))
    if reason is None:
        blocked = untrusted_json.word(
            untrusted_json.mapping(report.get("promptFeedback")).get("blockReason")
        )
        return None if blocked is None else "content_filter"
    return _FINISH_REASONS.get(reason, reason)


def content_from(report: Mapping[str, Any]) -> str:
    """Return the text of the first candidate, without its thoughts."""
    texts = (untrusted_json.text(p.get("text")) for p in _parts(report) if not p.get("thought"))
    return "".join(texts)


def tool_calls_from(report: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """Return the first candidate's tool calls; a call is complete in its chunk."""
    calls = ((part, untrusted_json.mapping(part.get("functionCall"))) for part in _parts(report))
    return tuple(
        ToolCall(
            id=untrusted_json.text(call.get("id")),
            name=untrusted_json.text(call.get("name")),
            arguments=untrusted_json.json_text(call.get("args")),
            signature=untrusted_json.text(part.get("thoughtSignature")) or None,
        )
        for part, call in calls
        if call
    )


def _parts(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = untrusted_json.mapping(untrusted_json.first(report.get("candidates")).get("content"))
    return [untrusted_json.mapping(part) for part in untrusted_json.items(content.get("parts"))]


def completion_from(report: object, *, model: str) -> Completion:
    """Parse a whole response body. Raises ErrorAnswer for an error with a success status."""
    body = untrusted_json.mapping(report)
    untrusted_json.raise_for_error(report)
    return Completion(
        model=untrusted_json.model_named(body.get("modelVersion"), requested=model),
        content=content_from(body),
        finish_reason=finish_reason_from(body),
        usage=usage_from(body),
        raw_usage=untrusted_json.raw(body.get("usageMetadata")),
        tool_calls=tool_calls_from(body),
    )


@dataclass(slots=True)
class GenerateStreamReader:
    """Parse a stream of chunks. Each chunk's usage is cumulative: the last one counts."""

    model: str
    _answered: str | None = None
    _finish_reason: str | None = None
    _last: dict[str, Any] = field(default_factory=dict)
    _tool_calls: int = 0

    def see(self, event: object, seen: SeenOutput) -> None:
        """Record the output and the usage of one chunk; a call of a tool comes in one piece."""
        chunk = untrusted_json.mapping(event)
        seen.in_bursts = True
        for each in untrusted_json.items(chunk.get("candidates")):
            candidate = untrusted_json.mapping(each)
            content = untrusted_json.mapping(candidate.get("content"))
            for part in map(untrusted_json.mapping, untrusted_json.items(content.get("parts"))):
                written = "".join(texts_of(part, {"thoughtSignature"}))
                (seen.thoughts if part.get("thought") else seen.text).add(written)
            seen.has_ended = seen.has_ended or candidate.get("finishReason") is not None
        if chunk.get("usageMetadata") is not None:
            seen.report(usage_from(chunk))

    def feed(self, event: object) -> tuple[Delta, ...]:
        """Parse one chunk and return its deltas."""
        chunk = untrusted_json.mapping(event)
        untrusted_json.raise_for_error(chunk)
        known = self._answered or self.model
        self._answered = untrusted_json.model_named(chunk.get("modelVersion"), requested=known)
        self._finish_reason = finish_reason_from(chunk) or self._finish_reason
        if chunk.get("usageMetadata") is not None:
            self._last["usageMetadata"] = chunk["usageMetadata"]
        if _searches(chunk):
            self._last["candidates"] = chunk["candidates"]
        text = content_from(chunk)
        deltas = (Delta(text),) if text else ()
        return deltas + tuple(self._called(call) for call in tool_calls_from(chunk))

    def completion(self) -> Completion:
        """Return the answer so far."""
        return Completion(
            model=self._answered or self.model,
            content="",
            finish_reason=self._finish_reason,
            usage=usage_from(self._last),
            raw_usage=untrusted_json.raw(self._last.get("usageMetadata")),
        )

    def _called(self, call: ToolCall) -> Delta:
        self._tool_calls += 1
        return Delta(
            tool_call=ToolCallDelta(
                index=self._tool_calls - 1,
                id=call.id,
                name=call.name,
                arguments=call.arguments,
                signature=call.signature,
            )
        )
