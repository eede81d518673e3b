"""What one request can use at most, read off its body, whatever API it came by."""

from __future__ import annotations

from dataclasses import dataclass

from orgs.core.frozen import frozen


@frozen
class UsageBound:
    """The measure of a request, from which its bound is made.

    `texts` are all that a vendor may tokenise as text; `messages` have a frame around each,
    `overhead_tokens` are what vendors put in besides (tools). `images` cost what the model's
    dearest image costs; a token of sound, film or a document covers at least one of `media_bytes`.
    `context_reads` is how often a vendor may read its whole context for it, 0 where it reads
    only what is in the request. `buckets` are those beyond plain text that it can fill.

    `max_output_tokens` is what the caller asked for, of each of `choices`; `more_output_tokens`
    may come on top. A request that writes no output (embeddings) has no cap.

    `unbounded` is a sentence saying why the figures are a guess and no bound; such a request is
    refused where a limit applies. One that `is_free` is judged and recorded, and costs nothing.
    """

    texts: tuple[str, ...] = ()
    messages: int = 0
    overhead_tokens: int = 0
    images: int = 0
    media_bytes: int = 0
    context_reads: int = 0
    searches: int = 0
    buckets: frozenset[str] = frozenset()
    service_tier: str | None = "standard"
    max_output_tokens: int | None = None
    more_output_tokens: int = 0
    choices: int = 1
    has_output: bool = True
    is_free: bool = False
    unbounded: str | None = None


NOTHING = UsageBound()


@dataclass(frozen=True, slots=True)
class OutputCap:
    """How many tokens one answer may have, and whether it is written into the request."""

    tokens: int
    is_written: bool
