"""Reading JSON that somebody else wrote: what is not as it should be is absent, never a crash.

An object is a dict, whoever parsed it; to ask for a Mapping takes three times as long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from costs.core.usage import STANDARD_TIER, UnusableUsage, Usage

# Far above any context window, far below what the ledger's integers hold at any price.
COUNT_MAX: Final = 1_000_000_000
WORD_MAX_CHARS: Final = 64
MODEL_MAX_CHARS: Final = 200


class ErrorAnswer(Exception):
    """A body or an event that came with a good status and is an error after all.

    Its text is the vendor's own and may hold anything, so it is not for showing as it is.
    """


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, empty when it is something else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> Sequence[Any]:
    """Return a JSON array, empty when it is something else."""
    return value if isinstance(value, list) else ()


def first(value: object) -> Mapping[str, Any]:
    """Return the first object of a JSON array, empty when there is none."""
    array = items(value)
    return mapping(array[0]) if array else {}


def text(value: object) -> str:
    """Return a JSON string, empty when it is something else."""
    return value if isinstance(value, str) else ""


def json_text(value: object) -> str:
    """Return a JSON object as text, an empty one when it is something else."""
    found = dict(mapping(value))
    try:
        return orjson.dumps(found).decode()
    except TypeError:  # a number above 64 bits, or half of a surrogate pair
        return json.dumps(found)


def word(value: object) -> str | None:
    """Return a vendor's word for something, lowercased and bounded; None when it says none."""
    return text(value).strip().lower()[:WORD_MAX_CHARS] or None


def model_named(value: object, *, asked: str) -> str:
    """Return the model that the vendor says answered, else the one that was asked."""
    name = text(value).strip()
    return name if 0 < len(name) <= MODEL_MAX_CHARS else asked


def raw(usage: object) -> dict[str, Any] | None:
    """Return the vendor's report to keep beside ours, or None when it gave none."""
    return dict(usage) if isinstance(usage, dict) else None


def count(report: Mapping[str, Any], name: str) -> int:
    """Return a count that must be there. Raises UnusableUsage when it is not one."""
    value = report.get(name)
    if type(value) is not int or not 0 <= value <= COUNT_MAX:
        raise UnusableUsage(f"{name} is {value!r:.100}; a count is a whole number of 0 or more")
    return value


def part(report: Mapping[str, Any], name: str) -> int:
    """Return a count that may be absent or null, which is then 0."""
    return 0 if report.get(name) is None else count(report, name)


def details(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a breakdown that may be absent or null. Raises UnusableUsage for anything else."""
    value = report.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnusableUsage(f"{name} is {value!r:.100}; a breakdown is an object")
    return value


def tier(value: object, *, standard: frozenset[str]) -> str:
    """Return the tier's name, the vendor's `standard` words and an absent one as ours."""
    if value is None:
        return STANDARD_TIER
    name = word(value)
    if name is None:
        raise UnusableUsage(f"the service tier is {value!r:.100}; a tier is a word")
    return STANDARD_TIER if name in standard else name


def usable(report: object, read: Callable[[Mapping[str, Any]], Usage]) -> Usage | None:
    """Return what `read` makes of a report; None when there is none, or it cannot be true.

    The answer is not lost with its report: the call is then charged at its bound.
    """
    if not isinstance(report, dict):
        return None
    try:
        return read(report)
    except UnusableUsage:
        return None


def error_message(body: object) -> str | None:
    """Return what an error body says, in any of the vendors' shapes, or None.

    OpenAI, Anthropic and Google: `{"error": {"message"}}`, Google's stream in a list; Mistral:
    `{"message"}`, or `{"detail": [{"msg"}]}` for a request it finds invalid.
    """
    report = first(body) or mapping(body)
    error = report.get("error")
    if isinstance(error, str):
        return error or None
    said = mapping(error).get("message") or report.get("message")
    if isinstance(said, dict):
        said = said.get("detail")
    found = text(said) or text(report.get("detail"))
    return found or text(first(report.get("detail") or said).get("msg")) or None


def raise_for_error(body: object) -> None:
    """Raise ErrorAnswer when a body that came with a good status is an error."""
    report = mapping(body)
    if report.get("error") or "error" in (word(report.get("type")), word(report.get("object"))):
        raise ErrorAnswer(error_message(body) or "")


def retry_delay(body: object) -> str:
    """Return Google's `retryDelay`, such as "34s", or an empty string."""
    error = mapping((first(body) or mapping(body)).get("error"))
    delays = (text(mapping(detail).get("retryDelay")) for detail in items(error.get("details")))
    return next((delay for delay in delays if delay), "")
