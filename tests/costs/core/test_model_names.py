"""Which charges and price rows a name matches."""

from __future__ import annotations

import pytest

from costs.core.model_names import covers, means


@pytest.mark.parametrize(
    ("wanted", "model", "provider", "is_intended"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", "openai", True),
        ("gpt-4o", "gpt-4o-mini", "openai", False),
        (" OpenAI/GPT-4o ", "gpt-4o", "openai", True),
        ("anthropic/gpt-4o", "gpt-4o", "openai", False),
        ("models/gemini-pro", "gemini-pro", "google", True),
        ("gemini/gemini-2.5-pro", "gemini-2.5-pro", "google", True),
        ("gemini/gpt-4o", "gpt-4o", "openai", False),
        ("vertex_ai/gemini-2.5-pro", "gemini-2.5-pro", "google", True),
        ("vertex_ai/claude-3-opus@20240229", "claude-3-opus-20240229", "anthropic", True),
        ("mistralai/mistral-large", "mistral-large-latest", "mistral", True),
        ("mistralai/mistral-large", "mistral-large-latest", "acme", False),
        ("acme/llama-3", "llama-3", "acme", True),
    ],
)
def test_name_matches_with_and_without_prefix(
    wanted: str, model: str, provider: str, is_intended: bool
) -> None:
    assert means(wanted, model=model, provider=provider) is is_intended


@pytest.mark.parametrize(
    ("pattern", "is_covered"),
    [("gemini-2.5-*", True), ("gemini/gemini-2.5-*", True), ("openai/*", False), ("gpt-*", False)],
)
def test_wildcard_of_price_list_covers_with_and_without_prefix(
    pattern: str, is_covered: bool
) -> None:
    assert covers(pattern, model="gemini-2.5-pro", provider="google") is is_covered
