"""What OpenAI's model families accept in chat completions, by a model's name.

Models to come are read as their generation: https://developers.openai.com/api/docs/models
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# `ft:gpt-4o-mini:acme::id`; `o3`, `o4-mini`; `gpt-4o`, `gpt-5.1-chat-latest`, `gpt-6-astra`.
_BASE: Final = re.compile(r"(?:ft:)?([^:]+)")
_O_SERIES: Final = re.compile(r"o(\d+)(?:-|$)")
_GPT: Final = re.compile(r"gpt-(\d+)(?:\.(\d+))?[a-z]*(?:-(.+))?$")
_FIRST_REASONING_GPT: Final = (5, 0)
_FIRST_NONE: Final = (5, 1)
_FIRST_XHIGH: Final = (5, 2)
_FIRST_TOOLS_WITHOUT_EFFORT: Final = (5, 4)
_FIRST_MEDIUM_BY_DEFAULT: Final = (5, 5)
_FIRST_CACHE_OPTIONS: Final = (5, 6)
_FIRST_SOL_WITHOUT_NONE: Final = (6, 1)
_O_EFFORTS: Final = ("low", "medium", "high")
# Structured outputs came with the second GPT-4o:
# https://developers.openai.com/api/docs/guides/structured-outputs#supported-models
_NO_SCHEMAS: Final = re.compile(
    r"(?:gpt-3\.5|gpt-4(?:-|$)|gpt-4o-2024-05-13$|chatgpt-4o|o1-preview|o1-mini)"
)
# https://community.openai.com/t/developer-role-not-accepted-for-o1-o1-mini-o3-mini/1110750/7
_NO_IMAGES: Final = re.compile(
    r"(?:gpt-3\.5|gpt-4(?:-0|-32k|$)|o1-preview|o1-mini|o3-mini|gpt-4o(?:-mini)?-audio|gpt-audio)"
)
# This API does not serve them: https://github.com/docker/docker-agent/issues/313 (gpt-5-codex),
# https://github.com/SillyTavern/SillyTavern/pull/5212 (gpt-5.3-codex),
# https://github.com/egoist/chatwise-releases/issues/1122 (gpt-5-pro),
# https://developers.openai.com/api/docs/models/o1-pro (o1-pro, o3-pro, deep research).
# The SDK lists gpt-5.1-codex, gpt-5.2-pro and codex-mini-latest among the models of this API; the
# documents of all three name the other API alone.
_ELSEWHERE: Final = re.compile(
    r"(?:gpt-\d+(?:\.\d+)?-pro|gpt-\d+(?:\.\d+)?-codex|codex-|o\d+-pro|o\d+(?:-mini)?-deep-research"
    r"|computer-use)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A model as its name tells it; `generation` is (0, 0) if it is no GPT."""

    name: str
    o_series: int | None
    generation: tuple[int, int]
    variant: str

    @property
    def is_known(self) -> bool:
        """Whether the name tells the family. `chat-latest` does not: it is whatever it is."""
        return (
            self.o_series is not None
            or self.generation > (0, 0)
            or self.name.startswith(("chatgpt-4o", "gpt-audio"))
        )

    @property
    def is_elsewhere(self) -> bool:
        """Whether only the Responses API serves the model."""
        return _ELSEWHERE.match(self.name) is not None

    @property
    def is_first_reasoning(self) -> bool:
        """Whether it is one of the first two reasoning models."""
        return self.name.startswith(("o1-preview", "o1-mini"))

    @property
    def is_search(self) -> bool:
        """Whether it searches the web by itself."""
        return "-search" in self.name

    @property
    def is_audio(self) -> bool:
        """Whether it speaks or listens."""
        return "-audio" in self.name

    @property
    def is_first_chat(self) -> bool:
        """Whether it is GPT-5 without reasoning; later chat models reason."""
        return self.generation == (5, 0) and self.variant.startswith("chat")

    @property
    def is_later_chat(self) -> bool:
        """Whether it is a chat model that reasons, such as gpt-5.2-chat-latest."""
        return self.generation > (5, 0) and self.variant.startswith("chat")

    @property
    def is_reasoning(self) -> bool:
        """Whether it reasons, and rejects what sampling models accept."""
        if self.is_search or self.is_first_chat:
            return False
        return self.o_series is not None or self.generation >= _FIRST_REASONING_GPT

    @property
    def is_gpt_reasoning(self) -> bool:
        """Whether it is a reasoning model of GPT-5 or later."""
        return self.is_reasoning and self.o_series is None

    @property
    def efforts(self) -> tuple[str, ...]:
        """The accepted values of reasoning_effort; none of them if it has no effort.

        https://developers.openai.com/api/docs/guides/reasoning (not all models support all),
        https://github.com/enricoros/big-AGI/issues/944 and
        https://github.com/anomalyco/opencode/pull/26268 (as the API's own errors list them).
        `max` is for the Responses API only: https://github.com/livekit/agents/pull/7169 (5.6),
        https://github.com/BerriAI/litellm-docs/pull/1173 (6). The documents list it for both APIs.
        """
        if not self.is_reasoning or self.is_first_reasoning:
            return ()
        if self.o_series is not None:
            return _O_EFFORTS
        if self.is_later_chat:  # https://github.com/egoist/chatwise-releases/issues/1257
            return ("medium",)
        if self.generation < _FIRST_NONE:
            return ("minimal", *_O_EFFORTS)
        highest = ("xhigh",) if self.generation >= _FIRST_XHIGH else ()
        lowest = () if self.has_no_none else ("none",)
        return (*lowest, *_O_EFFORTS, *highest)

    @property
    def has_no_none(self) -> bool:
        """Whether it always reasons: Astra, and Sol from 6.1 on.

        https://docs.laozhang.ai/en/announcements/gpt-6-chat-tools-2026-11,
        https://github.com/bolna-ai/bolna/pull/1019. Reports differ on gpt-6.1-terra.
        """
        if self.generation >= (6, 0) and self.variant.startswith("astra"):
            return True
        return self.generation >= _FIRST_SOL_WITHOUT_NONE and self.variant.startswith("sol")

    @property
    def default_effort(self) -> str:
        """The effort of a request without one.

        https://github.com/BerriAI/litellm-docs/pull/1064 (none for 5.1 and 5.2, medium for 5.5),
        https://github.com/BerriAI/litellm/pull/34569 (5.6).
        """
        if _FIRST_NONE <= self.generation < _FIRST_MEDIUM_BY_DEFAULT and not self.is_later_chat:
            return "none"
        return "medium"

    @property
    def tools_need_no_effort(self) -> bool:
        """Whether function tools are accepted without reasoning only."""
        return self.is_gpt_reasoning and self.generation >= _FIRST_TOOLS_WITHOUT_EFFORT

    @property
    def takes_stop(self) -> bool:
        """Whether it accepts stop sequences."""
        is_small = self.name.startswith("o3-mini")
        is_late_o = self.o_series is not None and self.o_series >= 3 and not is_small
        return not (is_late_o or self.is_gpt_reasoning)

    @property
    def takes_schemas(self) -> bool:
        """Whether it accepts a JSON schema for its answer."""
        return not (_NO_SCHEMAS.match(self.name) or self.is_audio)

    @property
    def takes_images(self) -> bool:
        """Whether it reads images."""
        return _NO_IMAGES.match(self.name) is None

    @property
    def takes_cache_options(self) -> bool:
        """Whether prompt_cache_options is supported: GPT-5.6 and later."""
        return self.generation >= _FIRST_CACHE_OPTIONS

    @property
    def takes_verbosity(self) -> bool | None:
        """Whether low and high verbosity are accepted; None if it is not known."""
        if not self.is_known or self.o_series is not None or self.is_search or self.is_later_chat:
            return None
        return self.is_gpt_reasoning


def family_of(model: str) -> Family:
    """Return the family of a model."""
    found = _BASE.match(model)
    name = found[1] if found else model
    o_series, gpt = _O_SERIES.match(name), _GPT.match(name)
    return Family(
        name=name,
        o_series=int(o_series[1]) if o_series else None,
        generation=(int(gpt[1]), int(gpt[2] or 0)) if gpt else (0, 0),
        variant=(gpt[3] or "") if gpt else "",
    )
