"""Our end of a stream of responses: a failed response with our sentence, which agents show. They
ignore `event: error`.

https://developers.openai.com/api/reference/resources/responses/streaming-events
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import orjson

from gateway.apis import openai_errors
from gateway.core.errors import GatewayError

# The codes that are documented: typed clients know no others, and Codex repeats these two and
# shows their message. https://github.com/openai/codex/blob/main/codex-rs/codex-api/src/sse/responses.rs
_TOO_MANY: Final = "rate_limit_exceeded"
_FAILED: Final = "server_error"
# Above the number of every event before it, which the gateway does not count.
_LAST: Final = 2**31 - 1


def failed_event(error: GatewayError) -> bytes:
    """Return an error as the event `response.failed`, with all that a response must have.

    The error stands at the top too: there OpenAI's own libraries find it and raise.
    """
    event = {
        "type": "response.failed",
        "sequence_number": _LAST,
        "response": _failed(error),
        **openai_errors.error(error, status=error.status),
    }
    return b"event: response.failed\ndata: %b\n\n" % orjson.dumps(event)


def _failed(error: GatewayError) -> dict[str, Any]:
    code = _TOO_MANY if error.status == HTTPStatus.TOO_MANY_REQUESTS else _FAILED
    detail = {"code": code, "message": error.message, "type": error.code}
    return {**empty_response(status="failed"), "error": detail}


def empty_response(*, status: str) -> dict[str, Any]:
    """Return a response without output, with all that a response must have."""
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }
