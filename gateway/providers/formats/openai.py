"""OpenAI's chat completions: what they say, how they end and what they used.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from costs.core.usage import Usage
from gateway.core.calls import Completion, Delta
from gateway.providers.formats import hostile

UsageFrom = Callable[[Mapping[str, Any]], Usage | None]

_STANDARD_TIERS: Final = frozenset({"default"})
_FINISH_REASONS: Final = {"function_call": "tool_calls"}


def usage_from(report: Mapping[str, Any]) -> Usage | None:
    """Return what a response body (or a stream's chunk with usage) reports, or None.

    The prompt's count includes what was read from and written to the cache; the completion's
    includes reasoning. The tier is the response's, not the request's.
    """
    usage = report.get("usage")
    if not isinstance(usage, dict):
        return None
    return hostile.usable(lambda: _usage(usage, report))


def _usage(usage: Mapping[str, Any], report: Mapping[str, Any]) -> Usage:
    prompt = hostile.details(usage, "prompt_tokens_details")
    completion = hostile.details(usage, "completion_tokens_details")
    cached = hostile.part(prompt, "cached_tokens")
    written = hostile.part(prompt, "cache_write_tokens")
    audio_in = hostile.part(prompt, "audio_tokens")
    reasoning = hostile.part(completion, "reasoning_tokens")
    audio_out = hostile.part(completion, "audio_tokens")
    total = usage.get("total_tokens")
    return Usage(
        input_uncached=hostile.count(usage, "prompt_tokens") - cached - written - audio_in,
        cache_read=cached,
        cache_write_5m=written,
        input_audio=audio_in,
        output_text=hostile.count(usage, "completion_tokens") - reasoning - audio_out,
        output_reasoning=reasoning,
        output_audio=audio_out,
        web_searches=_searches(report),
        service_tier=hostile.tier(report.get("service_tier"), standard=_STANDARD_TIERS),
        reported_total=None if total is None else hostile.count(usage, "total_tokens"),
    )


def _searches(report: Mapping[str, Any]) -> int:
    """Return 1 for an answer that cites pages: a search model searches once for each request."""
    message = hostile.mapping(hostile.first(report.get("choices")).get("message"))
    kinds = [
        hostile.mapping(note).get("type") for note in hostile.items(message.get("annotations"))
    ]
    return int("url_citation" in kinds)


def finish_reason_from(value: object) -> str | None:
    """Return why the answer ended: stop, length, content_filter, tool_calls or another word."""
    reason = hostile.word(value)
    return None if reason is None else _FINISH_REASONS.get(reason, reason)


def content_from(message: Mapping[str, Any]) -> str:
    """Return the text of a message or a delta; a refusal is what the model said too.

    Mistral's reasoning models give a list of parts, of which the text is the answer.
    """
    content = message.get("content")
    parts = (hostile.mapping(part) for part in hostile.items(content))
    listed = "".join(hostile.text(part.get("text")) for part in parts if part.get("type") == "text")
    return hostile.text(content) or listed or hostile.text(message.get("refusal"))


def completion_from(report: object, *, model: str, usage_of: UsageFrom = usage_from) -> Completion:
    """Read a whole response body. Raises ErrorAnswer for an error that came as a success."""
    body = hostile.mapping(report)
    hostile.raise_for_error(body)
    choice = hostile.first(body.get("choices"))
    return Completion(
        model=hostile.model_named(body.get("model"), asked=model),
        content=content_from(hostile.mapping(choice.get("message"))),
        finish_reason=finish_reason_from(choice.get("finish_reason")),
        usage=usage_of(body),
        raw_usage=hostile.raw(body.get("usage")),
    )


@dataclass(slots=True)
class Reading:
    """Reads a stream of chunks. The last usage counts: some servers send it with every chunk."""

    model: str
    usage_of: UsageFrom = usage_from
    _answered: str | None = None
    _finish_reason: str | None = None
    _last: dict[str, Any] = field(default_factory=dict)
    _searched: bool = False

    def feed(self, event: object) -> tuple[Delta, ...]:
        """Take in one chunk and return the text that it adds."""
        chunk = hostile.mapping(event)
        hostile.raise_for_error(chunk)
        self._answered = hostile.model_named(chunk.get("model"), asked=self._answered or self.model)
        self._last |= {
            name: chunk[name] for name in ("usage", "service_tier") if chunk.get(name) is not None
        }
        choice = hostile.first(chunk.get("choices"))
        self._finish_reason = finish_reason_from(choice.get("finish_reason")) or self._finish_reason
        delta = hostile.mapping(choice.get("delta"))
        self._searched = self._searched or bool(_searches({"choices": [{"message": delta}]}))
        text = content_from(delta)
        return (Delta(text),) if text else ()

    def completion(self) -> Completion:
        """Return what is known of the answer so far."""
        notes = [{"type": "url_citation"}] if self._searched else []
        report = self._last | {"choices": [{"message": {"annotations": notes}}]}
        return Completion(
            model=self._answered or self.model,
            content="",
            finish_reason=self._finish_reason,
            usage=self.usage_of(report),
            raw_usage=hostile.raw(self._last.get("usage")),
        )
