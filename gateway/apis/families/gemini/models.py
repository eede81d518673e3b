"""Differences between the requests of Google's model generations.

https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

import re
from typing import Any, Final

Generation = tuple[int, int]

_GENERATION: Final = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)")
# What names without a version stand for: https://github.com/theJayTea/WritingTools/issues/282
_VERSIONS: Final = {
    "gemini-pro": "gemini-1.0-pro",
    "gemini-pro-vision": "gemini-1.0-pro-vision",
    "gemini-flash-latest": "gemini-3.8-flash",
    "gemini-flash-lite-latest": "gemini-3.5-flash-lite",
    "gemini-pro-latest": "gemini-3.1-pro-preview",
}
_UNKNOWN: Final = (0, 0)
_NEWEST: Final = (99, 0)
_FIRST_THINKING: Final = (2, 5)
_FIRST_ADDRESSES: Final = (2, 5)
_FIRST_LEVELS: Final = (3, 0)
_FIRST_FEE_PER_QUERY: Final = (3, 0)
_FIRST_JSON_WITH_TOOLS: Final = (3, 0)
_FIRST_WITHOUT_MINIMAL: Final = (3, 7)
# From these on a model neither continues its own last turn nor takes sampling settings:
# https://github.com/LibreChat-AI/agents/pull/323 (tried with each model),
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-5-flash-lite
_FIRST_STRICTER: Final = (3, 6)
_FIRST_STRICTER_LITE: Final = (3, 5)
# Neither instructions nor functions: https://github.com/lobehub/lobehub/issues/7128,
# https://github.com/BerriAI/litellm/issues/10313
_OLD_GEMMA: Final = re.compile(r"gemma-[123](?!\d)")
# As in Google's OpenAI compatibility layer: https://ai.google.dev/gemini-api/docs/openai
_BUDGET_TOKENS: Final = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}
# "only works in thinking mode": https://github.com/vercel/ai/issues/8027
_PRO_LEAST_TOKENS: Final = 128
_PRO_MOST_TOKENS: Final = 32_768
_DYNAMIC: Final = -1
_LEVELS: Final = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}


def generation_of(model_id: str) -> Generation:
    """Return the generation: (0, 0) of Gemma, the newest of a name without a number."""
    found = _GENERATION.match(_version(model_id))
    if found:
        return int(found[1]), int(found[2] or 0)
    return _NEWEST if model_id.endswith("-latest") else _UNKNOWN


def takes_effort(model_id: str) -> bool:
    """Whether the model supports a thinking effort."""
    return generation_of(model_id) >= _FIRST_THINKING


def always_thinks(model_id: str) -> bool:
    """Whether thinking cannot be disabled."""
    generation = generation_of(model_id)
    return generation >= _FIRST_LEVELS or (generation == _FIRST_THINKING and _is_pro(model_id))


def may_think(model_id: str, budget: int | None) -> bool:
    """Whether a request with this thinking budget may think, also unasked: of that at most a
    summary is shown. Of unknown models it is not known.
    """
    generation = generation_of(model_id)
    if generation == _UNKNOWN or always_thinks(model_id):
        return True
    return generation >= _FIRST_THINKING and budget != 0


def pays_for_each_search(model_id: str) -> bool:
    """Whether each search query has a fee, and not the prompt with any; unknown models: each."""
    generation = generation_of(model_id)
    return generation == _UNKNOWN or generation >= _FIRST_FEE_PER_QUERY


def wants_signatures(model_id: str) -> bool:
    """Whether the model rejects its own tool calls without their thought signatures."""
    return generation_of(model_id) >= _FIRST_LEVELS


def takes_signatures(model_id: str) -> bool:
    """Whether a call may have one: https://github.com/decolua/9router/issues/2480 (Gemma not)."""
    return generation_of(model_id) >= _FIRST_THINKING


def takes_addresses(model_id: str) -> bool:
    """Whether the model reads files at public addresses.

    https://ai.google.dev/gemini-api/docs/file-input-methods,
    https://github.com/vercel/ai/pull/16757 (not 2.0)
    """
    generation = generation_of(model_id)
    return generation == _UNKNOWN or generation >= _FIRST_ADDRESSES


def takes_instructions_and_tools(model_id: str) -> bool:
    """Whether the model has system instructions and functions."""
    return _OLD_GEMMA.match(model_id) is None


def takes_json_with_tools(model_id: str) -> bool:
    """Whether an answer can have a format where there are tools.

    "Function calling with a response mime type: 'application/json' is unsupported":
    https://github.com/googleapis/python-genai/issues/867
    """
    generation = generation_of(model_id)
    return generation == _UNKNOWN or generation >= _FIRST_JSON_WITH_TOOLS


def takes_penalties(model_id: str) -> bool:
    """Whether the model has penalties: "Penalty is not enabled for this model" from 2.5 on.

    https://github.com/google-gemini/cookbook/issues/1290,
    https://github.com/SillyTavern/SillyTavern/issues/3015
    """
    return generation_of(model_id) == (2, 0) or model_id.endswith("-002")


def takes_sampling(model_id: str) -> bool:
    """Whether the model has a temperature and a top_p; newer ones ignore or reject them."""
    return continues_own_turn(model_id)


def continues_own_turn(model_id: str) -> bool:
    """Whether a request may end with a turn of the model's."""
    since = _FIRST_STRICTER_LITE if _is_lite(model_id) else _FIRST_STRICTER
    return generation_of(model_id) < since


def thinking(model_id: str, effort: str, *, cap: int | None) -> dict[str, Any]:
    """Return the thinking setting for an effort, given as OpenAI's value.

    As at OpenAI, thinking is within the output cap: a budget that is not is left to the model.
    """
    if generation_of(model_id) >= _FIRST_LEVELS:
        return {"thinking_level": _level(model_id, _LEVELS[effort])}
    budget = _BUDGET_TOKENS[effort]
    if _is_pro(model_id):
        budget = _PRO_MOST_TOKENS if effort == "max" else max(budget, _PRO_LEAST_TOKENS)
    return {"thinking_budget": budget if cap is None or budget < cap else _DYNAMIC}


def _level(model_id: str, level: str) -> str:
    """Return the nearest level that the model has.

    https://ai.google.dev/gemini-api/docs/generate-content/thinking#thinking-levels,
    https://github.com/egoist/chatwise-releases/issues/1206 (3 Pro, without medium),
    https://github.com/earendil-works/pi/issues/9455 (3.8 Flash, without minimal)
    """
    generation = generation_of(model_id)
    if level == "MEDIUM" and _is_pro(model_id) and generation == _FIRST_LEVELS:
        return "HIGH"
    has_minimal = not _is_pro(model_id) and (
        generation < _FIRST_WITHOUT_MINIMAL or (_is_lite(model_id) and generation < _NEWEST)
    )
    return "LOW" if level == "MINIMAL" and not has_minimal else level


def _version(model_id: str) -> str:
    return _VERSIONS.get(model_id, model_id)


def _is_pro(model_id: str) -> bool:
    return "-pro" in _version(model_id)


def _is_lite(model_id: str) -> bool:
    return "-lite" in _version(model_id)
