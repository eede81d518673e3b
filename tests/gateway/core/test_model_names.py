"""Resolving of model names, and matching of policy entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model_names import (
    NAME_MAX_CHARS,
    Catalog,
    Model,
    any_entry_matches,
    canonical,
    entry_matches,
    price_names,
    undated,
)
from gateway.providers.catalog import load_catalog

CATALOG = load_catalog(True)


def model(name: str) -> Model:
    found = CATALOG.find(name)
    assert found is not None, name
    return found


def means(entry: str, name: str) -> bool:
    return any_entry_matches([CATALOG.entry(entry)], model(name).names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4", "gpt-4"),
        ("  GPT-4\n", "gpt-4"),
        ("openai/gpt-4", "gpt-4"),
        ("OpenAI/GPT-4", "gpt-4"),
        ("models/gemini-pro", "gemini-pro"),
        ("google/gemini-pro", "gemini-pro"),
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
        "", " ", "llama-3", "anthropic/gpt-4", "openai/openai/gpt-4", "openai/", "models/",
        "/gpt-4", "gpt-4\x00", "gpt 4", "gpt-4?", "gpt-4*", "../gpt-4", "gpt-\uff14",
        "g" * (NAME_MAX_CHARS + 1),
        "sandbox-huge",
    ],
)  # fmt: skip
def test_name_unknown_to_all_vendors_is_unknown(name: str) -> None:
    assert CATALOG.find(name) is None


def test_name_must_be_ascii_before_case_folding() -> None:
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


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("gpt-4", "gpt-4"),
        (" GPT-4 ", "gpt-4"),
        ("openai/gpt-4", "gpt-4"),
        ("gpt-4", "gpt-4-0613"),
        ("gpt-4-0613", "gpt-4"),  # what gpt-4 stands for
        ("openai/gpt-4-0613", "gpt-4"),
        ("claude-3-5-sonnet", "claude-3.5-sonnet"),
        ("claude-3.5-sonnet", "claude-3-5-sonnet-20241022"),
        ("claude-3.5-sonnet", "claude-3-5-sonnet-20240620"),
        ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet-latest"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("anthropic/claude-3.5-sonnet", "claude-3-5-sonnet@20240620"),
        ("models/gemini-pro", "gemini-pro"),
        ("gemini-1.0-pro", "gemini-pro"),
        ("gemini-2.5-flash-preview", "gemini-2.5-flash-preview-09-2025"),
        ("gemini-2.5-pro-preview", "gemini-2.5-pro-preview-05-06"),
        ("mistral-large", "mistral-large-latest"),
        ("mistral-small-2603", "mistral-small-latest"),
        ("*", "gpt-4"),
        ("gpt-*", "gpt-4o"),
        ("*sonnet*", "claude-3-5-sonnet"),
        ("openai/*", "gpt-4"),
        ("ft:gpt-4o-mini*", "ft:gpt-4o-mini-2024-07-18:Acme::AbCd"),
        ("ft:gpt-4o-mini-2024-07-18:Acme::AbCd", "ft:gpt-4o-mini-2024-07-18:acme::abcd"),
    ],
)
def test_entry_matches(entry: str, name: str) -> None:
    assert means(entry, name)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("gpt-4", "gpt-4o"),
        ("gpt-4", "gpt-4-turbo"),
        ("gpt-4", "gpt-4-turbo-2024-04-09"),
        ("gpt-4", "gpt-4.1"),
        ("gpt-4", "gpt-4-32k"),
        ("gpt-4o", "gpt-4"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4-0314", "gpt-4"),
        ("gpt-4o-2024-05-13", "gpt-4o"),
        ("claude-3-5-sonnet-20240620", "claude-3-5-sonnet"),
        ("anthropic/gpt-4", "gpt-4"),
        ("anthropic/*", "gpt-4"),
        ("openai/*", "claude-3-opus"),
        ("o*", "gpt-4"),  # the provider's name is no part of the model's
        ("gpt-?", "gpt-4"),
        ("gpt-[4]", "gpt-4"),
        ("", "gpt-4"),
    ],
)
def test_entry_does_not_match(entry: str, name: str) -> None:
    assert not means(entry, name)


def test_snapshot_entry_blocks_but_does_not_allow_its_floating_name() -> None:
    floating = model("gpt-4")
    assert any_entry_matches(["gpt-4-0613"], floating.names)
    assert not any_entry_matches(["gpt-4-0613"], floating.own_names)
    assert any_entry_matches(["gpt-4"], floating.own_names)
    assert any_entry_matches(["claude-3.5-sonnet"], model("claude-3-5-sonnet-latest").own_names)


def test_brackets_in_entry_are_literal() -> None:
    assert not entry_matches("gpt-[4]*", "gpt-4o")
    assert entry_matches("gpt-[4]*", "gpt-[4]o")


def test_bare_name_has_no_provider_prefix() -> None:
    assert CATALOG.bare(" OpenAI/GPT-4 ") == "gpt-4"
    assert CATALOG.bare("models/gemini-pro") == "gemini-pro"
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


@given(st.text(max_size=30))
def test_any_name_resolves_or_is_unknown(name: str) -> None:
    found = CATALOG.find(name)
    assert found is None or means(name, name)


UNDATED = sorted(name for name in CATALOG.by_name if undated(name) == name)


@given(st.sampled_from(UNDATED), st.sampled_from(["", "-0613", "@20240229", "-2024-07-18"]))
def test_model_name_as_entry_matches_model(name: str, date: str) -> None:
    spelled = name + date
    assert means(spelled, spelled)
    assert means(f"{model(spelled).provider}/{spelled}", spelled.upper())
    assert means(name, spelled)


def test_name_with_two_dates_is_not_snapshot() -> None:
    assert CATALOG.find("chat-latest-0613") is None
    assert model("claude-3-opus-20240229-0613").id == "claude-3-opus-20240229-0613"


def test_empty_catalog_finds_nothing() -> None:
    assert Catalog({}, {}).find("gpt-4") is None
