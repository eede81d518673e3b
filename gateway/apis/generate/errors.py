"""Errors in Google's format: `{"error": {"code", "message", "status"}}`.

https://ai.google.dev/gemini-api/docs/generate-content/api-errors; the status names are those of
https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.apis.refusals import Kind, Wordings, Words, words_for
from gateway.core.errors import GatewayError, NoRoom

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
# Of a 404 Gemini CLI says, before any sentence of ours, that an administrator must enable previews:
# https://github.com/google-gemini/gemini-cli/blob/main/packages/cli/src/ui/hooks/useQuotaAndFallback.ts
REFUSALS: Final[Wordings] = {
    Kind.MODEL: Words(400, "INVALID_ARGUMENT"),
    Kind.REQUEST: Words(400, "INVALID_ARGUMENT"),
    Kind.SPENT: Words(429, "RESOURCE_EXHAUSTED"),
    Kind.HELD: Words(429, "RESOURCE_EXHAUSTED"),
}
# Gemini CLI repeats a 429 ten times, unless its details name a wait above five minutes:
# https://github.com/google-gemini/gemini-cli/blob/main/packages/core/src/utils/googleQuotaErrors.ts
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"


def error(failure: GatewayError, *, status: int) -> dict[str, Any]:
    """Return the body of an error; one about money says when the call may be repeated."""
    words = words_for(failure, REFUSALS)
    other = "INTERNAL" if status >= _SERVER_ERRORS else "INVALID_ARGUMENT"
    name = words.type if words else _STATUSES.get(status, other)
    body: dict[str, Any] = {"code": status, "message": failure.message, "status": name}
    if isinstance(failure, NoRoom):
        body["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{failure.retry_after_s}s"}]
    return {"error": body}


def error_event(failure: GatewayError) -> bytes:
    """Return an error as the last event of a stream."""
    return b"data: %b\n\n" % _encoded(failure)


def error_element(failure: GatewayError) -> bytes:
    """Return an error as the last element of a streamed array that already has elements."""
    return b",\n%b\n]" % _encoded(failure)


def _encoded(failure: GatewayError) -> bytes:
    return orjson.dumps(error(failure, status=failure.status))
