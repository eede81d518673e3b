"""Read JSON from third parties: a value of an unexpected type is treated as absent.

An object is always a dict; checking for a Mapping takes three times as long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from costs.core.usage import COUNT_MAX, STANDARD_PLACE, STANDARD_TIER, UnusableUsage, Usage

WORD_MAX_CHARS: Final = 64
# Python's parser takes 30 ms for so much, on the event loop.
LENIENT_MAX_BYTES: Final = 1024 * 1024
MODEL_MAX_CHARS: Final = 200


class ErrorAnswer(Exception):
    """A body or an event with a success status that is an error.

    Its text is the vendor's own and may contain anything, so it must be cleaned before display.
    `usage` is what the body reports.
    """

    def __init__(self, message: str, *, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


def strict(raw: bytes) -> bytes:
    """Return JSON that orjson reads, from what only Python's parser does; else the same bytes.

    Servers in Python write NaN, and halves of surrogate pairs; their clients read them.
    """
    if len(raw) > LENIENT_MAX_BYTES:
        return raw
    try:
        value = json.loads(raw, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return raw
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, empty if it is something else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> Sequence[Any]:
    """Return a JSON array, empty if it is something else."""
    return value if isinstance(value, list) else ()


def first(value: object) -> Mapping[str, Any]:
    """Return the first object of a JSON array, empty if there is none."""
    array = items(value)
    return mapping(array[0]) if array else {}


def text(value: object) -> str:
    """Return a JSON string, empty if it is something else."""
    return value if isinstance(value, str) else ""


def json_text(value: object) -> str:
    """Return a JSON object as text, an empty one if it is something else."""
    found = dict(mapping(value))
    try:
        return orjson.dumps(found).decode()
    except TypeError:  # a number above 64 bits, or half of a surrogate pair
        return json.dumps(found)


def word(value: object) -> str | None:
    """Return a vendor's enum value, lowercased, bounded and printable; None if absent.

    It is kept in rows, and PostgreSQL keeps no NUL and no half of a surrogate pair.
    """
    found = text(value).strip().lower()[:WORD_MAX_CHARS]
    if not found.isprintable():
        found = "".join(each if each.isprintable() else "\ufffd" for each in found)
    return found or None


def model_named(value: object, *, requested: str) -> str:
    """Return the model that the vendor reports, else the requested one."""
    name = text(value).strip()
    return name if 0 < len(name) <= MODEL_MAX_CHARS else requested


def raw(usage: object) -> dict[str, Any] | None:
    """Return the vendor's unchanged usage report, or None if there is none."""
    return dict(usage) if isinstance(usage, dict) else None


def count(report: Mapping[str, Any], name: str) -> int:
    """Return a required count. Raises UnusableUsage if it is not a valid count."""
    value = report.get(name)
    if type(value) is not int or not 0 <= value <= COUNT_MAX:
        raise UnusableUsage(f"{name} must be an integer of at least 0, not {value!r:.100}")
    return value


def part(report: Mapping[str, Any], name: str) -> int:
    """Return an optional count, 0 if absent or null."""
    return 0 if report.get(name) is None else count(report, name)


def details(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an optional breakdown, empty if absent or null. Raises UnusableUsage."""
    value = report.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnusableUsage(f"{name} must be an object, not {value!r:.100}")
    return value


def tier(value: object, *, standard: frozenset[str]) -> str:
    """Return the tier's name; the vendor's `standard` names and an absent one as STANDARD_TIER."""
    name = _reported(value, what="service tier")
    return STANDARD_TIER if name is None or name in standard else name


def place(value: object, *, standard: frozenset[str]) -> str:
    """Return where the request was processed; as of a tier, with STANDARD_PLACE."""
    name = _reported(value, what="place")
    return STANDARD_PLACE if name is None or name in standard else name


def _reported(value: object, *, what: str) -> str | None:
    """Return a name that decides the price, None if absent. Raises UnusableUsage."""
    name = word(value)
    if name is None and value is not None:
        raise UnusableUsage(f"the {what} must be a string, not {value!r:.100}")
    return name


def usable(report: object, read: Callable[[Mapping[str, Any]], Usage]) -> Usage | None:
    """Parse a report with `read`; return None if there is none, or if it is not valid.

    An invalid report does not fail the answer: the call is charged as one without a report is.
    """
    if not isinstance(report, dict):
        return None
    try:
        return read(report)
    except UnusableUsage:
        return None


def error_in(body: object) -> Mapping[str, Any]:
    """Return the error of a body: Mistral's is the body itself, Google's stream has a list."""
    report = first(body) or mapping(body)
    return report if report.get("object") == "error" else mapping(report.get("error"))


def error_message(body: object) -> str | None:
    """Return the message of an error body in any vendor's format, or None.

    OpenAI, Anthropic and Google: `{"error": {"message"}}`, Google's stream in a list; Mistral:
    `{"message"}`, or `{"detail": [{"msg"}]}` for an invalid request.
    """
    report = first(body) or mapping(body)
    error = report.get("error")
    if isinstance(error, str):
        return error or None
    message = mapping(error).get("message") or report.get("message")
    if isinstance(message, dict):
        message = message.get("detail")
    found = text(message) or text(report.get("detail"))
    return found or text(first(report.get("detail") or message).get("msg")) or None


def own_error(body: object) -> str | None:
    """Return the type of a vendor's own error, empty if it names none; None if it is no such error.

    It has a message and a type: OpenAI's, Anthropic's and Mistral's `type`, Google's `status`.
    Proxies answer with JSON as well, but in other formats: `{"message"}` (AWS, Kong), `{"title",
    "detail"}` (RFC 9457: Cloudflare), `{"error": {"code", "message"}}` (Vercel).
    """
    error = error_in(body)
    if "message" not in error or not error.keys() & {"type", "status"}:
        return None
    return text(error.get("type")) or text(error.get("status"))


def raise_for_error(body: object) -> None:
    """Raise ErrorAnswer if a body with a success status is an error."""
    report = mapping(body)
    if report.get("error") or "error" in (word(report.get("type")), word(report.get("object"))):
        raise ErrorAnswer(error_message(body) or "")


def retry_delay(body: object) -> str:
    """Return Google's `retryDelay`, such as "34s", or an empty string."""
    error = error_in(body)
    delays = (text(mapping(detail).get("retryDelay")) for detail in items(error.get("details")))
    return next((delay for delay in delays if delay), "")
