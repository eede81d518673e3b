"""OpenAPI of the vendor-compatible endpoints: the body fields that are read, all others open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.core.request_body import DIMENSION_HEADERS
from gateway.http.answers import OUTPUT_CAP_HEADER, REQUEST_ID_HEADER, VENDORS_ID_HEADERS
from gateway.http.openapi.values import (
    DIMENSION,
    IDEMPOTENCY_KEY,
    LEFT,
    REQUEST_ID,
    REQUEST_URL,
    SESSION_PARAMETERS,
    TEXT,
    Schema,
)
from gateway.upstream.returned_headers import UPSTREAM_ID_HEADER

JSON: Final = "application/json"
COUNT: Final[Schema] = {"type": "integer", "minimum": 1}
FLAG: Final[Schema] = {"type": "boolean"}
LIST: Final[Schema] = {"type": "array", "minItems": 1}
MEANINGS: Final = {
    400: "The body is invalid, names an unknown model, or asks for something unsupported; or a "
    "policy refuses its tokens, or its model has no price.",
    401: "Missing or invalid credentials.",
    403: "Refused: gateway disabled, a fixed dimension or a missing permission; nothing was sent.",
    404: "The model does not exist or may not be used, or an id is not the organization's.",
    405: "Method not allowed.",
    408: "The body did not arrive in time.",
    409: "The Idempotency-Key was already used with the same body, or another call adds to the "
    "same conversation.",
    413: "The body is too large or has too many JSON values.",
    415: "Content-Type must be application/json.",
    422: "The Idempotency-Key was already used with a different body.",
    429: "A limit on money leaves no room: it is spent, or calls in flight hold what is missing. "
    "Or the provider's rate limit was reached, or too many large requests wait.",
    502: "The provider failed, or refused the gateway's own credentials.",
    503: "Unavailable; nothing was sent.",
    504: "The provider timed out. Charged at the held maximum until the outcome is known.",
}
SENT: Final = (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 502, 503, 504)
READ: Final = (400, 401, 403, 405, 503)


def _object(properties: Schema, *, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


# The error format that each vendor's clients expect.
ERRORS: Final = {
    "openai": _object(
        {
            "error": _object({"message": TEXT, "type": TEXT, "code": {"type": ["string", "null"]}}),
            **REQUEST_URL,
        },
        required=("error",),
    ),
    "anthropic": _object(
        {
            "type": {"const": "error"},
            "error": _object({"type": TEXT, "message": TEXT}),
            **REQUEST_URL,
        },
        required=("type", "error"),
    ),
    "google": _object(
        {
            "error": _object(
                {
                    **{"code": {"type": "integer"}, "message": TEXT, "status": TEXT},
                    "details": {"type": "array"},
                }
            ),
            **REQUEST_URL,
        },
        required=("error",),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint of a vendor's API: `fields` are the body fields that the gateway reads."""

    operation_id: str
    summary: str
    errors: str
    fields: Schema
    required: tuple[str, ...]
    streams: bool = False
    names_model: bool = False


_CHAT: Final[Schema] = {
    **{"model": TEXT, "messages": LIST, "stream": FLAG, "stream_options": {"type": "object"}},
    **{"max_tokens": COUNT, "max_completion_tokens": COUNT, "n": COUNT, "tools": {"type": "array"}},
    "service_tier": TEXT,
}
_MESSAGES: Final[Schema] = {
    **{"model": TEXT, "messages": LIST, "max_tokens": COUNT, "stream": FLAG},
    **{"system": {}, "tools": {"type": "array"}},
}
_CONTENTS: Final[Schema] = {
    **{"contents": {}, "systemInstruction": {}, "tools": {"type": "array"}},
    "generationConfig": {"type": "object"},
}
_COUNTED: Final[Schema] = {
    **{"model": TEXT, "input": {}, "instructions": {}},
    **{"previous_response_id": {"type": ["string", "null"]}, "tools": {"type": "array"}},
}
_RESPONSES: Final[Schema] = {
    **{**_COUNTED, "conversation": {}, "store": {"type": ["boolean", "null"]}},
    **{"max_output_tokens": COUNT},
    **{"max_tool_calls": COUNT, "stream": FLAG},
}


_EMBED: Final[Schema] = {
    **{"content": {"type": "object"}, "taskType": TEXT, "title": TEXT},
    "outputDimensionality": COUNT,
}


def _google(
    method: str, summary: str, *, fields: Schema = _CONTENTS, streams: bool = False
) -> dict[str, Endpoint]:
    return {
        f"/{version}/models/{{model}}:{method}": Endpoint(
            operation_id=f"{version}{method[0].upper()}{method[1:]}",
            summary=summary,
            errors="google",
            fields=fields,
            required=(),
            streams=streams,
            names_model=True,
        )
        for version in ("v1beta", "v1")
    }


ENDPOINTS: Final = {
    "/v1/chat/completions": Endpoint(
        operation_id="chatCompletions",
        summary="Create an OpenAI chat completion, with any provider's model",
        errors="openai",
        fields=_CHAT,
        required=("model", "messages"),
        streams=True,
    ),
    "/v1/responses": Endpoint(
        operation_id="responses",
        summary="Create an OpenAI response",
        errors="openai",
        fields=_RESPONSES,
        required=("model",),
        streams=True,
    ),
    "/v1/responses/compact": Endpoint(
        operation_id="compactResponse",
        summary="Compact an OpenAI conversation",
        errors="openai",
        fields=_COUNTED,
        required=("model",),
    ),
    "/v1/responses/input_tokens": Endpoint(
        operation_id="countResponseTokens",
        summary="Count tokens with OpenAI; free",
        errors="openai",
        fields=_COUNTED,
        required=("model",),
    ),
    "/v1/embeddings": Endpoint(
        operation_id="embeddings",
        summary="Create embeddings with OpenAI, Mistral or Google models",
        errors="openai",
        fields={"model": TEXT, "input": {}, "encoding_format": TEXT, "dimensions": COUNT},
        required=("model", "input"),
    ),
    "/v1/messages": Endpoint(
        operation_id="messages",
        summary="Create an Anthropic message",
        errors="anthropic",
        fields=_MESSAGES,
        required=("model", "messages"),
        streams=True,
    ),
    "/v1/messages/count_tokens": Endpoint(
        operation_id="countMessageTokens",
        summary="Count tokens with Anthropic; free",
        errors="anthropic",
        fields=_MESSAGES,
        required=("model", "messages"),
    ),
    **_google("generateContent", "Generate content with Google"),
    **_google(
        "streamGenerateContent",
        "Generate content with Google, streamed as events or a JSON array",
        streams=True,
    ),
    **_google("countTokens", "Count tokens with Google; free"),
    **_google("embedContent", "Create an embedding with Google", fields=_EMBED),
    **_google("batchEmbedContents", "Create embeddings with Google", fields={"requests": LIST}),
}
LISTS: Final = {
    "/v1/models": ("listModels", "List the models that the caller can use", "openai"),
    "/v1/models/{model}": ("readModel", "Get one model", "openai"),
    "/v1beta/models": ("listGoogleModels", "List the models in Google's format", "google"),
    "/v1beta/models/{model}": ("readGoogleModel", "Get one model in Google's format", "google"),
}
_ITEMS: Final[Schema] = {"items": LIST}
_METADATA: Final[Schema] = {"metadata": {"type": ["object", "null"]}}
_OF_CONVERSATION: Final = "/v1/conversations/{conversation_id}"
# By path and method; with fields, a body is sent. All are free.
STORED: Final[dict[str, dict[str, tuple[str, str, Schema | None]]]] = {
    "/v1/responses/{response_id}": {
        "get": ("getResponse", "Get a stored response", None),
        "delete": ("deleteResponse", "Delete a stored response", None),
    },
    "/v1/responses/{response_id}/input_items": {
        "get": ("listResponseInput", "List the input items of a stored response", None),
    },
    "/v1/conversations": {
        "post": ("createConversation", "Create a conversation", {**_ITEMS, **_METADATA}),
    },
    _OF_CONVERSATION: {
        "get": ("getConversation", "Get a conversation", None),
        "post": ("updateConversation", "Change a conversation's metadata", _METADATA),
        "delete": ("deleteConversation", "Delete a conversation; its items stay", None),
    },
    f"{_OF_CONVERSATION}/items": {
        "get": ("listConversationItems", "List the items of a conversation", None),
        "post": ("addConversationItems", "Add items to a conversation", _ITEMS),
    },
    f"{_OF_CONVERSATION}/items/{{item_id}}": {
        "get": ("getConversationItem", "Get an item of a conversation", None),
        "delete": ("deleteConversationItem", "Delete an item from a conversation", None),
    },
}
BY_KEY: Final[list[Schema]] = [{"apiKey": []}, {"bearer": []}]
_MODEL: Final[Schema] = {"name": "model", "in": "path", "required": True, "schema": TEXT}
_IN_PATH: Final = ("response_id", "conversation_id", "item_id")
_ID_HEADERS: Final = {
    name: {"required": True, "schema": REQUEST_ID}
    for name in (REQUEST_ID_HEADER, *VENDORS_ID_HEADERS)
}
_UPSTREAM_ID: Final = {
    UPSTREAM_ID_HEADER: {
        "required": False,
        "schema": TEXT,
        "description": "The provider's own id of the request.",
    }
}
_RETRY: Final = {
    "x-should-retry": {
        "required": False,
        "schema": {"type": "string"},
        "description": "`false` if a repeated call could be billed again, or would fail again, as "
        "where a limit is spent. "
        "Otherwise the provider's own value.",
    },
    "retry-after-ms": {
        "required": False,
        "schema": {"type": "string", "const": "0"},
        "description": "With refusals that do not pass by themselves, for clients that would "
        "otherwise wait as long as `Retry-After` says.",
    },
    "x-codex-promo-message": {
        "required": False,
        "schema": TEXT,
        "description": "Where a limit on money is spent, to Codex: the error's message, in ASCII.",
    },
}
_COST_HEADER: Final = {
    "x-pulse-cost-eur": {
        "required": False,
        "schema": {"type": "string", "pattern": r"^\d+\.\d+$"},
        "description": "Cost in EUR, exact to 1e-9; not sent with streams.",
    }
}
_CAP_HEADER: Final = {
    OUTPUT_CAP_HEADER: {
        "required": False,
        "schema": {"type": "string", "pattern": r"^\d+$"},
        "description": "The output cap in the provider's request, also of streams; not sent if it "
        "has none.",
    }
}
_HEADERS: Final = [
    {"name": "Idempotency-Key", "in": "header", "schema": IDEMPOTENCY_KEY},
    *({"name": name, "in": "header", "schema": DIMENSION} for name in DIMENSION_HEADERS.values()),
    *SESSION_PARAMETERS,
]


def _responses(errors: str, statuses: tuple[int, ...], good: Schema) -> Schema:
    failures = {
        str(status): {
            "description": MEANINGS[status],
            "headers": {
                **_ID_HEADERS,
                **_UPSTREAM_ID,
                **_RETRY,
                **LEFT,
                "x-pulse-error-code": {"required": False, "schema": TEXT},
            },
            "content": {JSON: {"schema": {} if status == 405 else ERRORS[errors]}},
        }
        for status in statuses
    }
    return {"200": good, **failures}


def _sends(endpoint: Endpoint) -> Schema:
    content: Schema = {JSON: {"schema": {"type": ["object", "array"]}}}
    if endpoint.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    good = {
        "description": "The provider's response in its own format.",
        "headers": {**_ID_HEADERS, **_UPSTREAM_ID, **_COST_HEADER, **_CAP_HEADER, **LEFT},
        "content": content,
    }
    own = {
        "description": "A provider's own error; its status is kept.",
        "headers": {**_ID_HEADERS, **_UPSTREAM_ID, **_RETRY, **LEFT},
        "content": {JSON: {"schema": ERRORS[endpoint.errors]}},
    }
    body = _object(endpoint.fields, required=endpoint.required)
    return {
        "operationId": endpoint.operation_id,
        "summary": endpoint.summary,
        "security": BY_KEY,
        "parameters": [*([_MODEL] if endpoint.names_model else []), *_HEADERS],
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": {**_responses(endpoint.errors, SENT, good), "default": own},
    }


def _lists(path: str, operation_id: str, summary: str, errors: str) -> Schema:
    is_one = path.endswith("{model}")
    good = {"description": summary, "content": {JSON: {"schema": {"type": "object"}}}}
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": BY_KEY,
        "parameters": [_MODEL] if is_one else [],
        "responses": _responses(errors, (*READ, *([404] if is_one else [])), good),
    }


def _stored(path: str, operation_id: str, summary: str, fields: Schema | None) -> Schema:
    named = [name for name in _IN_PATH if f"{{{name}}}" in path]
    places = [{"name": each, "in": "path", "required": True, "schema": TEXT} for each in named]
    good = {
        "description": "The provider's response in its own format.",
        "headers": {**_ID_HEADERS, **_UPSTREAM_ID, **_COST_HEADER, **LEFT},
        "content": {JSON: {"schema": {"type": "object"}}},
    }
    body = {"required": True, "content": {JSON: {"schema": _object(fields or {})}}}
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": BY_KEY,
        "parameters": [*places, *_HEADERS],
        **({} if fields is None else {"requestBody": body}),
        "responses": _responses("openai", SENT, good),
    }


PATHS: Final[dict[str, Any]] = {
    **{path: {"post": _sends(endpoint)} for path, endpoint in ENDPOINTS.items()},
    **{
        path: {method: _stored(path, *described) for method, described in methods.items()}
        for path, methods in STORED.items()
    },
    **{path: {"get": _lists(path, *described)} for path, described in LISTS.items()},
}
