"""Differences between the requests of Anthropic's model generations.

https://platform.claude.com/docs/en/build-with-claude/effort
https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking
"""

from __future__ import annotations

import re
from typing import Any, Final

from gateway.apis.families.changes import Changes

# `claude-opus-4-6`, `claude-sonnet-5`, `claude-haiku-4-5-20251001`; a date is not a minor version.
_GENERATION: Final = re.compile(r"claude-[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_FIRST_STRICT: Final = (4, 5)
_FIRST_ADAPTIVE: Final = (4, 6)
_FIRST_XHIGH: Final = (4, 7)
_FIRST_PLACES: Final = (4, 6)
_FIRST_SPEEDS: Final = (4, 6)
_FIRST_THINKING_BY_DEFAULT: Final = (5, 0)
_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}


def takes_effort(model_id: str) -> bool:
    """Whether the model supports a thinking effort."""
    return _generation(model_id) >= _FIRST_ADAPTIVE or model_id.startswith("claude-opus-4-5")


def takes_strict_tools(model_id: str) -> bool:
    """Whether the model supports strict tool schemas."""
    return _generation(model_id) >= _FIRST_STRICT


def takes_place(model_id: str) -> bool:
    """Whether a request to the model can name a place; older ones reject the field.

    https://platform.claude.com/docs/en/manage-claude/data-residency
    """
    return _generation(model_id) >= _FIRST_PLACES


def takes_speed(model_id: str) -> bool:
    """Whether a request to the model can ask for another speed; older models have only one.

    https://platform.claude.com/docs/en/build-with-claude/fast-mode
    """
    return _generation(model_id) >= _FIRST_SPEEDS


def thinking(model_id: str, effort: str) -> dict[str, Any]:
    """Return the request fields for a thinking effort, given as OpenAI's value."""
    generation = _generation(model_id)
    if effort == "none":
        if generation < _FIRST_THINKING_BY_DEFAULT:
            return {}
        # Sonnet 5.5 has another value for it; models that always think reject both.
        between = model_id.startswith("claude-sonnet-5-5")
        return {"thinking": {"type": "between_tools" if between else "disabled"}}
    highest = "xhigh" if generation >= _FIRST_XHIGH else "high"
    fields: dict[str, Any] = {"output_config": {"effort": _EFFORTS.get(effort, highest)}}
    if generation >= _FIRST_ADAPTIVE:
        fields["thinking"] = {"type": "adaptive"}
    return fields


def _generation(model_id: str) -> tuple[int, int]:
    found = _GENERATION.match(model_id)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def fit(changes: Changes) -> None:
    """Fit a call to what its model accepts."""
