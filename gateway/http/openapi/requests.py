"""The schemas of requests as `/api/ai/requests` lists and shows them."""

from __future__ import annotations

from typing import Final

from gateway.core.request_body import SESSION_IN_JSON
from gateway.http.openapi.values import (
    ANYTHING,
    COUNT,
    DIMENSIONS,
    EUR,
    FLAG,
    ID,
    MOMENT,
    REQUEST_ID,
    STATUS,
    TEXT,
    Schema,
    exactly,
    or_null,
    succeeded,
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
        "description": "How much of `costEur` is an estimate: its usage or price is unknown, or "
        "its hour is not over.",
    },
    "latencyMs": or_null(COUNT),
    "keyId": or_null(ID),
    **{name: or_null(TEXT) for name in (*DIMENSIONS, *SESSION_IN_JSON.values())},
    "clientProved": {
        **or_null(FLAG),
        "description": "Whether the key is locked to this client, or code in the gateway's "
        "process named it; false if the caller did. Null without a client and in older rows.",
    },
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
