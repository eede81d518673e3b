"""JSON Schema of the API's request and response fields."""

from __future__ import annotations

from typing import Any, Final

from costs.core.calendar.moments import PATTERN
from costs.core.calendar.periods import BudgetWindow
from gateway.core.calls import DIMENSION_MAX_CHARS
from gateway.core.model_names import NAME_MAX_CHARS
from gateway.core.request_body import (
    IDEMPOTENCY_KEY_MAX_CHARS,
    MESSAGES_MAX,
    NAME_IN_JSON,
    ROLES,
    TEMPERATURE_MAX,
    TOKENS_MAX,
)
from gateway.models import AiRequestLog

Schema = dict[str, Any]

# What str.isprintable() accepts: no control or format characters, of whitespace only the space.
PRINTABLE: Final = r"^(?:[^\p{C}\p{Z}]| )*$"
# The same of the characters that every client can put into a header: beyond Latin-1 only the bytes
# of UTF-8 are read, which many cannot send. Outer whitespace is not part of it.
HEADER_TEXT: Final = "^[!-~¡-¬®-ÿ](?:[ -~¡-¬®-ÿ]*[!-~¡-¬®-ÿ])?$"
MODEL_NAME: Final = "^[A-Za-z0-9][A-Za-z0-9._:@/+-]*$"

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
EUR: Final[Schema] = {"type": "number", "minimum": 0, "description": "Euros, exact to 1e-9."}
ID: Final[Schema] = {"type": "string", "format": "uuid"}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
# As a query parameter, which may omit seconds and the offset.
WRITTEN_MOMENT: Final[Schema] = {"type": "string", "pattern": PATTERN}
ANYTHING: Final[Schema] = {"type": "object"}
REQUEST_ID: Final[Schema] = {"$ref": "#/components/schemas/RequestId"}
REQUEST_URL: Final[Schema] = {
    "requestUrl": {
        "type": "string",
        "description": "The request's page, where the installation has `PULSE_URL`.",
    }
}
# A header, in OpenAPI's form.
LEFT: Final[Schema] = {
    "x-pulse-budget-remaining-eur": {
        "required": False,
        "schema": {"type": "string", "pattern": r"^\d+\.\d+$"},
        "description": "What is left in EUR in the tightest limit on money once this call is held; "
        "not sent without one.",
    }
}
STATUS: Final[Schema] = {"type": "string", "enum": AiRequestLog.Status.values}
IDEMPOTENCY_KEY: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": IDEMPOTENCY_KEY_MAX_CHARS,
    "pattern": HEADER_TEXT,
}


def or_null(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    if "enum" in schema or "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def exactly(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def succeeded(properties: Schema) -> Schema:
    """Return the schema of a response with these properties and `success`."""
    return exactly({"success": {"type": "boolean", "const": True}, **properties})


def query(name: str, schema: Schema, description: str) -> Schema:
    """Return the description of an optional query parameter."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


DIMENSION: Final[Schema] = {
    "type": "string",
    "maxLength": DIMENSION_MAX_CHARS,
    "pattern": PRINTABLE,
    "description": "Printable text; it is trimmed, and compared without case. "
    "Empty is the same as absent.",
}
DIMENSIONS: Final = dict.fromkeys(NAME_IN_JSON.values(), DIMENSION)

MESSAGE: Final = exactly(
    {"role": {"type": "string", "enum": list(ROLES)}, "content": {"type": "string", "minLength": 1}}
)
REQUEST: Final[Schema] = {
    "type": "object",
    "description": "One request with exactly one of `prompt` and `messages`. A dimension may be "
    "set here or in `metadata`; if in both, the values must be one name.",
    "additionalProperties": False,
    "required": ["model"],
    "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
    "properties": {
        "model": {
            "type": "string",
            "minLength": 1,
            "maxLength": NAME_MAX_CHARS,
            "pattern": MODEL_NAME,
            "description": "A model name, optionally with its provider as prefix, or an alias of "
            "the organization: `gpt-4o-mini`, `anthropic/claude-3-5-sonnet-latest`. Case and outer "
            "whitespace are ignored.",
            "examples": ["sandbox-small"],
        },
        "prompt": {"type": "string", "minLength": 1, "description": "A single user message."},
        "messages": {
            "type": "array",
            "minItems": 1,
            "maxItems": MESSAGES_MAX,
            "items": {"$ref": "#/components/schemas/Message"},
        },
        "maxTokens": {
            "type": "integer",
            "minimum": 1,
            "maximum": TOKENS_MAX,
            "description": "Maximum number of output tokens. Default: what the tightest policy "
            "leaves, else the model's default.",
        },
        "temperature": {"type": "number", "minimum": 0, "maximum": TEMPERATURE_MAX},
        "stream": {**FLAG, "default": False},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": DIMENSIONS,
        },
        **DIMENSIONS,
    },
}

ANSWER: Final = succeeded(
    {
        "requestId": REQUEST_ID,
        "provider": TEXT,
        "model": {**TEXT, "description": "The model that answered, as its provider names it."},
        "content": TEXT,
        "finishReason": or_null(TEXT),
        "inputTokens": or_null(COUNT),
        "outputTokens": or_null(COUNT),
        "totalTokens": or_null(COUNT),
        "estimatedCostEur": EUR,
        "latencyMs": COUNT,
    }
)
DONE: Final = exactly(
    {name: schema for name, schema in ANSWER["properties"].items() if name != "content"}
)


def error(*codes: str) -> Schema:
    """Return the schema of an error with one of these codes."""
    properties = {
        "success": {"type": "boolean", "const": False},
        "error": {**TEXT, "description": "A human-readable message."},
        "code": {"type": "string", "enum": list(codes)},
        "requestId": REQUEST_ID,
        **REQUEST_URL,
    }
    if "already_done" not in codes:
        return exactly(properties, optional=("requestUrl",))
    # `already_done` has the first request's id and cost.
    optional = ("requestUrl", "estimatedCostEur")
    return exactly({**properties, "estimatedCostEur": EUR}, optional=optional)


def _event(name: str, data: Schema) -> Schema:
    return exactly(
        {
            "event": {"type": "string", "const": name},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": data,
            },
        }
    )


EVENT: Final[Schema] = {
    "description": "The schema of one event. A stream has any number of `delta` events, then "
    "exactly one `done` or `error`.",
    "oneOf": [
        _event("delta", exactly({"content": TEXT})),
        _event("done", {"$ref": "#/components/schemas/Done"}),
        _event("error", {"$ref": "#/components/schemas/Failure"}),
    ],
}

_ROOM: Final[Schema] = {"limitEur": EUR, "chargedEur": EUR, "heldEur": EUR, "leftEur": EUR}
LIMIT: Final[Schema] = {
    "oneOf": [
        exactly({"policy": TEXT, **_ROOM}),
        exactly(
            {"budget": TEXT, "per": {"enum": [window.value for window in BudgetWindow]}, **_ROOM}
        ),
    ]
}
QUOTE: Final = succeeded(
    {
        "allowed": FLAG,
        "code": or_null(TEXT),
        "error": or_null(TEXT),
        "provider": or_null(TEXT),
        "model": or_null(TEXT),
        "inputTokens": or_null(COUNT),
        "outputCap": or_null(COUNT),
        "boundEur": or_null(EUR),
        "expectedEur": or_null(EUR),
        "limits": {"type": "array", "items": LIMIT},
    }
)

SUMMARY_FIELDS: Final[Schema] = {
    "requestId": REQUEST_ID,
    "occurredAt": MOMENT,
    "completedAt": or_null(MOMENT),
    "status": STATUS,
    "code": or_null(TEXT),
    "error": or_null(TEXT),
    "channel": TEXT,
    "stream": FLAG,
    "requestedModel": {**TEXT, "description": "The model or alias that was requested."},
    "model": {**TEXT, "description": "The model that was called last."},
    "provider": or_null(TEXT),
    "inputTokens": or_null(COUNT),
    "outputTokens": or_null(COUNT),
    "costEur": or_null(EUR),
    "estimatedEur": {
        **or_null(EUR),
        "description": "How much of `costEur` is an estimate, because usage or price is unknown.",
    },
    "latencyMs": or_null(COUNT),
    "keyId": or_null(ID),
    **{name: or_null(TEXT) for name in DIMENSIONS},
    "userProved": {
        **or_null(FLAG),
        "description": "Whether a session or the key's owner proved `userId`; null without a user "
        "and in older rows.",
    },
}
PAGE: Final = succeeded(
    {
        "requests": {"type": "array", "items": exactly(SUMMARY_FIELDS)},
        "nextCursor": {
            **or_null(TEXT),
            "description": "The `cursor` of the next page; null on the last page.",
        },
    }
)
ATTEMPT: Final = exactly(
    {
        "at": MOMENT,
        "model": TEXT,
        "provider": or_null(TEXT),
        "code": or_null(TEXT),
        "error": or_null(TEXT),
        "providerStatus": or_null({"type": "integer"}),
        "holdEur": {
            **or_null(EUR),
            "description": "Null if the model was skipped and not called.",
        },
        "latencyMs": or_null(COUNT),
        "decision": ANYTHING,
    }
)
DETAIL: Final = succeeded(
    {
        "request": exactly(
            {
                **SUMMARY_FIELDS,
                "finishReason": or_null(TEXT),
                "cutBy": {
                    "enum": ["gateway", None],
                    "description": "`gateway` if the answer ended at an output cap that the caller "
                    "did not ask for; `decision.output_cap_by` says what the cap came from.",
                },
                "holdEur": or_null(EUR),
                "promptHash": TEXT,
                "usage": {**or_null(ANYTHING), "description": "Tokens by disjoint bucket."},
                "reportedUsage": {
                    **or_null(ANYTHING),
                    "description": "As reported by the provider.",
                },
                "unpriced": {
                    "type": "array",
                    "items": TEXT,
                    "description": "What was used and had no price: the cost is an estimate.",
                },
                "upstreamRequestId": {
                    **or_null(TEXT),
                    "description": "The provider's own id of the request.",
                },
                "decision": {**ANYTHING, "description": "The decision trace."},
                "attempts": {
                    "type": "array",
                    "items": ATTEMPT,
                    "description": "Earlier attempts with the models of an alias, in order. The "
                    "request itself describes the last attempt.",
                },
            }
        ),
    }
)

EXCHANGE_RATE: Final = {
    **or_null(exactly({"date": TEXT, "workingDays": COUNT, "isStale": {"type": "boolean"}})),
    "description": "The age of the exchange rate in force; null without a rate.",
}
READY: Final = exactly(
    {
        "status": {"type": "string", "const": "ready"},
        "database": {"type": "string", "const": "ok"},
        "migrations": {"type": "string", "const": "applied"},
        "oldestUnsettledHoldS": or_null({"type": "integer"}),
        "overdueHolds": COUNT,
        "exchangeRate": EXCHANGE_RATE,
        "ledger": {"type": "string", "const": "ok"},
    }
)
NOT_READY: Final = exactly(
    {
        "status": {"type": "string", "enum": ["not ready", "stopping"]},
        "database": {"type": "string", "enum": ["ok", "away"]},
        "migrations": {"type": "string", "enum": ["applied", "pending"]},
        "oldestUnsettledHoldS": or_null({"type": "integer"}),
        "overdueHolds": COUNT,
        "exchangeRate": EXCHANGE_RATE,
        "ledger": {"type": "string", "enum": ["ok", "stalled"]},
    },
    optional=(
        *("database", "migrations", "oldestUnsettledHoldS", "overdueHolds", "exchangeRate"),
        "ledger",
    ),
)
