"""The drop-in endpoints in the API's description: what is read of a body, all else open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.core.request_body import DIMENSION_HEADERS
from gateway.http.openapi.values import DIMENSION, IDEMPOTENCY_KEY, REQUEST_ID, TEXT, Schema

JSON: Final = "application/json"
COUNT: Final[Schema] = {"type": "integer", "minimum": 1}
FLAG: Final[Schema] = {"type": "boolean"}
LIST: Final[Schema] = {"type": "array", "minItems": 1}
MEANINGS: Final = {
    400: "The body cannot be read, names an unknown model, or asks for what is refused here.",
    401: "No credential, or a wrong one.",
    403: "Refused by the switch, a policy, a limit or a missing price; nothing was sent.",
    404: "There is no such model, or the key may not use it.",
    405: "Another method.",
    409: "The Idempotency-Key was used before, with the same body.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The Idempotency-Key was used before, with another body.",
    429: "The provider asks to wait.",
    502: "The provider failed, or answered with a server's error.",
    503: "Nothing was sent.",
    504: "The provider did not answer in time. Charged at its bound until the outcome is known.",
}
SENT: Final = (400, 401, 403, 405, 409, 413, 415, 422, 429, 502, 503, 504)
READ: Final = (400, 401, 403, 405, 503)


def _object(properties: Schema, *, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


# How each vendor's clients expect an error.
ERRORS: Final = {
    "openai": _object(
        {"error": _object({"message": TEXT, "type": TEXT, "code": {"type": ["string", "null"]}})},
        required=("error",),
    ),
    "anthropic": _object(
        {"type": {"const": "error"}, "error": _object({"type": TEXT, "message": TEXT})},
        required=("type", "error"),
    ),
    "google": _object(
        {"error": _object({"code": {"type": "integer"}, "message": TEXT, "status": TEXT})},
        required=("error",),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address of a vendor's API: `fields` are those of its body that the gateway reads."""

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
_RESPONSES: Final[Schema] = {
    **{"model": TEXT, "input": {}, "instructions": {}, "max_output_tokens": COUNT},
    **{"max_tool_calls": COUNT, "stream": FLAG, "tools": {"type": "array"}},
}


def _google(method: str, summary: str, *, streams: bool = False) -> dict[str, Endpoint]:
    return {
        f"/{version}/models/{{model}}:{method}": Endpoint(
            operation_id=f"{version}{method[0].upper()}{method[1:]}",
            summary=summary,
            errors="google",
            fields=_CONTENTS,
            required=(),
            streams=streams,
            names_model=True,
        )
        for version in ("v1beta", "v1")
    }


ENDPOINTS: Final = {
    "/v1/chat/completions": Endpoint(
        operation_id="chatCompletions",
        summary="OpenAI's chat completions, for every provider's models",
        errors="openai",
        fields=_CHAT,
        required=("model", "messages"),
        streams=True,
    ),
    "/v1/responses": Endpoint(
        operation_id="responses",
        summary="OpenAI's responses",
        errors="openai",
        fields=_RESPONSES,
        required=("model",),
        streams=True,
    ),
    "/v1/embeddings": Endpoint(
        operation_id="embeddings",
        summary="Embeddings by OpenAI's, Mistral's and Google's models",
        errors="openai",
        fields={"model": TEXT, "input": {}, "encoding_format": TEXT, "dimensions": COUNT},
        required=("model", "input"),
    ),
    "/v1/messages": Endpoint(
        operation_id="messages",
        summary="Anthropic's messages",
        errors="anthropic",
        fields=_MESSAGES,
        required=("model", "messages"),
        streams=True,
    ),
    "/v1/messages/count_tokens": Endpoint(
        operation_id="countMessageTokens",
        summary="Anthropic's count of tokens; costs nothing",
        errors="anthropic",
        fields=_MESSAGES,
        required=("model", "messages"),
    ),
    **_google("generateContent", "Google's generateContent"),
    **_google("streamGenerateContent", "The same, streamed: events, or a JSON array", streams=True),
    **_google("countTokens", "Google's count of tokens; costs nothing"),
}
LISTS: Final = {
    "/v1/models": ("listModels", "The models that the caller may use", "openai"),
    "/v1/models/{model}": ("readModel", "One of them", "openai"),
    "/v1beta/models": ("listGoogleModels", "The same in Google's shape", "google"),
    "/v1beta/models/{model}": ("readGoogleModel", "One of them in Google's shape", "google"),
}
BY_KEY: Final[list[Schema]] = [{"apiKey": []}, {"bearer": []}]
_MODEL: Final[Schema] = {"name": "model", "in": "path", "required": True, "schema": TEXT}
_ID_HEADER: Final = {"x-pulse-request-id": {"required": False, "schema": REQUEST_ID}}
_COST_HEADER: Final = {
    "x-pulse-cost-eur": {
        "required": False,
        "schema": {"type": "string", "pattern": r"^\d+\.\d+$"},
        "description": "What it cost, exact to a billionth; not with streams.",
    }
}
_HEADERS: Final = [
    {"name": "Idempotency-Key", "in": "header", "schema": IDEMPOTENCY_KEY},
    *({"name": name, "in": "header", "schema": DIMENSION} for name in DIMENSION_HEADERS.values()),
]


def _responses(errors: str, statuses: tuple[int, ...], good: Schema) -> Schema:
    failures = {
        str(status): {
            "description": MEANINGS[status],
            "headers": {**_ID_HEADER, "x-pulse-error-code": {"required": False, "schema": TEXT}},
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
        "description": "The provider's answer, as its own clients know it.",
        "headers": {**_ID_HEADER, **_COST_HEADER},
        "content": content,
    }
    own = {
        "description": "A provider's own refusal of the request (4xx) keeps its status.",
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


PATHS: Final[dict[str, Any]] = {
    **{path: {"post": _sends(endpoint)} for path, endpoint in ENDPOINTS.items()},
    **{path: {"get": _lists(path, *words)} for path, words in LISTS.items()},
}
