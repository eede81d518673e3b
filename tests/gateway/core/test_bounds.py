"""How much a request can use at most."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.bounds import (
    MESSAGE_FRAME_TOKENS,
    REQUEST_FRAME_TOKENS,
    counted_tokens_at_most,
    input_tokens_at_most,
    output_cap,
    text_bytes,
)
from gateway.core.model_names import Model
from gateway.core.usage_bound import OutputCap, UsageBound
from gateway.providers import tokens

MODEL = Model(id="gpt-4o", provider="openai", max_output_tokens=16_384, default_output_tokens=4_096)
contents = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4)


@settings(deadline=None)  # the tokenizer is loaded by whoever comes first
@given(contents)
def test_bound_is_above_every_tokenizers_count(texts: list[str]) -> None:
    usage_bound = UsageBound(texts=tuple(texts), messages=len(texts))
    size = text_bytes(usage_bound)
    assert size == sum(len(text.encode()) for text in texts)
    counted = tokens.count_tokens(usage_bound, MODEL)
    assert counted <= input_tokens_at_most(usage_bound, MODEL, text_bytes=size)
    assert counted <= counted_tokens_at_most(usage_bound, MODEL, counted=counted)


def test_message_frames_are_in_both_bounds() -> None:
    usage_bound = UsageBound(texts=("hi", "ho"), messages=2)
    frame = 2 * MESSAGE_FRAME_TOKENS + REQUEST_FRAME_TOKENS
    assert input_tokens_at_most(usage_bound, MODEL, text_bytes=4) == 4 + frame
    assert counted_tokens_at_most(usage_bound, MODEL, counted=101) == 101 + 3 + frame


@pytest.mark.parametrize(
    ("asked", "token_limit", "is_limited", "cap"),
    [
        (None, None, False, OutputCap(16_384, is_written=False)),
        (None, None, True, OutputCap(4_096, is_written=True)),
        (None, 1_000, True, OutputCap(900, is_written=True)),
        (None, 1_000_000, True, OutputCap(16_384, is_written=True)),
        (None, 101, True, OutputCap(1, is_written=True)),
        (None, 100, True, OutputCap(4_096, is_written=True)),  # no room: refused by the tokens
        (7, None, False, OutputCap(7, is_written=True)),
        (7, 1_000, True, OutputCap(7, is_written=True)),
        (5_000, 1_000, True, OutputCap(5_000, is_written=True)),  # never shrunk: refused
    ],
)
def test_cap_is_requested_else_room_else_default(
    asked: int | None, token_limit: int | None, is_limited: bool, cap: OutputCap
) -> None:
    found = output_cap(
        MODEL,
        usage_bound=UsageBound(max_output_tokens=asked),
        input_tokens=100,
        token_limit=token_limit,
        is_limited=is_limited,
    )
    assert found == cap
