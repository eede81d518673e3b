"""Differences between the requests of Anthropic's model generations.

https://platform.claude.com/docs/en/build-with-claude/effort
https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

# `claude-opus-4-6`, `claude-sonnet-5`, `claude-haiku-4-5-20251001`, and `claude-3-5-sonnet`; a date
# is not a minor version.
_FAMILY_FIRST: Final = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_NUMBER_FIRST: Final = re.compile(r"claude-(\d)(?:[-.](\d))?(?!\d)(?:-([a-z]+))?")
_FIRST_WITHOUT_BOTH: Final = (4, 1)  # of temperature and top_p
_FIRST_STRICT: Final = (4, 5)
_FIRST_ADAPTIVE: Final = (4, 6)
_FIRST_PLACES: Final = (4, 6)
_FIRST_SPEEDS: Final = (4, 6)
_FIRST_WITHOUT_PREFILL: Final = (4, 6)
_FIRST_WITHOUT_SAMPLING: Final = (4, 7)
_FIRST_XHIGH: Final = (4, 7)
_FIRST_THINKING_BY_DEFAULT: Final = (5, 0)
_PREVIEW: Final = "mythos-preview"  # released with 4.7
_NEVER: Final = (99, 0)
# https://platform.claude.com/docs/en/api/errors
_FIRST_WITHOUT_FORCED_TOOLS: Final = {
    "fable": (5, 1),
    "mythos": (5, 1),
    _PREVIEW: (0, 0),
    "opus": (5, 5),
    "sonnet": (5, 5),
}
_FIRST_ALWAYS_THINKING: Final = {
    "fable": (0, 0),
    "mythos": (0, 0),
    _PREVIEW: (0, 0),
    "opus": (5, 5),
}


@dataclass(frozen=True, slots=True)
class _Claude:
    family: str
    generation: tuple[int, int]


@lru_cache(maxsize=1000)
def _claude(model_id: str) -> _Claude:
    """Return a model's family and generation, which is (0, 0) if the id has none."""
    if model_id.startswith(f"claude-{_PREVIEW}"):
        return _Claude(_PREVIEW, (4, 7))
    if found := _FAMILY_FIRST.match(model_id):
        return _Claude(found[1], (int(found[2]), int(found[3] or 0)))
    if found := _NUMBER_FIRST.match(model_id):
        return _Claude(found[3] or "", (int(found[1]), int(found[2] or 0)))
    return _Claude("", (0, 0))


def _has(model_id: str, first: tuple[int, int]) -> bool:
    return _claude(model_id).generation >= first


def _is_opus_4_5(model_id: str) -> bool:
    return _claude(model_id) == _Claude("opus", (4, 5))


def takes_effort(model_id: str) -> bool:
    """Whether the model supports a thinking effort."""
    return _has(model_id, _FIRST_ADAPTIVE) or _is_opus_4_5(model_id)


def takes_schemas(model_id: str) -> bool:
    """Whether the model supports strict tools and a schema of its answer."""
    return _has(model_id, _FIRST_STRICT)


def takes_sampling(model_id: str) -> bool:
    """Whether the model supports temperature and top_p at all.

    https://platform.claude.com/docs/en/build-with-claude/working-with-messages
    """
    return not _has(model_id, _FIRST_WITHOUT_SAMPLING)


def takes_temperature_with_top_p(model_id: str) -> bool:
    """Whether the model supports temperature and top_p in one request.

    https://platform.claude.com/docs/en/about-claude/models/migration-guide, and for 4.1
    https://github.com/anomalyco/opencode/issues/1644
    """
    return not _has(model_id, _FIRST_WITHOUT_BOTH)


def takes_forced_tools(model_id: str) -> bool:
    """Whether the model can be forced to call a tool.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools#forcing-tool-use
    """
    return not _has(model_id, _FIRST_WITHOUT_FORCED_TOOLS.get(_claude(model_id).family, _NEVER))


def takes_prefill(model_id: str) -> bool:
    """Whether the model continues a last turn of the assistant.

    https://platform.claude.com/docs/en/api/errors#prefill-not-supported
    """
    return not _has(model_id, _FIRST_WITHOUT_PREFILL)


def takes_place(model_id: str) -> bool:
    """Whether a request to the model can name a place; older ones reject the field.

    https://platform.claude.com/docs/en/manage-claude/data-residency
    """
    return _has(model_id, _FIRST_PLACES)


def takes_speed(model_id: str) -> bool:
    """Whether a request to the model can ask for another speed; older models have only one.

    https://platform.claude.com/docs/en/build-with-claude/fast-mode
    """
    return _has(model_id, _FIRST_SPEEDS)


def nearest_effort(model_id: str, effort: str) -> str:
    """Return the model's effort that is nearest to OpenAI's value; `none` is no thinking.

    https://platform.claude.com/docs/en/build-with-claude/effort#effort-levels
    """
    if effort == "none":
        claude = _claude(model_id)
        first = _FIRST_ALWAYS_THINKING.get(claude.family, _NEVER)
        return "low" if claude.generation >= first else effort
    if effort == "minimal":
        return "low"
    has_xhigh = _has(model_id, _FIRST_XHIGH) and _claude(model_id).family != _PREVIEW
    lacks = (effort == "xhigh" and not has_xhigh) or (
        effort == "max" and not _has(model_id, _FIRST_ADAPTIVE)
    )
    return "high" if lacks else effort


def thinks(model_id: str, effort: str | None) -> bool:
    """Whether a request with one of the model's efforts turns thinking on."""
    return effort not in (None, "none") and _has(model_id, _FIRST_ADAPTIVE)


def may_think(model_id: str, asked: str | None) -> bool:
    """Whether a request with this type of thinking, or none, may think: of that at most a summary
    is shown.
    """
    claude = _claude(model_id)
    if asked == "disabled":
        return claude.generation >= _FIRST_ALWAYS_THINKING.get(claude.family, _NEVER)
    return asked is not None or claude.generation >= _FIRST_THINKING_BY_DEFAULT


def thinking(model_id: str, effort: str, *, is_tool_forced: bool) -> dict[str, Any]:
    """Return the request fields for one of the model's efforts."""
    if effort == "none":
        if not _has(model_id, _FIRST_THINKING_BY_DEFAULT):
            return {}
        # Sonnet 5.5 has another value for it.
        between = _claude(model_id) == _Claude("sonnet", (5, 5))
        return {"thinking": {"type": "between_tools" if between else "disabled"}}
    fields: dict[str, Any] = {"output_config": {"effort": effort}}
    if thinks(model_id, effort) and not is_tool_forced:
        fields["thinking"] = {"type": "adaptive"}
    return fields
