"""Parse Gemini's embedContent and countTokens: vectors and usage.

https://ai.google.dev/api/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from costs.core.usage import Usage
from gateway.core.calls import Completion
from gateway.upstream import untrusted_json
from gateway.upstream.untrusted_json import ErrorAnswer


def completion_from(report: object, *, model: str, inputs: int) -> Completion:
    """Parse a response with one vector per input. Raises ErrorAnswer for any other."""
    body = untrusted_json.mapping(report)
    untrusted_json.raise_for_error(body)
    vectors = tuple(
        tuple(untrusted_json.items(untrusted_json.mapping(each).get("values")))
        for each in untrusted_json.items(body.get("embeddings"))
    )
    if len(vectors) != inputs or not all(vectors):
        raise ErrorAnswer(f"{len(vectors)} of {inputs} embeddings were returned")
    return Completion(
        model=model,
        finish_reason=None,
        usage=usage_from(body),
        raw_usage=untrusted_json.raw(body.get("usageMetadata")),
        vectors=vectors,
    )


def joined(parts: Sequence[Completion]) -> Completion:
    """Merge the completions of parts of the inputs; usage is known if all parts have it."""
    usages = [part.usage for part in parts]
    known = [usage.input_uncached for usage in usages if usage is not None]
    return replace(
        parts[0],
        vectors=tuple(vector for part in parts for vector in part.vectors),
        usage=Usage(input_uncached=sum(known)) if len(known) == len(parts) else None,
        raw_usage=parts[0].raw_usage if len(parts) == 1 else None,
    )


def usage_from(report: Mapping[str, Any]) -> Usage | None:
    """Return the reported usage, or None: the older models report nothing."""
    return untrusted_json.usable(
        report.get("usageMetadata"),
        lambda usage: Usage(input_uncached=untrusted_json.count(usage, "promptTokenCount")),
    )


def usage_counted(report: object) -> Usage | None:
    """Return countTokens' result as usage, or None if it has none."""
    return untrusted_json.usable(
        report, lambda counted: Usage(input_uncached=untrusted_json.count(counted, "totalTokens"))
    )
