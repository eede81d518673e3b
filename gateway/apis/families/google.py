"""Differences between the requests of Google's model generations.

https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

import re
from typing import Any, Final

from gateway.apis.families.changes import Changes

_GENERATION: Final = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)")
_FIRST_THINKING: Final = (2, 5)
_UNKNOWN: Final = (0, 0)
_FIRST_LEVELS: Final = (3, 0)
_FIRST_FEE_PER_QUERY: Final = (3, 0)
# As in Google's OpenAI compatibility layer: https://ai.google.dev/gemini-api/docs/openai
_BUDGET_TOKENS: Final = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 24_576,
}
_DYNAMIC: Final = -1
# Thinking cannot be disabled from version 3 on, and not all models have a level below low.
_LEVELS: Final = {
    "none": "LOW",
    "minimal": "LOW",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
}


def takes_effort(model_id: str) -> bool:
    """Whether the model supports a thinking effort."""
    return _generation(model_id) >= _FIRST_THINKING


def pays_for_each_search(model_id: str) -> bool:
    """Whether each search query has a fee, and not the prompt with any; unknown models: each."""
    generation = _generation(model_id)
    return generation == _UNKNOWN or generation >= _FIRST_FEE_PER_QUERY


def wants_signatures(model_id: str) -> bool:
    """Whether the model rejects its own tool calls without their thought signatures."""
    return _generation(model_id) >= _FIRST_LEVELS


def thinking(model_id: str, effort: str, *, cap: int | None) -> dict[str, Any]:
    """Return the thinking setting for an effort, given as OpenAI's value.

    As at OpenAI, thinking is within the output cap: a budget that is not is left to the model.
    """
    if _generation(model_id) >= _FIRST_LEVELS:
        return {"thinking_level": _LEVELS[effort]}
    budget = _BUDGET_TOKENS[effort]
    return {"thinking_budget": budget if cap is None or budget < cap else _DYNAMIC}


def _generation(model_id: str) -> tuple[int, int]:
    """Return the generation; a name without a number (`gemini-flash-latest`) is the newest."""
    found = _GENERATION.match(model_id)
    if found:
        return int(found[1]), int(found[2] or 0)
    return (99, 0) if model_id.endswith("-latest") else _UNKNOWN


def fit(changes: Changes) -> None:
    """Fit a call to what its model accepts."""
