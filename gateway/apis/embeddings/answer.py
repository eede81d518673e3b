"""Parse OpenAI's and Mistral's embeddings: usage, which is only input.

https://developers.openai.com/api/reference/resources/embeddings
https://docs.mistral.ai/api/endpoint/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costs.core.usage import Usage
from gateway.core.calls import Completion
from gateway.upstream import untrusted_json


def usage_from(report: Mapping[str, Any]) -> Usage | None:
    """Return the usage that a response body reports, or None."""
    return untrusted_json.usable(report.get("usage"), _usage)


def _usage(usage: Mapping[str, Any]) -> Usage:
    total = usage.get("total_tokens")
    return Usage(
        input_uncached=untrusted_json.count(usage, "prompt_tokens"),
        output_text=untrusted_json.part(usage, "completion_tokens"),  # Mistral reports 0
        reported_total=None if total is None else untrusted_json.count(usage, "total_tokens"),
    )


def completion_from(report: object, *, model: str) -> Completion:
    """Parse a whole response body. Raises ErrorAnswer for an error with a success status."""
    body = untrusted_json.mapping(report)
    untrusted_json.raise_for_error(body)
    return Completion(
        model=untrusted_json.model_named(body.get("model"), requested=model),
        finish_reason=None,
        usage=usage_from(body),
        raw_usage=untrusted_json.raw(body.get("usage")),
    )
