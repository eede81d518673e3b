"""Parse OpenAI's chat completions: content, finish reason and usage.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from costs.core.usage import Usage
from gateway.apis import cache_writes
from gateway.apis.families.openai import is_reasoning
from gateway.core.calls import Completion, Delta
from gateway.core.model_names import always_searches
from gateway.core.seen import SeenOutput, all_text
from gateway.upstream import untrusted_json

# Fields of a delta that are not output.
_NO_OUTPUT: Final = frozenset({"id", "role", "type"})
UsageFrom = Callable[[Mapping[str, Any]], Usage | None]

# on_demand is Groq's: https://console.groq.com/docs/service-tiers
_STANDARD_TIERS: Final = frozenset({"default", "on_demand"})
_FINISH_REASONS: Final = {"function_call": "tool_calls"}


def usage_from(report: Mapping[str, Any]) -> Usage | None:
    """Return the usage that a response body (or a stream's chunk) reports, or None.

    The prompt's count includes cache reads and writes; the completion's includes reasoning.
    The tier is the response's, not the request's; a search model has a search in every answer.
    """
    return untrusted_json.usable(report.get("usage"), lambda usage: _usage(usage, report))


def _usage(usage: Mapping[str, Any], report: Mapping[str, Any]) -> Usage:
    prompt = untrusted_json.details(usage, "prompt_tokens_details")
    completion = untrusted_json.details(usage, "completion_tokens_details")
    # DeepSeek's name of it: https://api-docs.deepseek.com/guides/kv_cache
    cached = untrusted_json.part(prompt, "cached_tokens") or untrusted_json.part(
        usage, "prompt_cache_hit_tokens"
    )
    cached_audio = untrusted_json.part(
        untrusted_json.details(prompt, "cached_tokens_details"), "audio_tokens"
    )
    written = cache_writes.by_openai(prompt)
    audio_in = untrusted_json.part(prompt, "audio_tokens") - cached_audio
    reasoning = untrusted_json.part(completion, "reasoning_tokens")
    audio_out = untrusted_json.part(completion, "audio_tokens")
    total = usage.get("total_tokens")
    return Usage(
        input_uncached=untrusted_json.count(usage, "prompt_tokens")
        - cached
        - sum(written.values())
        - audio_in,
        cache_read=cached - cached_audio,
        cache_read_audio=cached_audio,
        **written,
        input_audio=audio_in,
        output_text=untrusted_json.count(usage, "completion_tokens") - reasoning - audio_out,
        output_reasoning=reasoning,
        output_audio=audio_out,
        web_searches=_searches(report),
        service_tier=untrusted_json.tier(report.get("service_tier"), standard=_STANDARD_TIERS),
        reported_total=None if total is None else untrusted_json.count(usage, "total_tokens"),
    )


def _searches(report: Mapping[str, Any]) -> int:
    """Return 1 for an answer of a search model, which searches once per request, or a cited one."""
    if always_searches(untrusted_json.text(report.get("model"))):
        return 1
    message = untrusted_json.mapping(untrusted_json.first(report.get("choices")).get("message"))
    kinds = [
        untrusted_json.mapping(note).get("type")
        for note in untrusted_json.items(message.get("annotations"))
    ]
    return int("url_citation" in kinds)


def finish_reason_from(value: object) -> str | None:
    """Return the finish reason: stop, length, content_filter, tool_calls or the vendor's own."""
    reason = untrusted_json.word(value)
    return None if reason is None else _FINISH_REASONS.get(reason, reason)


def content_from(message: Mapping[str, Any]) -> str:
    """Return the text of a message or a delta; a refusal is text too.

    Mistral's reasoning models return a list of parts, of which the text is the answer.
    """
    content = message.get("content")
    parts = (untrusted_json.mapping(part) for part in untrusted_json.items(content))
    listed = "".join(
        untrusted_json.text(part.get("text")) for part in parts if part.get("type") == "text"
    )
    return untrusted_json.text(content) or listed or untrusted_json.text(message.get("refusal"))


def completion_from(report: object, *, model: str, usage_of: UsageFrom = usage_from) -> Completion:
    """Parse a whole response body. Raises ErrorAnswer for an error with a success status."""
    body = untrusted_json.mapping(report)
    untrusted_json.raise_for_error(body)
    choice = untrusted_json.first(body.get("choices"))
    answered = untrusted_json.model_named(body.get("model"), requested=model)
    return Completion(
        model=answered,
        content=content_from(untrusted_json.mapping(choice.get("message"))),
        finish_reason=finish_reason_from(choice.get("finish_reason")),
        usage=usage_of({**body, "model": answered}),
        raw_usage=untrusted_json.raw(body.get("usage")),
    )


@dataclass(slots=True)
class ChatStreamReader:
    """Parse a stream of chunks. The last usage counts: some servers send it with every chunk."""

    model: str
    usage_of: UsageFrom = usage_from
    _answered: str | None = None
    _finish_reason: str | None = None
    _last: dict[str, Any] = field(default_factory=dict)
    _searched: bool = False

    def see(self, event: object, seen: SeenOutput) -> None:
        """Record the output of one chunk: every text in its deltas.

        Reasoning is not shown, and ends with the first output of the last choice to have any.
        """
        chunk = untrusted_json.mapping(event)
        if not (seen.text.events or seen.has_ended) and is_reasoning(self.model):
            seen.hide(True)
        for each in untrusted_json.items(chunk.get("choices")):
            choice = untrusted_json.mapping(each)
            index, is_last = choice.get("index"), choice.get("finish_reason") is not None
            if (written := all_text(choice.get("delta"), _NO_OUTPUT)) or is_last:
                seen.begin(index)
                seen.text.add(written)
            if is_last:
                seen.end(index)
        if chunk.get("usage") is not None:
            seen.report(self.usage_of(chunk))

    def feed(self, event: object) -> tuple[Delta, ...]:
        """Parse one chunk and return its text delta."""
        chunk = untrusted_json.mapping(event)
        untrusted_json.raise_for_error(chunk)
        self._answered = untrusted_json.model_named(
            chunk.get("model"), requested=self._answered or self.model
        )
        self._last |= {
            name: chunk[name] for name in ("usage", "service_tier") if chunk.get(name) is not None
        }
        choice = untrusted_json.first(chunk.get("choices"))
        self._finish_reason = finish_reason_from(choice.get("finish_reason")) or self._finish_reason
        delta = untrusted_json.mapping(choice.get("delta"))
        self._searched = self._searched or bool(_searches({"choices": [{"message": delta}]}))
        text = content_from(delta)
        return (Delta(text),) if text else ()

    def completion(self) -> Completion:
        """Return the answer so far."""
        notes = [{"type": "url_citation"}] if self._searched else []
        answered = self._answered or self.model
        report = self._last | {
            "model": answered,
            "choices": [{"message": {"annotations": notes}}],
        }
        return Completion(
            model=answered,
            content="",
            finish_reason=self._finish_reason,
            usage=self.usage_of(report),
            raw_usage=untrusted_json.raw(self._last.get("usage")),
        )
