"""Upper bounds of a request's usage: the input by its bytes, the output by its cap."""

from __future__ import annotations

from typing import Final
from unicodedata import is_normalized, normalize

from gateway.core.model_names import Model
from gateway.core.usage_bound import (
    BY_CONTEXT,
    BY_MODEL,
    BY_POLICY,
    ONE_SEARCH,
    OutputCap,
    OutputLimits,
    ToolUses,
    UsageBound,
)

# A token covers at least one byte of the text that a tokenizer reads, so its bytes bound the tokens
# in any script. The frame is what vendors add around each message and around the request (role
# markers, separators, a preamble): 4 and 3 at OpenAI, more for others; these cover all four.
MESSAGE_FRAME_TOKENS: Final = 16
REQUEST_FRAME_TOKENS: Final = 64
# How much faster the tiers are: https://platform.claude.com/docs/en/build-with-claude/fast-mode
# and OpenAI's announcement of its ultrafast tier (29 September 2026). Others may be as fast.
SPEED_BY_TIER: Final = {"standard": 1.0, "flex": 1.0, "fast": 2.5, "priority": 2.5}
SPEED_MAX: Final = 8.0
# What a page of a document has as text, beside its image: "typically 1,500-3,000 tokens"
# (https://platform.claude.com/docs/en/build-with-claude/pdf-support).
PAGE_TEXT_TOKENS: Final = 3000
# For counts by OpenAI's own tokenizer and by vendors: the frame and a newer encoding may differ.
COUNTED_MARGIN_PERCENT: Final = 2
# What text mostly has: English, code and JSON have 3.6 to 4.2 bytes a token of OpenAI's encodings.
LIKELY_BYTES_PER_TOKEN: Final = 4
# A shorter answer is of no use to an agent, which stops in the middle of it.
LEAST_CAP_TOKENS: Final = 8192

# Buckets that a request of plain text cannot fill: it has no image or audio, requests none, and
# sets no marker that would write a cache. Without one only OpenAI does, for 30 minutes.
NOT_IN_TEXT: Final = frozenset(
    {
        *("input_audio", "input_image", "output_audio", "cache_read_audio"),
        *("cache_write_5m", "cache_write_1h", "cache_write_12h"),
    }
)


def text_bytes(usage_bound: UsageBound) -> int:
    """Return the UTF-8 bytes of all text, of each in the form in which it has the most."""
    return sum(len(text) if text.isascii() else _bytes_at_most(text) for text in usage_bound.texts)


def _bytes_at_most(text: str) -> int:
    """Return the bytes of a text, or of what a tokenizer makes of it first, if these are more.

    U+FDFA has 3 bytes and becomes 18 letters in Anthropic's published tokenizer:
    https://github.com/anthropics/anthropic-tokenizer-typescript/blob/main/index.ts. Other published
    ones normalize to NFC, which grows too, or not at all.
    """
    given = len(text.encode())
    if is_normalized("NFKC", text):  # and so are its composed forms
        return given
    return max(given, *(len(normalize(form, text).encode()) for form in ("NFC", "NFKC")))


def input_tokens_at_most(usage_bound: UsageBound, model: Model, *, text_bytes: int) -> int:
    """Return a number of tokens that no tokenizer exceeds, at most what the vendor accepts."""
    return _with_the_rest(usage_bound, model, text_bytes)


def counted_tokens_at_most(usage_bound: UsageBound, model: Model, *, counted: int) -> int:
    """Return a tighter upper bound from a count by the vendor's own tokenizer."""
    return _with_the_rest(usage_bound, model, with_margin(counted))


def vendors_count_at_most(usage_bound: UsageBound, *, counted: int) -> int:
    """Return an upper bound from the vendor's own count of the whole request.

    It is an estimate that "may differ by a small amount", and has tokens that are not billed:
    https://platform.claude.com/docs/en/build-with-claude/token-counting
    """
    frames = MESSAGE_FRAME_TOKENS * usage_bound.messages + REQUEST_FRAME_TOKENS
    return with_margin(counted) + frames


def with_margin(counted: int) -> int:
    """Return a count with what it may be below the bill."""
    return counted + -(-counted * COUNTED_MARGIN_PERCENT // 100)


def counted_tokens(usage_bound: UsageBound, model: Model, *, counted: int) -> int:
    """Return the input tokens for a policy's token limit: the counted text and everything else.

    They are those of the request: what searches add is not known before, and has other limits.
    """
    return _as_often_as_read(usage_bound, model, counted + not_text_tokens(usage_bound, model))


def not_text_tokens(usage_bound: UsageBound, model: Model) -> int:
    """Return the maximum tokens of everything that is not text."""
    images = usage_bound.images * model.image_tokens
    pages = usage_bound.pages * (model.image_tokens + PAGE_TEXT_TOKENS)
    own = usage_bound.overhead_tokens + images + min(pages, model.context_tokens)
    return own + kept_tokens(usage_bound, model)


def kept_tokens(usage_bound: UsageBound, model: Model) -> int:
    """Return the maximum tokens of what the provider keeps: it fits in a context."""
    return min(sum(kept.at_most(model) for kept in usage_bound.kept), model.context_tokens)


def _with_the_rest(usage_bound: UsageBound, model: Model, text_tokens: int) -> int:
    frames = MESSAGE_FRAME_TOKENS * usage_bound.messages + REQUEST_FRAME_TOKENS
    tokens = text_tokens + frames + not_text_tokens(usage_bound, model)
    accepted = model.input_max_tokens
    if accepted is not None:
        tokens = min(tokens, accepted)
    return _as_often_as_read(usage_bound, model, tokens)


def _as_often_as_read(usage_bound: UsageBound, model: Model, tokens: int) -> int:
    """Return the tokens of all context reads: what a vendor adds by itself fits in the context."""
    context_reads = usage_bound.context_reads
    return context_reads * max(tokens, model.context_tokens) if context_reads else tokens


def uses_at_most(uses: ToolUses, model: Model) -> ToolUses:
    """Return the uses of a request, also those that its model makes unasked."""
    return ONE_SEARCH if model.always_searches and not uses.times else uses


def input_with_uses(uses: ToolUses, model: Model, *, tokens: int) -> int:
    """Return the input of a request of so many tokens, with what uses of tools add to it.

    The most is read if each use is followed by a reading, and those that share one come first.
    """
    reads = uses.reads
    if not reads:
        return (1 + uses.compactions) * (tokens + uses.times * uses.each)
    added = uses.each * (reads * (uses.times - reads) + reads * (reads + 1) // 2)
    return min((reads + 1) * tokens + added, (reads + 1) * max(tokens, model.context_tokens))


def tokens_per_s(model: Model, service_tier: str) -> float:
    """Return the fastest known output of a model in a service tier."""
    return model.tokens_per_s * SPEED_BY_TIER.get(service_tier, SPEED_MAX)


def not_possible(usage_bound: UsageBound) -> frozenset[str]:
    """Return the buckets that the request cannot fill."""
    return NOT_IN_TEXT - usage_bound.buckets if usage_bound.buckets else NOT_IN_TEXT


def output_tokens_at_most(
    output: OutputLimits | None, model: Model, *, context_reads: int = 0
) -> int:
    """Return how many output tokens all choices of a request together can have."""
    if output is None:
        return 0
    cap = model.max_output_tokens if output.max_tokens is None else output.max_tokens
    beyond = output.thinking_tokens if output.thinking_tokens >= cap else 0
    each = (cap + beyond) * max(1, context_reads) + output.predicted_tokens
    return each * output.choices


def output_cap(  # noqa: PLR0913  keyword-only; each is a limit of its own
    model: Model,
    *,
    output: OutputLimits | None,
    text_tokens: int,
    input_tokens: int,
    token_limit: int | None,
    output_limit: int | None,
    is_limited: bool,
) -> OutputCap:
    """Return the output cap: the requested one, else the model's maximum.

    It is at most a policy's `output_limit`.

    If a limit applies, the cap is written into the provider's request, so that the bound holds.
    One that was not requested fits in what the text leaves of the context, and the input of the
    tokens that a policy allows; these are 0 where they were not counted. If none applies, only a
    cap that the caller gave is written, or one that the vendor requires.
    """
    if output is None:
        return OutputCap(0, is_written=False)
    if output.max_tokens is not None:
        return _at_most(output_limit, OutputCap(output.max_tokens, is_written=True))
    if not is_limited and not model.requires_cap:
        return OutputCap(model.max_output_tokens, is_written=False, by=BY_MODEL)
    tokens, by = model.default_output_tokens, BY_MODEL
    rest = model.context_tokens - text_tokens
    if 0 < rest < tokens:  # the vendor refuses an input that leaves nothing, or counts less
        tokens, by = rest, BY_CONTEXT
    if token_limit is not None:
        room = (token_limit - input_tokens) // output.choices - output.predicted_tokens
        if room < tokens:
            tokens, by = max(1, room), BY_POLICY
    return _at_most(output_limit, OutputCap(tokens, is_written=True, by=by))


def _at_most(output_limit: int | None, cap: OutputCap) -> OutputCap:
    if output_limit is None or cap.tokens <= output_limit:
        return cap
    return OutputCap(output_limit, is_written=True, by=BY_POLICY)


def least_cap(output: OutputLimits | None, model: Model) -> int:
    """Return the cap below which the room of a limit of money lowers none."""
    asked = output.max_tokens if output else 0
    return min(LEAST_CAP_TOKENS, model.max_output_tokens, *(() if asked is None else (asked,)))
