"""Known servers: their table is sound, and a base URL is recognized as the right one's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from genai_prices.data import providers as priced

from gateway.providers.presets import ServerPreset, preset_from, preset_of, presets

ORDINARY: dict[str, Any] = {
    "title": "Acme",
    "base_url": "https://api.acme.example/v1",
    "auth": "bearer",
    "dialects": ["chat"],
}


@pytest.mark.parametrize("preset", presets().values(), ids=presets())
def test_own_base_url_is_recognized(preset: ServerPreset) -> None:
    completed = re.sub(r"\{\w+\}", "west1", preset.base_url)
    if preset.address:
        assert preset_of(completed) == preset
        assert preset_of(f"{completed}/") == preset
    else:
        assert preset_of(completed) is None


@pytest.mark.parametrize("preset", presets().values(), ids=presets())
def test_prices_are_of_listed_provider(preset: ServerPreset) -> None:
    assert preset.prices in {"", *(provider.id for provider in priced)}


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://acme.openai.azure.com/openai/v1", "azure"),
        ("https://Acme.OpenAI.Azure.com/openai/v1/", "azure"),
        ("https://acme.services.ai.azure.com/openai/v1", "azure"),
        ("https://acme.services.ai.azure.com/anthropic/v1", "foundry"),
        ("https://acme.services.ai.azure.com/anthropic/", "foundry"),
        ("https://bedrock-mantle.eu-west-1.api.aws/openai/v1", "bedrock-mantle"),
        ("https://api.deepseek.com/v1", "deepseek"),
        ("https://api.together.xyz/v1", "together"),
        ("http://gpu.internal:11434/v1", "ollama"),
        (
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi",
            "vertex",
        ),
    ],
)
def test_base_urls_of_vendors_are_recognized(base_url: str, name: str) -> None:
    assert preset_of(base_url) == presets()[name]


@pytest.mark.parametrize(
    "base_url",
    [
        "https://acme.openai.azure.com",
        "https://acme.openai.azure.com.evil.example/openai/v1",
        "https://evil.example/api.groq.com/openai/v1",
        "https://api.groq.com.evil.example/openai/v1",
        "https://apiXgroq.com/openai/v1",
        "http://127.0.0.1:8000/v1",
        "",
    ],
)
def test_other_base_urls_are_not_recognized(base_url: str) -> None:
    assert preset_of(base_url) is None


@pytest.mark.parametrize(
    ("name", "dialect", "base_url", "expected"),
    [
        ("groq", "chat", "https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
        (
            "deepseek",
            "messages",
            "https://api.deepseek.com",
            "https://api.deepseek.com/anthropic",
        ),
        (
            "deepseek",
            "messages",
            "https://api.deepseek.com/v1/",
            "https://api.deepseek.com/anthropic",
        ),
        ("bedrock", "messages", "http://127.0.0.1:9/openai/v1", "http://127.0.0.1:9/anthropic"),
        (
            "vertex",
            "generate",
            "https://h/v1/projects/p/locations/l/endpoints/openapi",
            "https://h/v1/projects/p/locations/l/publishers/google",
        ),
    ],
)
def test_dialect_has_its_own_base_url(
    name: str, dialect: str, base_url: str, expected: str
) -> None:
    assert presets()[name].base_url_of(dialect, base_url) == expected


def test_preset_with_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"preset acme has unknown keys: colour"):
        preset_from("acme", ORDINARY | {"colour": "red"})


def test_preset_without_dialects_is_refused() -> None:
    with pytest.raises(ValueError, match=r"preset acme is incomplete: .*dialects"):
        preset_from("acme", {key: ORDINARY[key] for key in ("title", "base_url", "auth")})


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("auth", "header", "auth header"),
        ("dialects", ["chat", "telex"], "dialect telex"),
        ("base_urls", {"messages": "/anthropic"}, "dialect messages without an address"),
        ("drop", ["messages[.name"], r"field messages\[.name"),
        ("family", "deepseek", "family deepseek"),
        ("cap_name", "maxTokens", "cap_name maxTokens"),
    ],
)
def test_preset_with_wrong_value_is_refused(key: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"preset acme: {complaint}"):
        preset_from("acme", ORDINARY | {key: value})
