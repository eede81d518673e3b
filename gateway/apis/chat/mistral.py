"""Parse Mistral's chat completions: OpenAI's format with a different usage.

https://docs.mistral.ai/api/endpoint/chat
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from costs.core.usage import Usage
from gateway.apis.chat import answer as openai
from gateway.core.calls import Completion, Delta
from gateway.core.seen import SeenOutput
from gateway.upstream import untrusted_json

_STANDARD_TIERS: Final = frozenset({"default"})
_FINISH_REASONS: Final = {"model_length": "length"}


def usage_from(report: Mapping[str, Any]) -> Usage | None:
    """Return the usage that a response body (or a stream's last chunk) reports, or None."""
    return untrusted_json.usable(report.get("usage"), _usage)


def _usage(usage: Mapping[str, Any]) -> Usage:
    # https://docs.mistral.ai/studio-api/conversations/advanced/prompt-caching
    cached = untrusted_json.part(
        untrusted_json.details(usage, "prompt_tokens_details"), "cached_tokens"
    )
    total = usage.get("total_tokens")
    return Usage(
        input_uncached=untrusted_json.count(usage, "prompt_tokens") - cached,
        cache_read=cached,
        output_text=untrusted_json.count(usage, "completion_tokens"),
        service_tier=untrusted_json.tier(usage.get("service_tier"), standard=_STANDARD_TIERS),
        reported_total=None if total is None else untrusted_json.count(usage, "total_tokens"),
    )


def completion_from(report: object, *, model: str) -> Completion:
    """Parse a whole response body. Raises ErrorAnswer for an error with a success status."""
    return _ended(openai.completion_from(report, model=model, usage_of=usage_from))


class MistralStreamReader:
    """Parse a stream of chunks."""

    def __init__(self, model: str) -> None:
        self._chunks = openai.ChatStreamReader(model, usage_from)

    def see(self, event: object, seen: SeenOutput) -> None:
        """Record the output of one chunk."""
        self._chunks.see(event, seen)

    def feed(self, event: object) -> tuple[Delta, ...]:
        """Parse one chunk and return its text delta."""
        return self._chunks.feed(event)

    def completion(self) -> Completion:
        """Return the answer so far."""
        return _ended(self._chunks.completion())


def _ended(completion: Completion) -> Completion:
    reason = completion.finish_reason
    if reason not in _FINISH_REASONS:
        return completion
    return replace(completion, finish_reason=_FINISH_REASONS[reason])
