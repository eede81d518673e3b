"""Parse Gemini's generateContent: content, tool calls, finish reason and usage.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from costs.core.usage import UnusableUsage, Usage
from gateway.apis.families.gemini.models import pays_for_each_search
from gateway.core.calls import Completion, Delta, ToolCallDelta
from gateway.core.messages import ToolCall
from gateway.core.seen import SeenOutput, all_text
from gateway.upstream import untrusted_json
from gateway.upstream.untrusted_json import ErrorAnswer

_STANDARD_TIERS: Final = frozenset({"unspecified"})
_TIER_PREFIX: Final = "service_tier_"
_FINISH_REASONS: Final = {
    "max_tokens": "length",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "image_prohibited_content": "content_filter",
    "image_recitation": "content_filter",
    "model_armor": "content_filter",
    "escalation": "content_filter",
    "language": "content_filter",  # what it would write is in no language that it may write
}
# Every other reason is an error: a call that cannot be parsed (MALFORMED_FUNCTION_CALL), one of no
# declared tool (UNEXPECTED_TOOL_CALL), OTHER, and those that are not known yet.
# https://ai.google.dev/api/generate-content#FinishReason
_ANSWERED: Final = frozenset({"stop", "length", "content_filter", "continuation"})


def usage_from(report: Mapping[str, Any], searches: int | None = None) -> Usage | None:
    """Return the usage that a response body or a chunk reports, or None.

    The prompt's count includes the cached part and excludes what tools added; the
    candidates' count excludes thoughts. Searches are counted as the answering model is billed;
    those of a stream's earlier chunks are given.
    """
    found = _searches(report) if searches is None else searches
    return untrusted_json.usable(report.get("usageMetadata"), lambda usage: _usage(usage, found))


def _usage(usage: Mapping[str, Any], searches: int) -> Usage:
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
    cached_audio = _audio(usage, "cacheTokensDetails")
    audio_in = _audio(usage, "promptTokensDetails") - cached_audio
    audio_out = _audio(usage, "candidatesTokensDetails")
    return Usage(
        input_uncached=prompt - cached - audio_in,
        cache_read=cached - cached_audio,
        cache_read_audio=cached_audio,
        input_audio=audio_in,
        tool_prompt=tool_prompt,
        output_text=answer - audio_out,
        output_reasoning=thoughts,
        output_audio=audio_out,
        web_searches=searches,
        service_tier=tier_named(usage.get("serviceTier")),
        reported_total=reported_total,
    )


def tier_named(value: object) -> str:
    """Return a tier's name: Google also writes `SERVICE_TIER_FLEX`. Raises UnusableUsage."""
    if isinstance(value, str):
        value = value.lower().removeprefix(_TIER_PREFIX)
    return untrusted_json.tier(value, standard=_STANDARD_TIERS)


def _audio(usage: Mapping[str, Any], name: str) -> int:
    parts = (untrusted_json.mapping(part) for part in untrusted_json.items(usage.get(name)))
    return sum(untrusted_json.part(p, "tokenCount") for p in parts if p.get("modality") == "AUDIO")


def _searches(report: Mapping[str, Any]) -> int:
    """Return how many fees the searches of an answer have.

    Up to Gemini 2.5 a prompt with any grounding has one, from Gemini 3 on each unique query that is
    not empty: https://ai.google.dev/gemini-api/docs/google-search#pricing
    """
    grounding = _grounding(report)
    answered = untrusted_json.text(report.get("modelVersion"))
    return _fees(answered, _queries(grounding), is_grounded=_is_grounded(grounding))


def _fees(answered: str, queries: Collection[str], *, is_grounded: bool) -> int:
    if pays_for_each_search(answered.removeprefix("models/")):
        return len(queries)
    return int(bool(queries) or is_grounded)


def _is_grounded(grounding: Iterable[Mapping[str, Any]]) -> bool:
    return any(each.get("groundingChunks") for each in grounding)


def _grounding(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    candidates = map(untrusted_json.mapping, untrusted_json.items(report.get("candidates")))
    given = (untrusted_json.mapping(each.get("groundingMetadata")) for each in candidates)
    return [grounding for grounding in given if grounding]


def _queries(grounding: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """Return the unique queries that are not empty, in order."""
    queries = (q for each in grounding for q in untrusted_json.items(each.get("webSearchQueries")))
    return {query: None for query in queries if isinstance(query, str) and query.strip()}


def finish_reason_from(report: Mapping[str, Any]) -> str | None:
    """Return the finish reason; a blocked prompt has no candidate with one."""
    reason = untrusted_json.word(untrusted_json.first(report.get("candidates")).get("finishReason"))
    if reason is None:
        blocked = untrusted_json.word(
            untrusted_json.mapping(report.get("promptFeedback")).get("blockReason")
        )
        return None if blocked is None else "content_filter"
    return _FINISH_REASONS.get(reason, reason)


def is_failure(finish_reason: str | None) -> bool:
    """Whether a finish reason is an error, so that what was written is no answer."""
    return finish_reason is not None and finish_reason not in _ANSWERED


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
    """Parse a whole response body. Raises ErrorAnswer for an error with a success status.

    An answer without a finish reason was cut off.
    """
    body = untrusted_json.mapping(report)
    untrusted_json.raise_for_error(report)
    answered = untrusted_json.model_named(body.get("modelVersion"), requested=model)
    reason, usage = finish_reason_from(body), usage_from({**body, "modelVersion": answered})
    if reason is None:
        raise ErrorAnswer("", usage=usage)
    return Completion(
        model=answered,
        content=content_from(body),
        finish_reason=reason,
        failed=is_failure(reason),
        usage=usage,
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
    _queries: dict[str, None] = field(default_factory=dict)
    _is_grounded: bool = False
    _tool_calls: int = 0

    def see(self, event: object, seen: SeenOutput) -> None:
        """Record the output and the usage of one chunk; a call of a tool comes in one piece."""
        chunk = untrusted_json.mapping(event)
        seen.in_bursts = True
        for each in untrusted_json.items(chunk.get("candidates")):
            candidate = untrusted_json.mapping(each)
            content = untrusted_json.mapping(candidate.get("content"))
            for part in map(untrusted_json.mapping, untrusted_json.items(content.get("parts"))):
                shown = seen.thoughts if part.get("thought") else seen.text
                shown.add(all_text(part, {"thoughtSignature"}))
            if candidate.get("finishReason") is not None:
                seen.end(candidate.get("index"))
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
        grounding = _grounding(chunk)
        self._queries |= _queries(grounding)
        self._is_grounded = self._is_grounded or _is_grounded(grounding)
        text = content_from(chunk)
        deltas = (Delta(text),) if text else ()
        if is_failure(self._finish_reason):  # a call in it must not be run
            return deltas
        return deltas + tuple(self._called(call) for call in tool_calls_from(chunk))

    def completion(self) -> Completion:
        """Return the answer so far."""
        answered = self._answered or self.model
        return Completion(
            model=answered,
            content="",
            finish_reason=self._finish_reason,
            failed=is_failure(self._finish_reason),
            usage=usage_from({**self._last, "modelVersion": answered}, self._searches(answered)),
            raw_usage=untrusted_json.raw(self._last.get("usageMetadata")),
        )

    def _searches(self, answered: str) -> int:
        return _fees(answered, self._queries, is_grounded=self._is_grounded)

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
