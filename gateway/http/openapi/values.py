"""JSON Schema of the API's request and response fields."""

from __future__ import annotations

from typing import Any, Final

from costs.core.calendar.moments import PATTERN
from costs.core.calendar.periods import BudgetWindow
from costs.core.rate_limits import RateKind
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
from gateway.guards.budgets import EACH
from gateway.guards.rates import PER_MINUTE
from gateway.guards.sessions import PER
from gateway.http.native.quote import OUTCOMES
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
# Headers, in OpenAPI's form.
RATES: Final[Schema] = {
    f"x-ratelimit-{name}-{kind.value}": {
        "required": False,
        "schema": {"type": "string", "pattern": pattern},
        "description": f"{meaning}, for the {kind.value} per minute of a policy; not sent without.",
    }
    for kind in PER_MINUTE
    for name, pattern, meaning in (
        ("limit", r"^\d+$", "The limit"),
        ("remaining", r"^\d+$", "What is left of it"),
        ("reset", r"^\d+s$", "When all of it is left again"),
    )
}
LEFT: Final[Schema] = {
    **RATES,
    "x-pulse-budget-remaining-eur": {
        "required": False,
        "schema": {"type": "string", "pattern": r"^\d+\.\d+$"},
        "description": "What is left in EUR in the tightest limit on money once this call is held; "
        "not sent without one.",
    },
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
SESSION_PARAMETERS: Final = [
    {
        "name": name,
        "in": "header",
        "schema": TEXT,
        "description": f"The {what} that the request belongs to, in up to {DIMENSION_MAX_CHARS} "
        "printable characters; anything else is ignored. The headers of coding agents count too.",
    }
    for name, what in (
        ("x-pulse-session-id", "session of an agent"),
        ("x-pulse-agent-id", "subagent of the session"),
    )
]

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
_BUDGET: Final[Schema] = {
    "budget": TEXT,
    "per": {"enum": [window.value for window in BudgetWindow]},
    **_ROOM,
}
LIMIT: Final[Schema] = {
    "oneOf": [
        exactly({"policy": TEXT, **_ROOM}),
        exactly({"policy": TEXT, "per": {"const": PER}, **_ROOM}),
        exactly(_BUDGET),
        exactly({**_BUDGET, "each": {"enum": [*EACH.values()]}, "for": TEXT}),
        exactly(
            {
                "policy": TEXT,
                "of": {"enum": [kind.value for kind in RateKind]},
                "limit": COUNT,
                "used": COUNT,
                "availableInS": {
                    **or_null({"type": "number", "minimum": 0}),
                    "description": "When a call like this is within the limit; null is when a "
                    "running call ends.",
                },
            }
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
        "outcome": {"enum": [*OUTCOMES]},
        "waitS": {
            **or_null(COUNT),
            "description": "How long it would wait at most for calls in flight, or for its turn in "
            "a rate.",
        },
        "waitsFor": {
            "type": "array",
            "items": TEXT,
            "description": "The policies and budgets that it would wait for.",
        },
        "limits": {"type": "array", "items": LIMIT},
    }
)

EXCHANGE_RATE: Final = {
    **or_null(exactly({"date": TEXT, "workingDays": COUNT, "isStale": {"type": "boolean"}})),
    "description": "The age of the exchange rate in force; null without a rate.",
}
DATABASE_MS: Final[Schema] = {
    "type": "number",
    "minimum": 0,
    "description": "How long a statement that reads nothing takes, in milliseconds.",
}
READY: Final = exactly(
    {
        "status": {"type": "string", "const": "ready"},
        "database": {"type": "string", "const": "ok"},
        "migrations": {"type": "string", "const": "applied"},
        "databaseMs": DATABASE_MS,
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
        "databaseMs": DATABASE_MS,
        "oldestUnsettledHoldS": or_null({"type": "integer"}),
        "overdueHolds": COUNT,
        "exchangeRate": EXCHANGE_RATE,
        "ledger": {"type": "string", "enum": ["ok", "stalled"]},
    },
    optional=(
        *("database", "migrations", "databaseMs", "oldestUnsettledHoldS", "overdueHolds"),
        *("exchangeRate", "ledger"),
    ),
)
