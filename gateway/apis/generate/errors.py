"""Errors in Google's shape: `{"error": {"code", "message", "status"}}`.

https://ai.google.dev/gemini-api/docs/generate-content/api-errors; the words are those of
https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.core.errors import GatewayError

_WORDS: Final = {
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_SERVER_ERRORS: Final = 500


def error(failure: GatewayError, *, status: int) -> dict[str, Any]:
    """Return the body of an error."""
    other = "INTERNAL" if status >= _SERVER_ERRORS else "INVALID_ARGUMENT"
    word = _WORDS.get(status, other)
    return {"error": {"code": status, "message": failure.message, "status": word}}


def error_event(failure: GatewayError) -> bytes:
    """Return an error as the last event of a stream."""
    return b"data: %b\n\n" % _encoded(failure)


def error_element(failure: GatewayError) -> bytes:
    """Return an error as the last element of a streamed array, of which one came before."""
    return b",\n%b\n]" % _encoded(failure)


def _encoded(failure: GatewayError) -> bytes:
    return orjson.dumps(error(failure, status=failure.status))
