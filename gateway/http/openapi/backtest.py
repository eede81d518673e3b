"""JSON Schema of the policy backtest's parameters and response."""

from __future__ import annotations

from typing import Final

from gateway.console.dimensions import KNOWN_PARAMETERS
from gateway.core.request_body import NAME_IN_JSON
from gateway.core.usage_bound import SEARCHES_MAX
from gateway.guards.policies import WAIT_MAX_S, WAIT_S
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
from gateway.policies.applies_to import NAMED_FIELDS, NAMED_PARAMETERS
from gateway.policies.backtests.backtest import PERIODS_DAYS
from gateway.policies.backtests.replay_report import EXAMPLES_MAX, NAMES_SHOWN
from gateway.policies.forms import REQUESTS_MAX

TOKENS_MAX: Final = 2**63 - 1
NAMED_HOW: Final = {
    "key_id": ": names, public parts or ids",
    "user_id": ": email addresses or ids",
}


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
        "The cost limit per day of all requests that the policy applies to.",
    ),
    query(
        "maxCostPerSessionEur",
        _written("maxCostPerSessionEur"),
        "The cost limit of an agent's session.",
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
    query(
        "waitS",
        {"type": "integer", "minimum": 0, "maximum": WAIT_MAX_S, "default": WAIT_S},
        "How long requests wait for running calls or for their turn.",
    ),
    query(
        "webSearchesPerRequest",
        {"type": "integer", "minimum": 0, "maximum": SEARCHES_MAX},
        "The most web searches of a request; 0 refuses requests that could search.",
    ),
    query(
        "requestsPerMinute",
        {"type": "integer", "minimum": 1, "maximum": REQUESTS_MAX},
        "The most admitted requests in a minute.",
    ),
    query(
        "tokensPerMinute",
        {"type": "integer", "minimum": 1, "maximum": TOKENS_MAX},
        "The most tokens in a minute: input plus output cap, corrected to use.",
    ),
    query(
        "concurrentRequests",
        {"type": "integer", "minimum": 1, "maximum": REQUESTS_MAX},
        "The most requests that run at once.",
    ),
    *(
        query(
            parameter,
            _written(parameter),
            f"The {NAMED_FIELDS[name].replace('_', ' ')} that the policy applies to, "
            f"separated by commas{NAMED_HOW.get(name, '')}; all requests without any.",
        )
        for name, parameter in NAMED_PARAMETERS.items()
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
