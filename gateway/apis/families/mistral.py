"""Differences between the requests of Mistral's models.

https://docs.mistral.ai/api/endpoint/chat
"""

from __future__ import annotations

import re
from typing import Final

from gateway.apis.families.changes import Changes
from gateway.core.messages import Message

# https://docs.mistral.ai/inference/conversations/reasoning (models and values),
# https://github.com/withceleste/celeste-python/pull/311 (none and high; others are refused)
_ADJUSTABLE: Final = re.compile(
    r"(?:mistral-small(?:-latest|-2603|-4.*)?|mistral-medium(?:-latest|-2604|-3|-3[-.]5)?"
    r"|magistral-.+)$"
)
_LARGE: Final = re.compile(r"mistral-large-(?:[4-9]|\d\d)(?!\d)")
# https://github.com/dust-tt/dust/pull/27613 ("not enabled for this model")
_WITHOUT_EFFORT: Final = re.compile(
    r"(?:ft:|open-|codestral|devstral|ministral|pixtral|voxtral|mistral-(?:tiny|nemo|saba|embed)"
    r"|mistral-large(?:-latest|-3.*|-\d{4})?$|mistral-(?:small|medium)-\d{4}$)"
)
_TWO_EFFORTS: Final = ("none", "high")
_LARGE_EFFORTS: Final = {"minimal": "low", "xhigh": "high", "max": "high"}
# Their tokenizer (v3 and before) has no place for both:
# https://github.com/langchain-ai/langchain/issues/21196
_EITHER_TEXT_OR_CALLS: Final = re.compile(
    r"(?:ft:)?(?:open-mistral|open-mixtral|mistral-tiny|mistral-nemo|pixtral-12b)"
)
TEMPERATURE_MAX: Final = 1.5
# A place for a user's turn that the vendor requires and the caller did not write.
NO_QUESTION: Final = "."
SYSTEM_FIRST: Final = "system messages are put first"
QUESTION_FIRST: Final = "a user message is put before the first message"
CLAMPED: Final = f"temperature is sent as {TEMPERATURE_MAX}"
GOES_ON: Final = "the last message is sent as the beginning of the answer"


def effort_for(model_id: str, effort: str) -> str | None:
    """Return the effort that a model accepts for one of OpenAI's, None if it has none.

    One of an unknown model is returned unchanged.
    """
    if _ADJUSTABLE.match(model_id):
        return effort if effort in _TWO_EFFORTS else "high"
    if _WITHOUT_EFFORT.match(model_id):
        return None
    return _LARGE_EFFORTS.get(effort, effort) if _LARGE.match(model_id) else effort


def takes_text_beside_calls(model_id: str) -> bool:
    """Whether a turn may have both text and tool calls."""
    return _EITHER_TEXT_OR_CALLS.match(model_id) is None


def fit(changes: Changes) -> None:
    """Fit a call to what its model accepts."""
    call = changes.call
    if call.temperature is not None and call.temperature > TEMPERATURE_MAX:
        changes.make(CLAMPED, temperature=TEMPERATURE_MAX)
    roles = [message.role for message in call.messages]
    if order := order_of(roles):
        changes.make(SYSTEM_FIRST, messages=tuple(call.messages[place] for place in order))
    if roles == ["assistant"]:
        question = Message("user", NO_QUESTION)
        changes.make(QUESTION_FIRST, messages=(question, *call.messages))
    if changes.call.messages and changes.call.messages[-1].role == "assistant":
        changes.make(GOES_ON)


def order_of(roles: list[str]) -> list[int] | None:
    """Return the order of messages in which none of the system follows an answer or a result.

    None if it is theirs. https://github.com/swarmauri/swarmauri-sdk/issues/162
    """
    answered = next((at for at, role in enumerate(roles) if role in ("assistant", "tool")), None)
    late = [
        at
        for at, role in enumerate(roles)
        if role == "system" and answered is not None and at > answered
    ]
    if not late:
        return None
    first = next((at for at, role in enumerate(roles) if role != "system"), len(roles))
    return [
        *range(first),
        *late,
        *(at for at in range(first, len(roles)) if at not in late),
    ]
