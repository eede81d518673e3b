"""JSON Schema of the policy backtest's parameters and response."""

from __future__ import annotations

from typing import Final

from gateway.console.dimensions import KNOWN_PARAMETERS
from gateway.core.request_body import NAME_IN_JSON
from gateway.http.native.backtest import PATTERNS
from gateway.http.openapi.values import (
    COUNT,
    EUR,
    FLAG,
    ID,
    MOMENT,
    TEXT,
    Schema,
    exactly,
    query,
    succeeded,
)
from gateway.policies.backtests.backtest import PERIODS_DAYS
from gateway.policies.backtests.replay_report import EXAMPLES_MAX, NAMES_SHOWN

TOKENS_MAX: Final = 2**63 - 1


def _hits(name: str) -> Schema:
    hit = exactly({name: TEXT, "requests": COUNT, "costEur": EUR})
    return {"type": "array", "items": hit, "maxItems": NAMES_SHOWN}


def _written(name: str) -> Schema:
    return {"type": "string", "pattern": PATTERNS[name]}


PARAMETERS: Final = [
    query(
        "days",
        {"type": "integer", "enum": list(PERIODS_DAYS), "default": 30},
        "Number of days in the organization's time zone, including today.",
    ),
    query("allow", _written("allow"), "Allowed models, separated by commas."),
    query("block", _written("block"), "Blocked models, separated by commas."),
    query(
        "maxCostPerDayEur",
        _written("maxCostPerDayEur"),
        "The organization's cost limit per day.",
    ),
    query(
        "maxTokensPerRequest",
        {"type": "integer", "minimum": 1, "maximum": TOKENS_MAX},
        "Limit of input plus output tokens per request.",
    ),
    query(
        "maxOutputTokens",
        {"type": "integer", "minimum": 1, "maximum": TOKENS_MAX},
        "The highest output cap of an answer.",
    ),
    query("require", _written("require"), "Required dimensions, separated by commas."),
    *(
        query(parameter, _written(parameter), f"The only values of {NAME_IN_JSON[name]}.")
        for name, parameter in KNOWN_PARAMETERS.items()
    ),
]
BACKTEST: Final = succeeded(
    {
        "policy": {**TEXT, "description": "The policy as a sentence."},
        "days": COUNT,
        "judgedDays": {**COUNT, "description": "Fewer than `days` if the time limit was reached."},
        "complete": FLAG,
        "requests": {**COUNT, "description": "Allowed requests that were evaluated again."},
        "refused": {**COUNT, "description": "Requests that the policy would have refused."},
        "spentEur": {**EUR, "description": "Cost of all requests."},
        "notSpentEur": {**EUR, "description": "Cost of the refused requests."},
        "codes": {"type": "object", "additionalProperties": COUNT},
        "userCount": COUNT,
        "users": _hits("userId"),
        "appCount": COUNT,
        "apps": _hits("appId"),
        "examples": {
            "type": "array",
            "items": exactly(
                {
                    "requestId": ID,
                    "occurredAt": MOMENT,
                    "model": TEXT,
                    "code": TEXT,
                    "error": TEXT,
                    "costEur": EUR,
                }
            ),
            "maxItems": EXAMPLES_MAX,
        },
        "byDay": {
            "type": "array",
            "items": exactly(
                {
                    "day": {"type": "string", "format": "date"},
                    "requests": COUNT,
                    "refused": COUNT,
                    "spentEur": EUR,
                    "notSpentEur": EUR,
                }
            ),
            "description": "Newest first.",
        },
    }
)
