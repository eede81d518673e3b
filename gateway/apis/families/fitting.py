"""Fit a call to what its vendor and its model accept, before money is held for it.

What a vendor would refuse is changed where the meaning of the request stays, and the audit row says
so; a request whose meaning would change is refused. The requests that `gateway/apis/<api>` builds
from a fitted call then only name its values in the vendor's format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.apis.families import mistral, openai
from gateway.apis.families.changes import Changes
from gateway.apis.families.claude import fit as claude
from gateway.apis.families.claude import models as claude_models
from gateway.apis.families.gemini import fit as gemini
from gateway.apis.families.gemini import models as gemini_models
from gateway.apis.families.openai import NO_EFFORT
from gateway.core.calls import ProviderCall
from gateway.core.providers import ANTHROPIC, COMPATIBLE, GOOGLE, MISTRAL, OPENAI

# Anthropic's type of thinking for an effort that is none.
_ASKED: Final[Mapping[str | None, str]] = {NO_EFFORT: "disabled"}
_FIT: Final[Mapping[str, Callable[[Changes], None]]] = {
    ANTHROPIC: claude.fit,
    GOOGLE: gemini.fit,
    MISTRAL: mistral.fit,
    OPENAI: openai.fit,
}


def is_shown(call: ProviderCall, family: str) -> bool:
    """Whether all output of a fitted call comes as it is produced: nothing of it is hidden
    thinking.
    """
    effort = call.reasoning_effort
    if family == OPENAI:
        return not openai.is_reasoning(call.model)
    if family == ANTHROPIC:
        return not claude_models.may_think(call.model, _ASKED.get(effort, effort))
    if family == GOOGLE:
        return not gemini_models.may_think(call.model, 0 if effort == NO_EFFORT else None)
    return family != COMPATIBLE


def fitted(call: ProviderCall, family: str, *, output_max: int | None = None) -> ProviderCall:
    """Return the call as its vendor takes it. Raises Refused (400) if its meaning would change.

    `output_max` is the model's own maximum of tokens: vendors reject a higher cap.
    """
    fit = _FIT.get(family)
    if fit is None:
        return call
    changes = Changes(call)
    if output_max is not None and (call.max_output_tokens or 0) > output_max:
        changes.make(
            "The output cap was lowered to the model's maximum", max_output_tokens=output_max
        )
    fit(changes)
    return changes.made()
