"""The tokens of what a provider keeps: an upper bound for any model."""

from __future__ import annotations

from uuid import UUID

import pytest

from gateway.core import bounds
from gateway.core.kept import ID_MAX_CHARS, Kept, KeptKind, KeptTokens, is_id, tokens_of
from gateway.core.model_names import Model
from gateway.core.usage_bound import ToolUses, UsageBound

MODEL = Model(id="gpt-x", provider="openai", context_tokens=10_000)
FIRST, SECOND = UUID(int=1), UUID(int=2)


def kept(tokens: int | None, request_id: UUID = FIRST, kind: KeptKind = KeptKind.ITEM) -> Kept:
    counted = KeptTokens(tokens=tokens, model="gpt-x")
    return Kept(id="id_1", provider="openai", kind=kind, tokens=counted, request_id=request_id)


@pytest.mark.parametrize(
    ("tokens", "model", "most"),
    [
        (0, "gpt-x", 0),
        (9_999, "gpt-x", 9_999),
        (10_001, "gpt-x", 10_000),
        (5, "", 5),  # bytes, which bound the tokens of any model
        (5, "gpt-y", 10_000),
        (None, "gpt-x", 10_000),
        (None, "", 10_000),
    ],
)
def test_tokens_are_bounded_by_context(tokens: int | None, model: str, most: int) -> None:
    assert KeptTokens(tokens=tokens, model=model).at_most(MODEL) == most


def test_what_one_request_made_known_is_counted_once() -> None:
    chain = kept(2_000, kind=KeptKind.RESPONSE)
    named = [kept(700), kept(700), kept(900), kept(50, SECOND), chain]
    assert sorted(each.at_most(MODEL) for each in tokens_of(named)) == [50, 900, 2_000]
    assert sum(each.at_most(MODEL) for each in tokens_of([])) == 0


@pytest.mark.parametrize("order", [1, -1])
def test_unknown_tokens_are_most_of_all(order: int) -> None:
    named = [kept(700), kept(None)][::order]
    assert [each.at_most(MODEL) for each in tokens_of(named)] == [10_000]


def test_input_has_kept_tokens_each_time_that_it_is_read() -> None:
    plain = UsageBound(texts=("hello",), messages=1)
    continued = UsageBound(texts=("hello",), messages=1, kept=(KeptTokens(tokens=1_000),))
    least = bounds.input_tokens_at_most(plain, MODEL, text_bytes=5)
    assert bounds.input_tokens_at_most(continued, MODEL, text_bytes=5) == least + 1_000
    assert bounds.counted_tokens(continued, MODEL, counted=1) == 1_001
    compacted = bounds.input_with_uses(ToolUses(compactions=1), MODEL, tokens=least + 1_000)
    assert compacted == 2 * (least + 1_000)
    full = UsageBound(kept=(KeptTokens(tokens=9_000), KeptTokens(tokens=9_000)))
    assert bounds.kept_tokens(full, MODEL) == 10_000


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("resp_0a-B", True),
        ("x" * ID_MAX_CHARS, True),
        ("x" * (ID_MAX_CHARS + 1), False),
        ("", False),
        ("a/b", False),
        ("..", False),
        ("a\n", False),
        (7, False),
        (None, False),
    ],
)
def test_id_is_safe_in_address(text: object, is_one: bool) -> None:
    assert is_id(text) is is_one
