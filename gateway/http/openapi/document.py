"""`GET /api/schema`: every endpoint of the API with all of its statuses, in OpenAPI 3.1."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from gateway.core.errors import GatewayError
from gateway.http.answers import REQUEST_ID_HEADER, error_response, json_response
from gateway.http.native.reads import FLAGS, LIMIT_DEFAULT, LIMIT_MAX, MAX_CHARS
from gateway.http.openapi import backtest as schema_backtest
from gateway.http.openapi import compatible, requests, values
from gateway.http.openapi.compatible import BY_KEY, JSON
from gateway.http.openapi.values import Schema
from gateway.http.outside import only
from gateway.http.queries import query_of
from orgs.fields import new_id

EVENTS: Final = "text/event-stream"

# Codes by status that several endpoints share.
Codes = dict[int, tuple[str, ...]]
UNREADABLE: Final[Codes] = {400: ("invalid_request",)}
NOT_PERMITTED: Final[Codes] = {403: ("key_not_allowed",)}
WRONG_METHOD: Final[Codes] = {405: ("method_not_allowed",)}
UNKNOWN_CALLER: Final[Codes] = {
    400: ("invalid_request", "ambiguous_credentials"),
    401: ("unauthenticated",),
    503: ("ledger_unavailable", "overloaded"),
    **WRONG_METHOD,
}
BODY_REFUSED: Final[Codes] = {
    408: ("body_timeout",),
    413: ("body_too_large",),
    415: ("unsupported_media_type",),
    503: ("ledger_unavailable", "overloaded"),
}
MEANINGS: Final = compatible.MEANINGS | {
    400: "The request is invalid, or its model is unknown.",
    403: "Refused; nothing was sent.",
    404: "Request not found in this organization.",
    429: "Too many requests.",
    502: "The provider failed or returned an error.",
}
RETRIED: Final = {403, 409, 429, 503}  # those that may have a Retry-After

EXAMPLES: Final = {
    "prompt": {"value": {"model": "sandbox-small", "prompt": "Say hello"}},
    "messages": {
        "value": {
            "model": "sandbox-small",
            "messages": [
                {"role": "system", "content": "Be brief"},
                {"role": "user", "content": "Say hello"},
            ],
            "maxTokens": 1000,
            "temperature": 0.7,
            "teamId": "team-123",
            "metadata": {"taskType": "code-review"},
        }
    },
}
BODY: Final = {
    "required": True,
    "content": {
        JSON: {"schema": {"$ref": "#/components/schemas/Request"}, "examples": EXAMPLES},
    },
}
SENDERS: Final = [*BY_KEY, {"session": [], "csrfCookie": [], "csrfToken": []}]
READERS: Final = [*BY_KEY, {"session": []}]
REQUEST_ID: Final = {
    "required": True,
    "schema": values.REQUEST_ID,
    "description": "Id of the request, and of its audit row if it has one.",
}
MAYBE_REQUEST_ID: Final = {**REQUEST_ID, "required": False}


@only("GET", "HEAD")
async def api_schema(request: HttpRequest) -> HttpResponse:
    """Return the OpenAPI document."""
    try:
        query_of(request)
    except GatewayError as exc:
        return error_response(exc, new_id(), has_organization=False)
    return json_response(DOCUMENT, None)


def answer(description: str, schema: Schema, *, headers: Schema | None = None) -> Schema:
    """Return the description of a JSON response."""
    content = {JSON: {"schema": schema}}
    return {"description": description, "content": content, "headers": headers or {}}


def named_answer(description: str, schema: Schema) -> Schema:
    """Return the description of a JSON response with the request id header."""
    return answer(description, schema, headers={REQUEST_ID_HEADER: REQUEST_ID})


def refusals(*codes_by_status: Codes) -> Schema:
    """Return the descriptions of the errors; later codes replace earlier ones."""
    merged: Codes = {}
    for codes in codes_by_status:
        merged.update(codes)
    return {str(status): _refusal(status, *codes) for status, codes in sorted(merged.items())}


def _refusal(status: int, *codes: str) -> Schema:
    headers: Schema = {REQUEST_ID_HEADER: MAYBE_REQUEST_ID, **values.LEFT}
    if status in RETRIED:
        seconds = {"type": "integer", "minimum": 1}
        headers["Retry-After"] = {"schema": seconds, "required": status == 429}
    if status == 405:
        headers["Allow"] = {"schema": values.TEXT, "required": True}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": values.TEXT, "required": True}
    return answer(MEANINGS[status], values.error(*codes), headers=headers)


SEND: Final[Schema] = {
    "operationId": "sendRequest",
    "summary": "Send one request through the gateway",
    "security": SENDERS,
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": values.IDEMPOTENCY_KEY,
            "description": "The same key and body never call a provider twice within 24 hours.",
        },
        *values.SESSION_PARAMETERS,
    ],
    "requestBody": BODY,
    "responses": {
        "200": {
            "description": "The response; server-sent events if `stream` is true.",
            "headers": {REQUEST_ID_HEADER: REQUEST_ID, **values.LEFT},
            "content": {
                JSON: {"schema": {"$ref": "#/components/schemas/Answer"}},
                EVENTS: {"schema": {"$ref": "#/components/schemas/Event"}},
            },
        },
        **refusals(
            UNKNOWN_CALLER,
            BODY_REFUSED,
            {
                400: ("invalid_request", "unknown_model", "ambiguous_credentials"),
                403: (
                    "gateway_disabled",
                    "model_blocked",
                    "model_not_allowed",
                    "token_limit",
                    "web_search_limit",
                    "daily_cost_limit",
                    "budget_limit",
                    "model_unpriced",
                    "dimension_fixed_by_key",
                    "role_not_allowed",
                    "key_not_allowed",
                ),
                409: ("request_in_progress", "already_done"),
                422: ("idempotency_key_reused",),
                429: ("rate_limited", "provider_rate_limited"),
                502: ("provider_error", "provider_credentials"),
                503: (
                    "provider_unavailable",
                    "provider_not_configured",
                    "ledger_unavailable",
                    "overloaded",
                ),
                504: ("provider_timeout",),
            },
        ),
    },
}
QUOTE: Final[Schema] = {
    "operationId": "quoteRequest",
    "summary": "Check whether a request would be allowed and what it would hold; calls no provider",
    "security": SENDERS,
    "requestBody": BODY,
    "responses": {
        "200": named_answer(
            "The quote. `code` and `error` are null if the request would be allowed.",
            values.QUOTE,
        ),
        **refusals(
            UNKNOWN_CALLER,
            BODY_REFUSED,
            {
                400: ("invalid_request", "unknown_model", "ambiguous_credentials"),
                403: ("dimension_fixed_by_key", "role_not_allowed", "key_not_allowed"),
                429: ("rate_limited",),
            },
        ),
    },
}
_FILTERS: Final[dict[str, Schema]] = {
    name: {"type": "string", "maxLength": max_chars, "pattern": values.PRINTABLE}
    for name, max_chars in MAX_CHARS.items()
} | {"status": values.STATUS}
LIST: Final[Schema] = {
    "operationId": "listRequests",
    "summary": "List the organization's requests, newest first",
    "security": READERS,
    "parameters": [
        values.query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            "Maximum number of requests to return.",
        ),
        values.query(
            "from",
            values.WRITTEN_MOMENT,
            "The requests since this moment: a date, or a date and time. Without an offset it is "
            "in the organization's time zone.",
        ),
        values.query(
            "to",
            values.WRITTEN_MOMENT,
            "The requests before this moment; a date includes the whole day.",
        ),
        values.query("cursor", values.TEXT, "The `nextCursor` of the previous page."),
        *(values.query(name, schema, f"Filter by {name}.") for name, schema in _FILTERS.items()),
        *(
            values.query(name, {"type": "string", "enum": ["yes"]}, what)
            for name, what in FLAGS.items()
        ),
    ],
    "responses": {
        "200": named_answer("A page of requests.", requests.PAGE),
        **refusals(UNKNOWN_CALLER, NOT_PERMITTED),
    },
}
DETAIL: Final[Schema] = {
    "operationId": "readRequest",
    "summary": "Get one request with its decision trace",
    "security": READERS,
    "parameters": [
        {"name": "request_id", "in": "path", "required": True, "schema": values.ID},
    ],
    "responses": {
        "200": named_answer("The request with its decision trace.", requests.DETAIL),
        **refusals(UNKNOWN_CALLER, NOT_PERMITTED, {404: ("not_found",)}),
    },
}
BACKTEST: Final[Schema] = {
    "operationId": "backtestPolicy",
    "summary": "Backtest a policy against the organization's past requests",
    "security": READERS,
    "parameters": schema_backtest.PARAMETERS,
    "responses": {
        "200": named_answer("The result; nothing is written.", schema_backtest.BACKTEST),
        **refusals(
            UNKNOWN_CALLER,
            {403: ("dimension_fixed_by_key", "key_not_allowed")},
            {404: ("not_found",), 429: ("rate_limited",)},
        ),
    },
}
SCHEMA: Final[Schema] = {
    "operationId": "readSchema",
    "summary": "Get this OpenAPI document",
    "security": [],
    "responses": {
        "200": answer("The OpenAPI 3.1 document.", values.ANYTHING),
        **refusals(UNREADABLE, WRONG_METHOD),
    },
}
HELLO: Final[Schema] = {
    "operationId": "hello",
    "summary": "Check that the base URL can be reached, as Claude Code does",
    "security": [],
    "responses": {
        "200": answer("It can.", values.exactly({"message": {"type": "string", "const": "hello"}})),
        **refusals(UNREADABLE, WRONG_METHOD),
    },
}
HEALTH: Final[Schema] = {
    "operationId": "health",
    "summary": "Check that the process is alive",
    "security": [],
    "responses": {
        "200": answer(
            "The process is alive.", values.exactly({"status": {"type": "string", "const": "ok"}})
        ),
        **refusals(UNREADABLE, WRONG_METHOD),
    },
}
READINESS: Final[Schema] = {
    "operationId": "readiness",
    "summary": "Check readiness: the database, its migrations and the ledger",
    "security": [],
    "responses": {
        "200": answer("Ready.", values.READY),
        **refusals(UNREADABLE, WRONG_METHOD),
        "503": answer("Not ready, or stopping.", values.NOT_READY),
    },
}

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Pulse AI Gateway",
        "version": "1",
        "description": "A gateway for an organization's AI requests: policies before each call, "
        "exact charges after it.",
    },
    "paths": {
        "/api/ai/request": {"post": SEND},
        "/api/ai/quote": {"post": QUOTE},
        "/api/ai/requests": {"get": LIST},
        "/api/ai/requests/{request_id}": {"get": DETAIL},
        "/api/ai/policies/backtest": {"get": BACKTEST},
        "/api/schema": {"get": SCHEMA},
        **compatible.PATHS,
        "/api/hello": {"get": HELLO},
        "/healthz": {"get": HEALTH},
        "/readyz": {"get": READINESS},
    },
    "components": {
        "schemas": {
            "Request": values.REQUEST,
            "Message": values.MESSAGE,
            "Answer": values.ANSWER,
            "Done": values.DONE,
            "Event": values.EVENT,
            "Failure": values.error(
                "provider_error",
                "provider_timeout",
                "provider_unavailable",
                "provider_rate_limited",
            ),
            "RequestId": values.ID,
        },
        "securitySchemes": {
            "apiKey": {"type": "apiKey", "in": "header", "name": "x-pulse-key"},
            "bearer": {"type": "http", "scheme": "bearer", "description": "The same key."},
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": settings.SESSION_COOKIE_NAME,
                "description": "A signed-in browser on the gateway's own pages.",
            },
            "csrfCookie": {
                "type": "apiKey",
                "in": "cookie",
                "name": settings.CSRF_COOKIE_NAME,
            },
            "csrfToken": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
        },
    },
}
