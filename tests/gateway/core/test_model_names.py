"""Which model a name resolves to."""

from __future__ import annotations

import pytest

from gateway.core.model_names import (
    NAME_MAX_CHARS,
    Catalog,
    Model,
    canonical,
    price_names,
    undated,
)
from gateway.providers.catalog import load_catalog

CATALOG = load_catalog(True)


def model(name: str) -> Model:
    found = CATALOG.find(name)
    assert found is not None, name
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4", "gpt-4"),
        ("  GPT-4\n", "gpt-4"),
        ("openai/gpt-4", "gpt-4"),
        ("OpenAI/GPT-4", "gpt-4"),
        ("models/gemini-pro", "gemini-pro"),
        ("google/gemini-pro", "gemini-pro"),
        ("gemini/gemini-2.5-pro", "gemini-2.5-pro"),
        (" Gemini/Gemini-Pro", "gemini-pro"),
        ("vertex_ai/gemini-pro", "gemini-pro"),
        ("vertex_ai/claude-3-opus@20240229", "claude-3-opus-20240229"),
        ("mistralai/mistral-large", "mistral-large-latest"),
        ("gemini-1.0-pro", "gemini-pro"),
        ("claude-3-5-sonnet", "claude-3-5-sonnet-20241022"),
        ("claude-3.5-sonnet", "claude-3-5-sonnet-20241022"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
        ("claude-3.5-sonnet-latest", "claude-3-5-sonnet-20241022"),
        ("anthropic/claude-3.5-sonnet", "claude-3-5-sonnet-20241022"),
        ("claude-3-5-sonnet@20241022", "claude-3-5-sonnet-20241022"),
        ("claude-3.5-sonnet-20240620", "claude-3-5-sonnet-20240620"),
        ("claude-3-opus", "claude-3-opus-20240229"),
        ("mistral-large", "mistral-large-latest"),
        ("mistral-large-2411", "mistral-large-2411"),
        ("gpt-4o-2024-11-20", "gpt-4o-2024-11-20"),
        ("gpt-99-preview", "gpt-99-preview"),
        ("ft:gpt-4o-mini-2024-07-18:Acme::AbCd", "ft:gpt-4o-mini-2024-07-18:Acme::AbCd"),
        ("openai/ft:gpt-4o-mini-2024-07-18:Acme::AbCd", "ft:gpt-4o-mini-2024-07-18:Acme::AbCd"),
    ],
)
def test_every_spelling_resolves_to_vendors_model(name: str, expected: str) -> None:
    assert model(name).id == expected


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "llama-3", "anthropic/gpt-4", "openai/openai/gpt-4", "gemini/gpt-4",
        "mistralai/gpt-4", "gemini/", "vertex_ai/", "openai/", "models/",
        "/gpt-4", "gpt-4\x00", "gpt 4", "gpt-4?", "gpt-4*", "../gpt-4", "gpt-\uff14",
        "g" * (NAME_MAX_CHARS + 1),
        "sandbox-huge",
    ],
)  # fmt: skip
def test_name_unknown_to_all_vendors_is_unknown(name: str) -> None:
    assert CATALOG.find(name) is None


def test_name_is_ascii_before_it_is_folded() -> None:
    # U+212A, the Kelvin sign, folds to a plain k.
    assert canonical("gpt-4-32\u212a") is None
    assert canonical("GPT-4-32K") == "gpt-4-32k"


def test_snapshot_inherits_its_models_properties() -> None:
    snapshot = model("gpt-4-0314")
    assert (snapshot.id, snapshot.provider) == ("gpt-4-0314", "openai")
    assert (snapshot.tokenizer, snapshot.max_output_tokens) == ("cl100k_base", 8192)


def test_unlisted_model_has_high_bounds() -> None:
    unlisted = model("gpt-99")
    assert unlisted.max_output_tokens == CATALOG.vendors["openai"].max_output_tokens == 131_072


def test_fine_tuned_model_has_vendor_of_its_base() -> None:
    assert model("ft:o4-mini-2025-04-16:acme::x").provider == "openai"
    assert model("ft:open-mistral-7b:daf5e488:20240430:c1bed559").provider == "mistral"


def test_bare_name_has_no_provider_prefix() -> None:
    assert CATALOG.bare(" OpenAI/GPT-4 ") == "gpt-4"
    assert CATALOG.bare("models/gemini-pro") == "gemini-pro"
    assert CATALOG.bare("Vertex_AI/gemini-pro") == CATALOG.bare("gemini/gemini-pro") == "gemini-pro"
    assert CATALOG.bare("acme/gpt-4") == "acme/gpt-4"


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-3-opus-20240229", "claude-3-opus"),
        ("claude-3-opus@20240229", "claude-3-opus"),
        ("gemini-1.5-pro-002", "gemini-1.5-pro"),
        ("mistral-large-latest", "mistral-large"),
        ("gpt-4o", "gpt-4o"),
        ("claude-opus-4-1", "claude-opus-4-1"),
        ("gpt-4-32k", "gpt-4-32k"),
        ("-0613", "-0613"),
    ],
)
def test_undated(name: str, base: str) -> None:
    assert undated(name) == base


def test_price_names_are_most_specific_first() -> None:
    assert price_names("gpt-4") == ("gpt-4",)
    assert price_names("gpt-4o-2024-11-20") == ("gpt-4o-2024-11-20", "gpt-4o")
    assert price_names("ft:gpt-4o-2024-08-06:Acme::AbC") == (
        "ft:gpt-4o-2024-08-06:acme::abc",
        "ft:gpt-4o-2024-08-06",
        "ft:gpt-4o",
    )


def test_name_with_two_dates_is_not_snapshot() -> None:
    assert CATALOG.find("chat-latest-0613") is None
    assert model("claude-3-opus-20240229-0613").id == "claude-3-opus-20240229-0613"


def test_empty_catalog_finds_nothing() -> None:
    assert Catalog({}, {}).find("gpt-4") is None
