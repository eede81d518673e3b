"""Names of rows' models: which row they resolve to, and which entries of policies match them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.model_entries import model_entries
from gateway.core.model_names import Model
from gateway.core.providers import ProviderConfig
from gateway.guards.policies import OK, Rule, model_verdicts
from gateway.providers.catalog import load_catalog
from gateway.providers.served import served_model

CATALOG = load_catalog(sandbox=True)
LLAMA = "meta-llama/Llama-3.3-70B"


def row(name: str, *models: str, weight: int = 0, order: int = 1) -> ProviderConfig:
    return ProviderConfig(
        name=name,
        title=name,
        is_row=True,
        weight=weight,
        order=order,
        models={each.casefold(): each for each in models},
    )


AZURE = replace(row("azure-eu", "gpt-4o", weight=1), regions=("EU", "dc-001"))
LOCAL = row("local", LLAMA, "llama3.3:70b", weight=1)
PROXY = row("proxy")
ROWS = {each.name: each for each in (AZURE, LOCAL, PROXY)}
VENDORS = {name: vendor.config for name, vendor in CATALOG.vendors.items()}


def found(name: str, *more: ProviderConfig) -> Model:
    providers = VENDORS | ROWS | {each.name: each for each in more}
    model = served_model(name, providers, catalog=CATALOG)
    assert model is not None
    return model


def verdict(name: str, *, allowed: str = "", blocked: str = "") -> str:
    rule = Rule(
        id="1",
        name="P",
        allowed=model_entries(CATALOG, filter(None, [allowed])),
        blocked=model_entries(CATALOG, filter(None, [blocked])),
    )
    return model_verdicts(found(name), [rule])[0]


@pytest.mark.parametrize(
    ("name", "provider", "model_id", "sent"),
    [
        ("gpt-4o", "openai", "gpt-4o", "gpt-4o"),
        ("azure-eu/gpt-4o", "azure-eu", "gpt-4o", "gpt-4o"),
        (" Azure-EU/GPT-4o ", "azure-eu", "gpt-4o", "gpt-4o"),
        (LLAMA, "local", LLAMA.casefold(), LLAMA),
        (f"local/{LLAMA.casefold()}", "local", LLAMA.casefold(), LLAMA),
        ("llama3.3:70b", "local", "llama3.3:70b", "llama3.3:70b"),
        ("proxy/Qwen/Qwen3", "proxy", "qwen/qwen3", "Qwen/Qwen3"),
        ("proxy/local/llama3.3:70b", "proxy", "local/llama3.3:70b", "local/llama3.3:70b"),
    ],
)
def test_name_resolves_to_row_and_is_sent_as_server_spells_it(
    name: str, provider: str, model_id: str, sent: str
) -> None:
    model = found(name)
    assert (model.provider, model.id, model.sent_name) == (provider, model_id, sent)


def test_bare_name_is_first_row_by_order_and_name() -> None:
    second, first = row("a", "own-model", weight=1, order=2), row("b", "own-model", weight=1)
    unshared = row("c", "own-model", order=0)
    assert found("own-model", second, first, unshared).provider == "b"
    assert found("own-model", replace(second, order=1), first).provider == "a"
    assert served_model("own-model", VENDORS | {"c": unshared}, catalog=CATALOG) is None


@pytest.mark.parametrize(
    ("name", "entry", "is_matched"),
    [
        ("azure-eu/gpt-4o", "gpt-4o", True),
        ("azure-eu/gpt-4o-2024-08-06", "gpt-4o", True),
        ("azure-eu/gpt-4o", "azure-eu/*", True),
        ("azure-eu/gpt-4o", "Azure-EU/GPT-4o", True),
        ("azure-eu/gpt-4o", "openai/*", False),
        ("azure-eu/gpt-4o", "openai/gpt-4o", False),
        ("gpt-4o", "azure-eu/*", False),
        ("azure-eu/gpt-4o", "region:eu", True),
        ("azure-eu/gpt-4o", "REGION:Eu", True),
        ("azure-eu/gpt-4o", "region:e*", True),
        ("azure-eu/gpt-4o", "region:dc", False),
        ("azure-eu/gpt-4o", "r*", False),
        ("azure-eu/gpt-4o", "*001", False),
        ("gpt-4o", "region:eu", False),
        ("local/region:eu", "region:eu", False),
        ("local/region:eu", "region:*", False),
        (f"local/{LLAMA}", LLAMA, True),
        *((f"local/{LLAMA}", "*", True), ("proxy/openai/gpt-4o", "*", True)),
        (f"local/{LLAMA}", "meta-llama/*", True),
        (f"local/{LLAMA}", "local/meta-llama/*", True),
        ("local/llama3.3:70b", "llama3.3:70b", True),
        ("proxy/openai/gpt-4o", "openai/gpt-4o", False),
        ("proxy/azure-eu/gpt-4o", "azure-eu/*", False),
        ("proxy/azure-eu/gpt-4o", "region:eu", False),
    ],
)
def test_allow_list_has_rows_model(name: str, entry: str, is_matched: bool) -> None:
    assert verdict(name, allowed=entry) == (OK if is_matched else "model_not_allowed")
    assert verdict(name, blocked=entry) == ("model_blocked" if is_matched else OK)


@pytest.mark.parametrize(
    ("name", "entry", "is_blocked"),
    [
        ("proxy/openai/gpt-4o", "gpt-4o", True),
        ("proxy/openai/gpt-4o:free", "gpt-4o", True),
        ("proxy/meta-llama/llama-3.3-70b:free", "meta-llama/llama-3.3-70b", True),
        ("proxy/accounts/fireworks/models/llama-v3", "llama-v3", True),
        ("proxy/anthropic/claude-3.5-sonnet", "claude-3-5-sonnet", True),
        ("local/llama3.3:70b", "llama3.3", True),
        ("proxy/meta/llama3.3:70b", "llama3.3:70b", True),
        ("proxy/openai/gpt-4o", "openai/*", False),
        ("proxy/local/llama3.3:70b", "local/*", False),
        ("local/llama3.3:70b", "llama3", False),
    ],
)
def test_block_matches_resellers_model(name: str, entry: str, is_blocked: bool) -> None:
    """A block has more names than an allow list, which a reseller's spelling must not open."""
    assert verdict(name, blocked=entry) == ("model_blocked" if is_blocked else OK)
    assert verdict(name, allowed=entry) == "model_not_allowed"


def test_name_that_row_maps_is_blocked_by_what_is_sent() -> None:
    mapped = replace(row("mapped"), names={"cheap": "gpt-4o"}, is_row=True)
    blocked = model_entries(CATALOG, ["gpt-4o"])
    model = found("mapped/cheap", mapped)
    assert model.sent_name == "gpt-4o"
    assert model_verdicts(model, [Rule(id="1", name="P", blocked=blocked)]) == ("model_blocked",)


@pytest.mark.parametrize(
    ("name", "searches"),
    [
        *(("gpt-4o-search-preview", True), ("proxy/openai/GPT-5-Search-API", True)),
        *(("proxy/my-search-7b", False), ("local/acme/chatgpt-search", False)),
        ("proxy/gpt-4o", False),
    ],
)
def test_only_openais_names_say_that_model_always_searches(name: str, searches: bool) -> None:
    assert found(name).always_searches is searches
