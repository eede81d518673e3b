"""The maximum usage of one request, read from its body, for every API."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from costs.core.usage import STANDARD_PLACE, STANDARD_TIER
from orgs.core.frozen import frozen


@frozen
class OutputLimits:
    """The output that a body allows, as the fields of its API say.

    `max_tokens` is the cap of each of `choices`, None if the body has none. Thinking counts towards
    it, unless `thinking_tokens`, the requested budget, is not below it: the model may then think
    beyond the cap. `predicted_tokens` of each choice are billed also if they are not used.
    """

    max_tokens: int | None = None
    choices: int = 1
    thinking_tokens: int = 0
    predicted_tokens: int = 0

    def with_cap(self, cap: OutputCap) -> OutputLimits:
        """Return the limits of the same body with this cap.

        A thinking budget that is not below a cap that was not asked for is half of it.
        """
        thinking, is_asked = self.thinking_tokens, self.max_tokens == cap.tokens
        if not is_asked and thinking >= cap.tokens:
            thinking = cap.tokens // 2
        return replace(self, max_tokens=cap.tokens, thinking_tokens=thinking)


@frozen
class UsageBound:
    """The measured size of a request, from which its cost bound is computed.

    `texts` are all that a vendor may tokenize as text; `messages` have a frame around each,
    `overhead_tokens` are what vendors add besides (tools). `images` cost as much as the model's
    most expensive image. `context_reads` is how often a vendor may read its whole context, 0 if it
    reads only what is in the request; sound, video and documents have no other bound. `searches`
    are those of the current search tool, `search_previews` those of OpenAI's earlier one. `buckets`
    are those beyond plain text that it can fill.

    `output` is what the caller's body allows, None for a request without output (embeddings). Only
    the output cap is decided from it: a call is bounded by what its outgoing request allows.

    `unbounded` is a sentence saying why the figures are estimates and not bounds; such a request is
    refused if a limit applies. One that `is_free` is checked and recorded, and costs nothing.
    """

    texts: tuple[str, ...] = ()
    messages: int = 0
    overhead_tokens: int = 0
    images: int = 0
    context_reads: int = 0
    searches: int = 0
    search_previews: int = 0
    buckets: frozenset[str] = frozenset()
    service_tier: str = STANDARD_TIER
    place: str = STANDARD_PLACE
    output: OutputLimits | None = OutputLimits()
    is_free: bool = False
    unbounded: str | None = None


NOTHING = UsageBound()


# What decides a cap: the caller, the model's maximum, its context, a policy, or what is left of a
# limit of money.
BY_CALLER: Final = "caller"
BY_MODEL: Final = "model"
BY_CONTEXT: Final = "context"
BY_POLICY: Final = "policy"
BY_ROOM: Final = "room"
BY_GATEWAY: Final = frozenset({BY_CONTEXT, BY_POLICY, BY_ROOM})


@dataclass(frozen=True, slots=True)
class OutputCap:
    """The token cap of one answer, whether it is written into the request, and what decided it."""

    tokens: int
    is_written: bool
    by: str = BY_CALLER
