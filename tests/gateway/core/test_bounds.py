"""How much a request can use at most."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bounds import (
    MESSAGE_FRAME_TOKENS,
    PAGE_TEXT_TOKENS,
    REQUEST_FRAME_TOKENS,
    counted_tokens_at_most,
    input_tokens_at_most,
    input_with_uses,
    least_cap,
    output_cap,
    output_tokens_at_most,
    text_bytes,
    uses_at_most,
    vendors_count_at_most,
)
from gateway.core.model_names import UNLISTED_CAP_TOKENS, Model
from gateway.core.usage_bound import (
    BY_MODEL,
    BY_POLICY,
    NO_USES,
    SEARCH_TOKENS,
    OutputCap,
    OutputLimits,
    ToolUses,
    UsageBound,
    UsesLimit,
)
from gateway.providers import tokens

FORMS: Final[tuple[Literal["NFC", "NFKC"], ...]] = ("NFC", "NFKC")
MODEL = Model(id="gpt-4o", provider="openai", max_output_tokens=16_384, context_tokens=128_000)
CLAUDE = Model(id="claude", provider="anthropic", tokenizer="cl100k_base", token_margin=1.5)
# They grow under NFKC or under NFC, or shrink under one of them.
GROWING = "\ufdfa\u3316\u33ff\u00bd\u0149\ufb2c\U0001d160\U0001d1c0\uff21\u00c5e\u0301"
characters = st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(GROWING))
contents = st.lists(st.text(characters), min_size=1, max_size=4)


@given(contents)
def test_bound_is_above_every_tokenizers_count(texts: list[str]) -> None:
    usage_bound = UsageBound(texts=tuple(texts), messages=len(texts))
    size = text_bytes(usage_bound)
    assert size >= sum(len(text.encode()) for text in texts)
    counted = tokens.count_tokens(usage_bound, MODEL)
    assert counted <= input_tokens_at_most(usage_bound, MODEL, text_bytes=size)
    assert counted <= counted_tokens_at_most(usage_bound, MODEL, counted=counted)
    for form in FORMS:
        read = [normalize(form, text) for text in texts]
        assert sum(len(text.encode()) for text in read) <= size
        for encoding in ("o200k_base", "cl100k_base"):
            assert sum(tokens.count(text, encoding) for text in read) <= size
    for model in (MODEL, CLAUDE):
        counted = tokens.count_tokens(usage_bound, model)
        assert counted <= tokens.count_at_most(usage_bound, model, text_bytes=size)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("\ufdfa", 33),  # 15 tokens of Anthropic's published tokenizer
        ("\ufdfa" * 100, 3300),
        ("\U0001d160" + "\uff21" * 10, 42),  # NFKC is shorter than NFC
        ("\U0001d160", 12),  # three times as long in NFC
        ("\u00e9", 2),
        ("e\u0301", 3),  # shorter when composed, but another tokenizer does not compose
        ("\uff21", 3),
        ("hello", 5),
    ],
    ids=ascii,
)
def test_text_is_measured_in_its_longest_form(text: str, size: int) -> None:
    assert text_bytes(UsageBound(texts=(text,))) == size


def test_tokens_of_compatibility_characters_are_counted_in_their_longer_form() -> None:
    usage_bound = UsageBound(texts=("\ufdfa" * 100,))
    assert tokens.count_tokens(usage_bound, CLAUDE) >= 15 * 100


@given(st.integers(0, 3_000_000), st.integers(0, 500), st.integers(0, 40))
def test_input_is_at_most_what_vendor_accepts(size: int, messages: int, images: int) -> None:
    usage_bound = UsageBound(messages=messages, images=images)
    accepted = replace(MODEL, image_tokens=5_000)
    for unclear in (
        replace(accepted, is_listed=False),
        replace(accepted, id="mistral-large-latest"),
        replace(accepted, id="text-embedding-3-small"),
    ):
        whole = input_tokens_at_most(usage_bound, unclear, text_bytes=size)
        assert whole >= size + 5_000 * images
        found = input_tokens_at_most(usage_bound, accepted, text_bytes=size)
        assert found == min(whole, MODEL.context_tokens)
        counted = counted_tokens_at_most(usage_bound, accepted, counted=size)
        assert found <= counted <= MODEL.context_tokens


def test_larger_context_is_that_of_models_that_have_it() -> None:
    sonnet = replace(MODEL, context_tokens=200_000, beta_context_tokens=1_000_000)
    for model, most in ((sonnet, 200_000), (sonnet.with_beta_context(), 1_000_000)):
        assert input_tokens_at_most(UsageBound(), model, text_bytes=2_000_000) == most
    assert MODEL.with_beta_context() == MODEL


@given(st.integers(0, 2_000_000), st.integers(0, 500))
def test_vendors_count_has_margin_and_frames(counted: int, messages: int) -> None:
    found = vendors_count_at_most(UsageBound(messages=messages, images=3), counted=counted)
    frames = messages * MESSAGE_FRAME_TOKENS + REQUEST_FRAME_TOKENS
    assert found == counted + frames + -(-counted // 50)


def test_message_frames_are_in_both_bounds() -> None:
    usage_bound = UsageBound(texts=("hi", "ho"), messages=2)
    frame = 2 * MESSAGE_FRAME_TOKENS + REQUEST_FRAME_TOKENS
    assert input_tokens_at_most(usage_bound, MODEL, text_bytes=4) == 4 + frame
    assert counted_tokens_at_most(usage_bound, MODEL, counted=101) == 101 + 3 + frame


@pytest.mark.parametrize(
    ("asked", "token_limit", "is_limited", "cap"),
    [
        (None, None, False, OutputCap(16_384, is_written=False, by=BY_MODEL)),
        (None, None, True, OutputCap(16_384, is_written=True, by=BY_MODEL)),
        (None, 1_000, True, OutputCap(900, is_written=True, by=BY_POLICY)),
        (None, 1_000_000, True, OutputCap(16_384, is_written=True, by=BY_MODEL)),
        (None, 101, True, OutputCap(1, is_written=True, by=BY_POLICY)),
        (None, 100, True, OutputCap(1, is_written=True, by=BY_POLICY)),  # refused by the tokens
        (7, None, False, OutputCap(7, is_written=True)),
        (7, 1_000, True, OutputCap(7, is_written=True)),
        (5_000, 1_000, True, OutputCap(5_000, is_written=True)),  # never shrunk: refused
    ],
)
def test_cap_is_requested_else_room_else_maximum(
    asked: int | None, token_limit: int | None, is_limited: bool, cap: OutputCap
) -> None:
    found = output_cap(
        MODEL,
        output=OutputLimits(max_tokens=asked),
        text_tokens=100,
        input_tokens=100,
        token_limit=token_limit,
        output_limit=None,
        is_limited=is_limited,
    )
    assert found == cap


@pytest.mark.parametrize(
    ("output", "tokens"),
    [
        (None, 0),
        (OutputLimits(), 16_384),
        (OutputLimits(thinking_tokens=16_384), 32_768),
        (OutputLimits(max_tokens=0), 0),
        (OutputLimits(max_tokens=10, thinking_tokens=9), 10),
        (OutputLimits(max_tokens=10, thinking_tokens=10), 20),
        (OutputLimits(max_tokens=10, choices=3, thinking_tokens=11), 63),
        (OutputLimits(max_tokens=10, choices=2, predicted_tokens=5), 30),
    ],
)
def test_output_is_cap_and_thinking_beyond_it(output: OutputLimits | None, tokens: int) -> None:
    assert output_tokens_at_most(output, MODEL) == tokens


def test_output_is_repeated_with_each_context_read() -> None:
    output = OutputLimits(max_tokens=10, choices=2, thinking_tokens=20, predicted_tokens=5)
    assert output_tokens_at_most(output, MODEL, context_reads=4) == 2 * (4 * 30 + 5)


def test_prediction_is_deducted_from_token_limit() -> None:
    found = output_cap(
        MODEL,
        output=OutputLimits(choices=2, predicted_tokens=50),
        text_tokens=100,
        input_tokens=100,
        token_limit=1_000,
        output_limit=None,
        is_limited=True,
    )
    assert found == OutputCap(400, is_written=True, by=BY_POLICY)


@given(
    st.integers(0, 200_000),
    st.none() | st.integers(1, 300_000),
    st.none() | st.integers(1, 300_000),
)
def test_written_cap_fits_context_and_least_is_not_above_it(
    counted: int, asked: int | None, token_limit: int | None
) -> None:
    output = OutputLimits(max_tokens=asked)
    cap = output_cap(
        MODEL,
        output=output,
        text_tokens=counted,
        input_tokens=counted,
        token_limit=token_limit,
        output_limit=None,
        is_limited=True,
    )
    assert cap.is_written
    assert cap.tokens >= 1
    least = least_cap(output, MODEL)
    assert least == min(8_192, 16_384 if asked is None else asked)
    if asked is None:
        assert cap.tokens <= MODEL.max_output_tokens
        assert counted >= MODEL.context_tokens or counted + cap.tokens <= MODEL.context_tokens
        assert token_limit is None or cap.tokens <= max(1, token_limit - counted)
    else:
        assert cap.tokens == asked


def test_vendor_that_requires_cap_gets_models_maximum() -> None:
    model = Model(id="claude", provider="anthropic", max_output_tokens=64_000, requires_cap=True)
    cap = output_cap(
        model,
        output=OutputLimits(),
        text_tokens=0,
        input_tokens=0,
        token_limit=None,
        output_limit=None,
        is_limited=False,
    )
    assert cap == OutputCap(64_000, is_written=True, by=BY_MODEL)


def test_maximum_of_unlisted_model_is_not_written() -> None:
    model = Model(id="gpt-99", provider="openai", max_output_tokens=131_072, is_listed=False)
    cap = output_cap(
        model,
        output=OutputLimits(),
        text_tokens=0,
        input_tokens=0,
        token_limit=None,
        output_limit=None,
        is_limited=True,
    )
    assert cap.tokens == UNLISTED_CAP_TOKENS


@pytest.mark.parametrize(
    ("asked", "budget", "cap", "kept"),
    [
        (32_000, 31_999, 8_192, 4_096),
        (32_000, 8_192, 8_192, 4_096),
        (32_000, 8_191, 8_192, 8_191),
        (None, 24_576, 8_192, 4_096),
        (32_000, 40_000, 32_000, 40_000),  # as the caller asked for both
    ],
)
def test_thinking_is_below_lowered_cap(asked: int | None, budget: int, cap: int, kept: int) -> None:
    limits = OutputLimits(max_tokens=asked, thinking_tokens=budget)
    lowered = limits.with_cap(OutputCap(cap, is_written=True))
    assert lowered == OutputLimits(max_tokens=cap, thinking_tokens=kept)


def test_search_model_searches_and_reads_results_unasked() -> None:
    model = Model(id="gpt-4o-search-preview", provider="openai", context_tokens=128_000)
    assert uses_at_most(NO_USES, model) == ToolUses(times=1, each=SEARCH_TOKENS, searches=1)
    assert uses_at_most(NO_USES, MODEL) == NO_USES
    three = ToolUses(times=3, each=50, searches=3)
    assert uses_at_most(three, model) == uses_at_most(three, MODEL) == three


def test_pages_are_images_and_text_within_context() -> None:
    model = Model(id="claude", provider="anthropic", context_tokens=200_000, image_tokens=1_000)
    frame = input_tokens_at_most(UsageBound(), model, text_bytes=0)
    for pages, most in ((3, 3 * (1_000 + PAGE_TEXT_TOKENS)), (600, 200_000)):
        found = input_tokens_at_most(UsageBound(pages=pages), model, text_bytes=0)
        assert found == min(most + frame, model.context_tokens)


def test_input_is_read_again_after_uses_of_tools_within_context() -> None:
    model = Model(id="claude", provider="anthropic", context_tokens=200_000)
    assert input_with_uses(NO_USES, model, tokens=1_000) == 1_000
    assert input_with_uses(NO_USES, model, tokens=300_000) == 300_000
    two = ToolUses(times=2, reads=2, each=50)
    assert input_with_uses(two, model, tokens=1_000) == 3_000 + 50 + 100
    assert input_with_uses(two.first(1), model, tokens=1_000) == 2_050
    assert input_with_uses(two.first(9), model, tokens=1_000) == 3_150
    together = ToolUses(times=5, reads=2, each=50)
    assert input_with_uses(together, model, tokens=1_000) == 3_000 + 4 * 50 + 5 * 50
    large = ToolUses(times=2, reads=2, each=10**6)
    assert input_with_uses(large, model, tokens=1_000) == 600_000


@pytest.mark.parametrize(
    ("calls", "compactions", "times", "added"),
    [
        (0, 0, 9, 0),
        (3, 0, 0, 0),
        (3, 0, 2, 2 * 50),
        (3, 0, 9, 3 * 50),
        (0, 1, 9, 1000),
        (0, 1, 0, 0),
        (3, 1, 1, 2 * 50 + 1000),
        (3, 1, 9, 2 * 3 * 50 + 1000),
    ],
)
def test_uses_that_are_read_within_figure_and_compactions_add_input(
    calls: int, compactions: int, times: int, added: int
) -> None:
    uses = ToolUses(times=calls, each=50, compactions=compactions)
    assert input_with_uses(uses.first(times), MODEL, tokens=1000) == 1000 + added


# --- limits of uses ---------------------------------------------------------------------------


@pytest.mark.parametrize("searches", [True, False])
@pytest.mark.parametrize("is_limited", [True, False])
def test_policys_number_replaces_gateways_for_searches_alone(
    is_limited: bool, searches: bool
) -> None:
    plain = OutputCap(100, is_written=True, is_limited=is_limited)
    gateways = UsesLimit(most=8) if is_limited else None
    assert plain.uses_limit(8, searches=searches) == gateways
    for most in (3, 20):
        limit = UsesLimit(most=most, policy="No")
        found = replace(plain, searches=limit).uses_limit(8, searches=searches)
        assert found == (limit if searches else gateways)
