"""Errors in OpenAI's format: `{"error": {"message", "type", "param", "code"}}`.

https://developers.openai.com/api/docs/guides/error-codes
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.core.errors import GatewayError, ProviderFailed

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
_SERVER_ERRORS: Final = 500


def error(failure: GatewayError, *, status: int) -> dict[str, Any]:
    """Return the body of an error; a provider's own keeps its type."""
    own = failure.provider_type if isinstance(failure, ProviderFailed) else None
    other = "server_error" if status >= _SERVER_ERRORS else "invalid_request_error"
    return {
        "error": {
            "message": failure.message,
            "type": own or _TYPES.get(status, other),
            "param": None,
            "code": failure.code,
        }
    }


def error_event(failure: GatewayError) -> bytes:
    """Return an error as the last event of a stream."""
    return b"data: %b\n\n" % orjson.dumps(error(failure, status=failure.status))
