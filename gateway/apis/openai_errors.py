"""Errors in OpenAI's format: `{"error": {"message", "type", "param", "code"}}`.

https://developers.openai.com/api/docs/guides/error-codes
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.apis.refusals import Kind, Wordings, Words, words_for
from gateway.core.errors import GatewayError, NotKept, ProviderFailed

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
_SERVER_ERRORS: Final = 500
_INVALID: Final = "invalid_request_error"
REFUSALS: Final[Wordings] = {
    Kind.MODEL: Words(404, _INVALID, "model_not_found"),
    Kind.REQUEST: Words(400, _INVALID),
    Kind.SPENT: Words(429, "insufficient_quota", "insufficient_quota"),
    Kind.HELD: Words(429, "rate_limit_error", "rate_limit_exceeded"),
}


def error(failure: GatewayError, *, status: int, refusals: Wordings = REFUSALS) -> dict[str, Any]:
    """Return the body of an error; a provider's own keeps its type."""
    words = words_for(failure, refusals)
    own = failure.provider_type if isinstance(failure, ProviderFailed) else None
    other = "server_error" if status >= _SERVER_ERRORS else _INVALID
    unknown = failure if isinstance(failure, NotKept) else None
    usual = _INVALID if unknown else _TYPES.get(status, other)
    return {
        "error": {
            "message": failure.message,
            "type": words.type if words else own or usual,
            "param": unknown and unknown.param,
            "code": (words and words.code) or failure.code,
        }
    }


def error_event(failure: GatewayError) -> bytes:
    """Return an error as the last event of a stream."""
    return b"data: %b\n\n" % orjson.dumps(error(failure, status=failure.status))
