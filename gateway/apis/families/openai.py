"""Differences between the requests of OpenAI's model families, by a model's name.

https://developers.openai.com/api/docs/guides/latest-model (parameter compatibility),
https://developers.openai.com/api/docs/guides/reasoning

A name of no known family has no differences: compatible servers have their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from gateway.apis.families.changes import Changes
from gateway.core.errors import Refused
from gateway.core.request_body import invalid

# Reasoning models reject `max_tokens`; OpenAI-compatible servers support only that:
# https://developers.openai.com/api/reference/resources/chat
_REASONING: Final = re.compile(r"(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d\d)|codex)")
# The first two reasoning models support neither system messages nor a temperature:
# https://developers.openai.com/api/docs/guides/reasoning
_FIRST_REASONING: Final = re.compile(r"o1-(?:preview|mini)")
# Their pages name the Responses API alone: https://developers.openai.com/api/docs/models/o1-pro
_ELSEWHERE: Final = re.compile(
    r"gpt-\d+(?:\.\d+)?-(?:pro|codex)|codex-|o\d+-pro|o\d+(?:-mini)?-deep-research|computer-use"
)
# `ft:gpt-4o-mini:acme::id`; `o3`, `o4-mini`; `gpt-4o`, `gpt-5.1-chat-latest`, `gpt-6-astra`.
_BASE: Final = re.compile(r"(?:ft:)?([^:]*)")
_O_SERIES: Final = re.compile(r"o(\d+)(?:-|$)")
_GPT: Final = re.compile(r"gpt-(\d+)(?:\.(\d+))?[a-z]*(?:-(.+))?$")
_FIRST_NONE: Final = (5, 1)
_FIRST_XHIGH: Final = (5, 2)
_FIRST_TOOLS_WITHOUT_EFFORT: Final = (5, 4)
_FIRST_MEDIUM_BY_DEFAULT: Final = (5, 5)
_FIRST_CACHED_FOR_LONG: Final = (5, 5)
_FIRST_CACHE_OPTIONS: Final = (5, 6)
EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
NO_EFFORT: Final = "none"
_MIDDLE: Final = ("low", "medium", "high")
NAMES_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a model's name tells; `generation` is (0, 0) if it is no GPT."""

    name: str
    o_series: int | None
    generation: tuple[int, int]
    variant: str

    @property
    def is_known(self) -> bool:
        """Whether the name tells the family."""
        return self.o_series is not None or self.generation > (0, 0)

    @property
    def is_elsewhere(self) -> bool:
        """Whether only the Responses API serves the model."""
        return _ELSEWHERE.match(self.name) is not None

    @property
    def is_first_reasoning(self) -> bool:
        """Whether it is one of the first two reasoning models."""
        return _FIRST_REASONING.match(self.name) is not None

    @property
    def is_search(self) -> bool:
        """Whether it searches the web for every answer.

        It rejects what sampling needs: https://github.com/vercel/ai/pull/5647
        """
        return "-search" in self.name

    @property
    def is_reasoning(self) -> bool:
        """Whether it reasons, and rejects what other models accept. `gpt-5-chat-latest` does not,
        later chat models do.
        """
        if self.is_search or (self.generation == (5, 0) and self.is_chat):
            return False
        return self.o_series is not None or self.generation >= (5, 0)

    @property
    def is_chat(self) -> bool:
        """Whether it is one of ChatGPT's models, such as `gpt-5.2-chat-latest`."""
        return self.variant.startswith("chat")

    @property
    def efforts(self) -> tuple[str, ...]:
        """The accepted values of reasoning_effort, from the least; none if it has no effort.

        As the API's own errors list them: https://github.com/enricoros/big-AGI/issues/944,
        https://github.com/anomalyco/opencode/pull/26268. `max` is accepted by the Responses API
        only: https://github.com/livekit/agents/pull/7169.
        """
        if not self.is_reasoning or self.is_first_reasoning:
            return ()
        if self.o_series is not None:
            return _MIDDLE
        if self.is_chat:  # https://github.com/egoist/chatwise-releases/issues/1257
            return ("medium",)
        if self.generation < _FIRST_NONE:
            return ("minimal", *_MIDDLE)
        lowest = () if self.always_reasons else (NO_EFFORT,)
        highest = ("xhigh",) if self.generation >= _FIRST_XHIGH else ()
        return (*lowest, *_MIDDLE, *highest)

    @property
    def always_reasons(self) -> bool:
        """Whether it has no effort `none`: Astra, and Sol from 6.1 on.

        https://developers.openai.com/api/docs/guides/deployment-checklist. Reports differ on
        gpt-6.1-terra, which is therefore not among them.
        """
        is_astra = self.generation >= (6, 0) and self.variant.startswith("astra")
        return is_astra or (self.generation >= (6, 1) and self.variant.startswith("sol"))

    @property
    def default_effort(self) -> str:
        """The effort of a request without one: https://github.com/BerriAI/litellm-docs/pull/1064"""
        has_none = _FIRST_NONE <= self.generation < _FIRST_MEDIUM_BY_DEFAULT and not self.is_chat
        return NO_EFFORT if has_none else "medium"

    @property
    def tools_need_no_effort(self) -> bool:
        """Whether function tools are accepted without reasoning only.

        https://github.com/openai/openai-openapi/issues/541 (5.4),
        https://github.com/BerriAI/litellm/pull/34569 (5.6). That 5.5 rejects them without an effort
        follows from its default.
        """
        return self.is_reasoning and self.generation >= _FIRST_TOOLS_WITHOUT_EFFORT

    @property
    def takes_parallel_tool_calls(self) -> bool:
        """Whether it takes the field: https://github.com/evalstate/fast-agent/issues/279"""
        return self.o_series is None and not self.is_search

    @property
    def takes_verbosity(self) -> bool:
        """Whether it takes low and high verbosity; true where that is not known.

        https://github.com/google-deepmind/concordia/issues/164,
        https://github.com/theopenco/llmgateway/pull/2989 (gpt-5-chat-latest)
        """
        is_sampling = self.generation > (0, 0) and not self.is_reasoning and not self.is_search
        return not is_sampling

    @property
    def takes_cache_options(self) -> bool:
        """Whether it takes prompt_cache_options; true where that is not known.

        https://developers.openai.com/api/docs/guides/prompt-caching
        """
        return not self.is_known or self.generation >= _FIRST_CACHE_OPTIONS

    @property
    def caches_in_memory(self) -> bool:
        """Whether it takes the cache retention `in_memory`, as models before 5.5 do."""
        return self.generation < _FIRST_CACHED_FOR_LONG

    def samples(self, effort: str | None) -> bool:
        """Whether it takes a temperature and top_p with this effort, None if none is given."""
        if self.is_search or self.is_first_reasoning:
            return False
        return not self.is_reasoning or (effort or self.default_effort) == NO_EFFORT


@lru_cache(maxsize=NAMES_REMEMBERED)
def family_of(model_id: str) -> Family:
    """Return the family of a model. Models to come are read as their generation."""
    found = _BASE.match(model_id)
    name = found[1] if found else model_id
    o_series, gpt = _O_SERIES.match(name), _GPT.match(name)
    return Family(
        name=name,
        o_series=int(o_series[1]) if o_series else None,
        generation=(int(gpt[1]), int(gpt[2] or 0)) if gpt else (0, 0),
        variant=(gpt[3] or "") if gpt else "",
    )


def cap_name(model_id: str) -> str:
    """Return the name of the model's output cap field."""
    return "max_completion_tokens" if is_reasoning(model_id) else "max_tokens"


def is_reasoning(model_id: str) -> bool:
    """Whether the model may reason before it answers."""
    return _REASONING.match(model_id) is not None


def elsewhere(model_id: str) -> Refused:
    """Return the refusal of a model that only the Responses API serves."""
    return invalid(f"Model {model_id} is available at /v1/responses only")


def fit(changes: Changes) -> None:
    """Fit a call to what its model accepts. Raises Refused."""
    call = changes.call
    family = family_of(call.model)
    if family.is_elsewhere:
        raise elsewhere(call.model)
    if family.is_first_reasoning and any(message.role == "system" for message in call.messages):
        messages = (
            replace(message, role="user") if message.role == "system" else message
            for message in call.messages
        )
        changes.make("system messages are sent as user messages", messages=tuple(messages))
    if call.temperature is not None and not family.samples(call.reasoning_effort):
        changes.make("temperature is omitted", temperature=None)
