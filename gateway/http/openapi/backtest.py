"""The policy backtest's parameters and answer as JSON Schema."""

from __future__ import annotations

from typing import Final

from gateway.core.model_names import NAME_MAX_CHARS
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
from gateway.policies.backtest import PERIODS_DAYS
from gateway.policies.replay_report import EXAMPLES_MAX, NAMES_SHOWN

TOKENS_MAX: Final = 2**63 - 1
ENTRIES_MAX: Final = 20
_ENTRY: Final = rf"[A-Za-z0-9*][A-Za-z0-9._:@/+*-]{{0,{NAME_MAX_CHARS - 1}}}"
_ENTRIES: Final = f"^{_ENTRY}(?:,{_ENTRY}){{0,{ENTRIES_MAX - 1}}}$"
# How each parameter of the policy is written; the endpoint checks by the same patterns.
PATTERNS: Final = {
    "allow": _ENTRIES,
    "block": _ENTRIES,
    "maxCostPerDayEur": r"^[0-9]{1,7}(?:\.[0-9]{1,9})?$",
    "maxTokensPerRequest": r"^[1-9][0-9]{0,18}$",
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
        "How many of the organization's days, today included.",
    ),
    query("allow", _written("allow"), "The only models that may be called, separated by commas."),
    query("block", _written("block"), "Models that may not be called, separated by commas."),
    query(
        "maxCostPerDayEur",
        _written("maxCostPerDayEur"),
        "What the organization may spend a day.",
    ),
    query(
        "maxTokensPerRequest",
        {"type": "integer", "minimum": 1, "maximum": TOKENS_MAX},
        "What a request may have, in and out.",
    ),
]
BACKTEST: Final = succeeded(
    {
        "policy": {**TEXT, "description": "The policy as a sentence."},
        "days": COUNT,
        "judgedDays": {**COUNT, "description": "Fewer than `days` where the time was over."},
        "complete": FLAG,
        "requests": {**COUNT, "description": "Let-through requests that were judged again."},
        "refused": {**COUNT, "description": "Those that the policy would have refused."},
        "spentEur": {**EUR, "description": "What all of them cost."},
        "notSpentEur": {**EUR, "description": "What the refused ones cost."},
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
