"""The maximum usage of one request, read from its body, for every API."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from costs.core.usage import STANDARD_PLACE, STANDARD_TIER
from gateway.core.kept import KeptTokens
from orgs.core.frozen import frozen

# The most tool calls that OpenAI may run for one request where a limit applies; elsewhere, and for
# Google's searches, which have no maximum, a guess.
HOSTED_CALLS_MAX: Final = 8
# The most web searches of a request that a policy can allow.
SEARCHES_MAX: Final = 1000
# What one search adds to the input, in all readings that follow it together: two of the blocks of
# 8,000 tokens as which OpenAI bills a search's content for some models. No vendor documents a
# maximum; a bill above the hold is an overrun, of which alerts tell.
# https://developers.openai.com/api/docs/pricing#built-in-tools
SEARCH_TOKENS: Final = 16_000


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
    reads only what is in the request; sound, video and documents have no other bound. `buckets` are
    those beyond plain text that it can fill.

    `output` is what the caller's body allows, None for a request without output (embeddings). Only
    the output cap is decided from it: a call is bounded by what its outgoing request allows.

    `pages` are those of documents, each read as an image and as text. `unknown` names what the
    request asks for that is not known here and may have a price: such a call is held at its model's
    highest rates.

    `kept` are the tokens of what the provider keeps and the request names. `asks_larger_context` is
    whether it asks for the larger context that some models have as a beta.

    `unbounded` is a sentence saying why the figures are estimates and not bounds; such a request is
    refused if a limit applies. One that `is_free` is checked and recorded, and costs nothing.
    """

    texts: tuple[str, ...] = ()
    messages: int = 0
    overhead_tokens: int = 0
    images: int = 0
    pages: int = 0
    context_reads: int = 0
    buckets: frozenset[str] = frozenset()
    service_tier: str = STANDARD_TIER
    place: str = STANDARD_PLACE
    output: OutputLimits | None = OutputLimits()
    is_free: bool = False
    unknown: tuple[str, ...] = ()
    kept: tuple[KeptTokens, ...] = ()
    asks_larger_context: bool = False
    unbounded: str | None = None


NOTHING = UsageBound()


@frozen
class ToolUses:
    """What tools that run at the provider can add to a request, as it is sent.

    Each of so many `times` adds `each` tokens to the input, of which the model has written up to
    `written` beyond the output cap. The provider reads everything once more after a use, at most
    `reads` times: uses beyond these are together with others. If that is 0, `each` is a figure for
    all readings together. `searches` have a fee: `by_preview` that of OpenAI's earlier tool.

    In each of `compactions` the provider reads all of it once more, and writes as much as in the
    answer.
    """

    times: int = 0
    reads: int = 0
    each: int = 0
    written: int = 0
    searches: int = 0
    by_preview: bool = False
    compactions: int = 0

    def first(self, times: int) -> ToolUses:
        """Return the first of these uses."""
        return replace(
            self,
            times=min(times, self.times),
            reads=min(times, self.reads),
            compactions=min(times, self.compactions),
        )


NO_USES = ToolUses()
# Of a model that searches for every answer.
ONE_SEARCH = ToolUses(times=1, each=SEARCH_TOKENS, searches=1)


@frozen
class UsesLimit:
    """How often a request may use a tool at the provider: at least once.

    `policy` is the name of the policy that says so, None for a limit of the gateway's own.
    """

    most: int
    policy: str | None = None

    def note(self, sentence: str) -> str:
        """Return a sentence that says what was lowered, with the policy."""
        return f'{sentence} by policy "{self.policy}"' if self.policy else sentence


# What decides a cap: the caller, the model's maximum, its context, a policy, or what is left of a
# limit of money.
BY_CALLER: Final = "caller"
BY_MODEL: Final = "model"
BY_CONTEXT: Final = "context"
BY_POLICY: Final = "policy"
BY_ROOM: Final = "room"
BY_GATEWAY: Final = frozenset({BY_CONTEXT, BY_POLICY, BY_ROOM})

# What the bound of the input is computed from, as the trace says it: the bytes, OpenAI's tokenizer,
# or the vendor's own count.
BY_BYTES: Final = "bytes"
BY_TOKENS: Final = "tokens"
BY_COUNT: Final = "count_tokens"


@dataclass(frozen=True, slots=True)
class OutputCap:
    """The token cap of one answer, whether it is written into the request, and what decided it.

    Tools at the provider are limited where a limit applies (`is_limited`), and `searches` where a
    policy has a number of its own.
    """

    tokens: int
    is_written: bool
    by: str = BY_CALLER
    is_limited: bool = False
    searches: UsesLimit | None = None

    def uses_limit(self, default: int, *, searches: bool) -> UsesLimit | None:
        """Return the limit of a tool, which may search: `default` without a policy's."""
        if searches and self.searches is not None:
            return self.searches
        return UsesLimit(most=default) if self.is_limited else None
