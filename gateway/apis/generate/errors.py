"""Errors in Google's format: `{"error": {"code", "message", "status"}}`.

https://ai.google.dev/gemini-api/docs/generate-content/api-errors; the status names are those of
https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.core.errors import GatewayError

_STATUSES: Final = {
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
    name = _STATUSES.get(status, other)
    return {"error": {"code": status, "message": failure.message, "status": name}}


def error_event(failure: GatewayError) -> bytes:
    """Return an error as the last event of a stream."""
    return b"data: %b\n\n" % _encoded(failure)


def error_element(failure: GatewayError) -> bytes:
    """Return an error as the last element of a streamed array that already has elements."""
    return b",\n%b\n]" % _encoded(failure)


def _encoded(failure: GatewayError) -> bytes:
    return orjson.dumps(error(failure, status=failure.status))
