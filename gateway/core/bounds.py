"""How much a request can use at most: the input by its bytes, the output by its cap."""

from __future__ import annotations

from typing import Final

from gateway.core.demand import Demand, OutputCap
from gateway.core.models import Model

# A token covers at least one byte of text, so bytes bound the tokens in any script and for any
# tokenizer. The frame is what vendors put around a message and around the whole (role markers,
# separators, a preamble): 4 and 3 at OpenAI, more for others; this is generous for all four.
MESSAGE_FRAME_TOKENS: Final = 16
REQUEST_FRAME_TOKENS: Final = 64
# OpenAI's own tokenizer counted: what is left open is the frame and a newer encoding.
COUNTED_MARGIN_PERCENT: Final = 2

# Buckets that a request of plain text cannot fill: it has no image and no sound, asks for none,
# and sets no mark that would write a cache for an hour.
NOT_IN_TEXT: Final = frozenset({"input_audio", "input_image", "output_audio", "cache_write_1h"})


def text_bytes(demand: Demand) -> int:
    """Return the UTF-8 bytes of all text."""
    return sum(len(text) if text.isascii() else len(text.encode()) for text in demand.texts)


def input_tokens_at_most(demand: Demand, model: Model, *, text_bytes: int) -> int:
    """Return a number of tokens that no tokenizer exceeds."""
    return _with_the_rest(demand, model, text_bytes)


def counted_tokens_at_most(demand: Demand, model: Model, *, counted: int) -> int:
    """Return the same from a count by the vendor's own tokenizer: closer, and still above."""
    margin = -(-counted * COUNTED_MARGIN_PERCENT // 100)
    return _with_the_rest(demand, model, counted + margin)


def counted_tokens(demand: Demand, model: Model, *, counted: int) -> int:
    """Return what a policy's token limit counts as input: the counted text and all else."""
    return _as_often_as_read(demand, model, counted + not_text_tokens(demand, model))


def not_text_tokens(demand: Demand, model: Model) -> int:
    """Return at most how many tokens are in what is not text."""
    images = demand.images * model.image_tokens
    return demand.overhead_tokens + images + demand.media_bytes


def _with_the_rest(demand: Demand, model: Model, text_tokens: int) -> int:
    frames = MESSAGE_FRAME_TOKENS * demand.messages + REQUEST_FRAME_TOKENS
    return _as_often_as_read(demand, model, text_tokens + frames + not_text_tokens(demand, model))


def _as_often_as_read(demand: Demand, model: Model, tokens: int) -> int:
    """Return the tokens of all readings: what a vendor brings in by itself fits in the context."""
    rounds = demand.rounds
    return rounds * max(tokens, model.context_tokens) if rounds else tokens


def not_possible(demand: Demand) -> frozenset[str]:
    """Return the buckets that the request cannot fill."""
    return NOT_IN_TEXT - demand.buckets if demand.buckets else NOT_IN_TEXT


def output_tokens_at_most(demand: Demand, cap: OutputCap) -> int:
    """Return how many output tokens all choices together can have."""
    rounds = max(1, demand.rounds)
    return cap.tokens * demand.answers * rounds + demand.more_output_tokens


def output_cap(
    model: Model,
    *,
    demand: Demand,
    input_tokens: int,
    token_limit: int | None,
    is_limited: bool,
) -> OutputCap:
    """Return the output cap: what was asked, else the tightest policy's room, else the default.

    Where a limit applies the cap is written into the provider's request, so that the bound is a
    bound. Where none does, nothing that the caller did not say is written, and the model's own
    maximum is the cap.
    """
    if not demand.has_output:
        return OutputCap(0, is_written=False)
    if demand.max_output_tokens is not None:
        return OutputCap(demand.max_output_tokens, is_written=True)
    if token_limit is not None and token_limit > input_tokens:
        room = (token_limit - input_tokens) // demand.answers
        return OutputCap(max(1, min(room, model.max_output_tokens)), is_written=True)
    if is_limited:
        return OutputCap(model.default_output_tokens, is_written=True)
    return OutputCap(model.max_output_tokens, is_written=False)
