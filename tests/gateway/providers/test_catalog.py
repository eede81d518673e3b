"""The catalog of models: complete, consistent, and every model has a price."""

from __future__ import annotations

import pytest

from costs.core.rates import rate_at
from costs.prices.seed import SeedPrice, seed_prices
from gateway.core.model_names import Model, price_names
from gateway.providers.catalog import load_catalog
from tests.costs.price_list import NOW

CATALOG = load_catalog(True)
MODELS = {model.id: model for model in CATALOG.by_name.values()}

PROMISED = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4-turbo",
    "gpt-4",
    "gpt-3.5-turbo",
    "o1-preview",
    "o1-mini",
    "claude-3-5-sonnet-20241022",
    "claude-3-opus-20240229",
    "claude-3-sonnet-20240229",
    "claude-3-haiku-20240307",
    "claude-3-5-sonnet",
    "claude-3.5-sonnet",
    "claude-3-opus",
    "claude-3-sonnet",
    "claude-3-haiku",
    "claude-3-5-sonnet-latest",
    "claude-3-opus-latest",
    "gemini-pro",
    "gemini-pro-vision",
    "mistral-large",
    "mistral-medium",
    "mistral-small",
    "sandbox-small",
    "sandbox-large",
]


@pytest.fixture(scope="module")
def standard_prices() -> dict[tuple[str, str], list[SeedPrice]]:
    by_model: dict[tuple[str, str], list[SeedPrice]] = {}
    for price in seed_prices():
        if price.service_tier == "standard":
            by_model.setdefault((price.provider, price.model), []).append(price)
    return by_model


@pytest.mark.parametrize("name", PROMISED)
def test_documented_models_are_listed(name: str) -> None:
    assert name in CATALOG.by_name


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_model_has_price(
    model: Model, standard_prices: dict[tuple[str, str], list[SeedPrice]]
) -> None:
    for called in filter(None, (model.id, model.current)):
        listed = [
            standard_prices[(model.provider, name)]
            for name in price_names(called)
            if (model.provider, name) in standard_prices
        ]
        assert listed, called
        assert rate_at(listed[0], NOW) is not None


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_model_figures_are_consistent(model: Model) -> None:
    assert model.context_tokens is not None
    assert 0 <= model.default_output_tokens == model.max_output_tokens <= model.context_tokens
    assert model.requires_cap is (model.provider == "anthropic")
    assert model.token_margin >= 1.0
    assert model.tokenizer in {"o200k_base", "cl100k_base"}


@pytest.mark.parametrize("name", CATALOG.by_name)
def test_names_are_normalized(name: str) -> None:
    model = CATALOG.by_name[name]
    assert name == name.casefold().strip()
    assert CATALOG.find(name) is model
    assert CATALOG.find(f"{model.provider}/{name}") is model


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_floating_name_resolves_to_snapshot_of_same_model(model: Model) -> None:
    if model.current is not None:
        snapshot = CATALOG.find(model.current)
        assert snapshot is not None
        assert snapshot.provider == model.provider


def test_floating_names_resolve_as_vendors_document() -> None:
    assert {name: CATALOG.by_name[name].current for name in PROMISED[:7]} == {
        "gpt-4o": "gpt-4o-2024-08-06",
        "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
        "gpt-4-turbo": "gpt-4-turbo-2024-04-09",
        "gpt-4": "gpt-4-0613",
        "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
        "o1-preview": "o1-preview-2024-09-12",
        "o1-mini": "o1-mini-2024-09-12",
    }


def test_short_names_are_sent_as_vendor_id() -> None:
    assert CATALOG.by_name["claude-3-opus"].id == "claude-3-opus-20240229"
    assert CATALOG.by_name["mistral-medium"].id == "mistral-medium-latest"


def test_no_vendor_claims_anothers_models() -> None:
    for model in MODELS.values():
        claimed = {
            vendor.name
            for vendor in CATALOG.vendors.values()
            if model.id.startswith(vendor.model_prefixes)
        }
        assert claimed <= {model.provider}, model.id


def test_sandbox_is_listed_only_if_enabled() -> None:
    off = load_catalog(False)
    assert off.find("sandbox-small") is None
    assert "sandbox" not in off.vendors
    assert set(off.by_name) == {
        name for name, model in CATALOG.by_name.items() if model.provider != "sandbox"
    }


def test_catalog_is_read_once() -> None:
    assert load_catalog(True) is CATALOG
