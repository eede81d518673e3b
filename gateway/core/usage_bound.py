"""The maximum usage of one request, read from its body, for every API."""

from __future__ import annotations

from dataclasses import dataclass

from orgs.core.frozen import frozen


@frozen
class UsageBound:
    """The measured size of a request, from which its cost bound is computed.

    `texts` are all that a vendor may tokenize as text; `messages` have a frame around each,
    `overhead_tokens` are what vendors add besides (tools). `images` cost as much as the model's
    most expensive image; a token of audio, video or a document covers at least one of
    `media_bytes`. `context_reads` is how often a vendor may read its whole context, 0 if it reads
    only what is in the request. `buckets` are those beyond plain text that it can fill.

    `max_output_tokens` is the caller's cap for each of `choices`; `more_output_tokens` may be
    added. A request without output (embeddings) has no cap.

    `unbounded` is a sentence saying why the figures are estimates and not bounds; such a request is
    refused if a limit applies. One that `is_free` is checked and recorded, and costs nothing.
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
    """The token cap of one answer, and whether it is written into the request."""

    tokens: int
    is_written: bool
