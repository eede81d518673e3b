"""Differences between the requests of OpenAI's model families."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from gateway.apis.families.changes import Changes

# Reasoning models reject `max_tokens`; OpenAI-compatible servers support only that:
# https://developers.openai.com/api/reference/resources/chat
_REASONING: Final = re.compile(r"(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d\d)|codex)")
# The first two reasoning models support neither system messages nor a temperature:
# https://developers.openai.com/api/docs/guides/reasoning
_FIRST_REASONING: Final = re.compile(r"(?:ft:)?o1-(?:preview|mini)")


def cap_name(model_id: str) -> str:
    """Return the name of the model's output cap field."""
    return "max_completion_tokens" if is_reasoning(model_id) else "max_tokens"


def is_reasoning(model_id: str) -> bool:
    """Whether the model may reason before it answers."""
    return _REASONING.match(model_id) is not None


def is_first_reasoning(model_id: str) -> bool:
    """Whether the model is one of the first two reasoning models."""
    return _FIRST_REASONING.match(model_id) is not None


def fit(changes: Changes) -> None:
    """Fit a call to what its model accepts."""
    call = changes.call
    if not is_first_reasoning(call.model):
        return
    if any(message.role == "system" for message in call.messages):
        messages = (
            replace(message, role="user") if message.role == "system" else message
            for message in call.messages
        )
        changes.make("system messages are sent as user messages", messages=tuple(messages))
    if call.temperature is not None:
        changes.make("temperature is omitted", temperature=None)
