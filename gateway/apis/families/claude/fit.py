"""Fit a call to what Anthropic's messages API and the called model accept.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

from typing import Final

from gateway.apis.families.changes import Changes
from gateway.apis.families.claude import models as claude
from gateway.apis.families.claude.cache import fit_cache
from gateway.apis.families.claude.media import fit_media
from gateway.apis.families.claude.tools import fit_format, fit_tools
from gateway.apis.families.claude.turns import fit_turns
from gateway.core.request_body import invalid

TEMPERATURE_MAX: Final = 1.0
# https://platform.claude.com/docs/en/build-with-claude/thinking#limits-and-feature-compatibility
TOP_P_WITH_THINKING_MIN: Final = 0.95


def fit(changes: Changes) -> None:
    """Fit a call to what its model accepts. Raises Refused if its meaning would change."""
    _refuse_penalties(changes)
    fit_media(changes)
    fit_turns(changes)
    fit_tools(changes)
    fit_format(changes)
    fit_cache(changes)
    _fit_effort(changes)
    _fit_sampling(changes)
    _fit_rest(changes)


def _refuse_penalties(changes: Changes) -> None:
    call = changes.call
    given = {
        "frequency_penalty": call.frequency_penalty,
        "presence_penalty": call.presence_penalty,
    }
    for name, value in given.items():
        if value:
            whose = f'model {call.model} of provider "anthropic"'
            raise invalid(f"{name} is not supported by {whose}; remove it")


def _fit_effort(changes: Changes) -> None:
    call = changes.call
    if call.reasoning_effort is None:
        return
    effort = claude.nearest_effort(call.model, call.reasoning_effort)
    if effort != call.reasoning_effort:
        changes.make(
            "The reasoning effort was replaced by the nearest that the model has",
            reasoning_effort=effort,
        )
    if claude.thinks(call.model, effort) and call.tool_choice == "required":
        # The documents allow adaptive thinking here; a report of May 2026 shows "Thinking may not
        # be enabled when tool_choice forces tool use". The effort needs no thinking:
        # https://platform.claude.com/docs/en/build-with-claude/thinking#thinking-with-tool-use
        changes.make("Thinking was not turned on, because a tool call is required")


def _fit_sampling(changes: Changes) -> None:
    """Fit temperature and top_p, the first of which is kept where only one is accepted."""
    call = changes.call
    if not claude.takes_sampling(call.model):
        if (call.temperature, call.top_p) != (None, None):
            changes.make(
                "temperature and top_p were omitted: the model has neither",
                temperature=None,
                top_p=None,
            )
        return
    if claude.thinks(call.model, call.reasoning_effort) and call.tool_choice != "required":
        if call.temperature is not None:
            changes.make(
                "The temperature was omitted: the model has none while it thinks",
                temperature=None,
            )
        if call.top_p is not None and call.top_p < TOP_P_WITH_THINKING_MIN:
            changes.make(
                "top_p was omitted: the model takes none below 0.95 while it thinks", top_p=None
            )
    call = changes.call
    are_both = call.temperature is not None and call.top_p is not None
    if are_both and not claude.takes_temperature_with_top_p(call.model):
        changes.make("top_p was omitted: the model takes a temperature or a top_p", top_p=None)
    if (call.temperature or 0) > TEMPERATURE_MAX:
        changes.make("The temperature was lowered to 1, the maximum", temperature=TEMPERATURE_MAX)


def _fit_rest(changes: Changes) -> None:
    call = changes.call
    if call.seed is not None:
        changes.make("The seed was omitted: Anthropic has none", seed=None)
    stops = tuple(stop for stop in call.stop if stop.strip())
    if stops != call.stop:
        # https://github.com/BerriAI/litellm/issues/3286
        changes.make("Blank stop sequences were omitted: Anthropic rejects them", stop=stops)
