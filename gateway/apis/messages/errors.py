"""Errors in Anthropic's format: `{"type": "error", "error": {"type", "message"}}`.

https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.apis.refusals import Kind, Wordings, Words, words_for
from gateway.core.errors import GatewayError

_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SERVER_ERRORS: Final = 500
REFUSALS: Final[Wordings] = {
    Kind.MODEL: Words(400, "invalid_request_error"),
    Kind.REQUEST: Words(400, "invalid_request_error"),
    Kind.SPENT: Words(429, "billing_error"),
    Kind.HELD: Words(429, "rate_limit_error"),
}


def error(failure: GatewayError, *, status: int) -> dict[str, Any]:
    """Return the body of an error."""
    words = words_for(failure, REFUSALS)
    other = "api_error" if status >= _SERVER_ERRORS else "invalid_request_error"
    named = words.type if words else _TYPES.get(status, other)
    return {"type": "error", "error": {"type": named, "message": failure.message}}


def error_event(failure: GatewayError) -> bytes:
    """Return an error as the last event of a stream."""
    body = orjson.dumps(error(failure, status=failure.status))
    return b"event: error\ndata: %b\n\n" % body
