"""The model catalog, read from catalog.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from gateway.core.model_names import Catalog, CatalogVendor, Model
from gateway.core.providers import ProviderConfig
from gateway.providers import vendors

_TABLE: Final = Path(__file__).with_name("catalog.toml")


@cache
def load_catalog(sandbox: bool) -> Catalog:
    """Return all models by name; those of the sandbox only if it is on.

    Raises ValueError if two models share a name.
    """
    tables = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    by_name: dict[str, Model] = {}
    known: dict[str, CatalogVendor] = {}
    for provider, table in tables.items():
        if provider == vendors.SANDBOX and not sandbox:
            continue
        known[provider] = _vendor(provider, table)
        for model_id, facts in table["models"].items():
            model = _model(model_id, known[provider], facts)
            for name in dict.fromkeys((model.id, *model.aliases)):
                if name in by_name:
                    raise ValueError(f"{name} resolves to both {by_name[name].id} and {model.id}")
                by_name[name] = model
    return Catalog(MappingProxyType(by_name), MappingProxyType(known))


def _vendor(provider: str, table: dict[str, Any]) -> CatalogVendor:
    return CatalogVendor(
        config=_config(provider),
        model_prefixes=tuple(table["model_prefixes"]),
        tokenizer=table["tokenizer"],
        token_margin=table["token_margin"],
        image_tokens=table["image_tokens"],
        tokens_per_s=table["tokens_per_s"],
        max_output_tokens=table["max_output_tokens"],
        requires_cap=table.get("requires_cap", False),
    )


def _config(provider: str) -> ProviderConfig:
    if provider == vendors.SANDBOX:
        return vendors.sandbox(is_on=True)
    return vendors.vendors()[provider].config


def _model(model_id: str, vendor: CatalogVendor, facts: dict[str, Any]) -> Model:
    return Model(
        id=model_id,
        provider=vendor.name,
        aliases=tuple(facts.get("aliases", ())),
        current=facts.get("current"),
        context_tokens=facts["context"],
        beta_context_tokens=facts.get("beta_context"),
        max_output_tokens=facts["output"],
        tokenizer=facts.get("tokenizer", vendor.tokenizer),
        token_margin=facts.get("token_margin", vendor.token_margin),
        image_tokens=facts.get("image_tokens", vendor.image_tokens),
        tokens_per_s=facts.get("tokens_per_s", vendor.tokens_per_s),
        requires_cap=vendor.requires_cap,
        served_by=vendor.config,
    )
