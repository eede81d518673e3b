"""How much a request can use at most: the input by its bytes, the output by its cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.calls import Message
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


@dataclass(frozen=True, slots=True)
class OutputCap:
    """How many tokens may come out, and whether the provider is told."""

    tokens: int
    is_written: bool


def input_bytes(messages: Sequence[Message]) -> int:
    """Return the UTF-8 bytes of all text."""
    return sum(len(message.content.encode()) for message in messages)


def input_tokens_at_most(messages: Sequence[Message], *, text_bytes: int) -> int:
    """Return a number of tokens that no tokenizer exceeds for these messages."""
    return text_bytes + MESSAGE_FRAME_TOKENS * len(messages) + REQUEST_FRAME_TOKENS


def counted_tokens_at_most(messages: Sequence[Message], *, counted: int) -> int:
    """Return the same from a count by the vendor's own tokenizer: closer, and still above."""
    margin = -(-counted * COUNTED_MARGIN_PERCENT // 100)
    return counted + margin + MESSAGE_FRAME_TOKENS * len(messages) + REQUEST_FRAME_TOKENS


def output_cap(
    model: Model,
    *,
    asked_tokens: int | None,
    input_tokens: int,
    token_limit: int | None,
    is_limited: bool,
) -> OutputCap:
    """Return the output cap: what was asked, else the tightest policy's room, else the default.

    Where a limit applies the cap is written into the provider's request, so that the bound is a
    bound. Where none does, nothing that the caller did not say is written, and the model's own
    maximum is the cap.
    """
    if asked_tokens is not None:
        return OutputCap(asked_tokens, is_written=True)
    if token_limit is not None and token_limit > input_tokens:
        room = token_limit - input_tokens
        return OutputCap(min(room, model.max_output_tokens), is_written=True)
    if is_limited:
        return OutputCap(model.default_output_tokens, is_written=True)
    return OutputCap(model.max_output_tokens, is_written=False)
