"""The model catalog, read from catalog.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from django.conf import settings

from gateway.core.model_entries import ComparedNames, compared, model_entries
from gateway.core.model_names import Catalog, CatalogVendor, Model, undated

SANDBOX: Final = "sandbox"
_TABLE: Final = Path(__file__).with_name("catalog.toml")


@cache
def load_catalog(sandbox: bool) -> Catalog:
    """Return all models by name; those of the sandbox only if it is on.

    Raises ValueError if two models share a name.
    """
    tables = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    by_name: dict[str, Model] = {}
    vendors: dict[str, CatalogVendor] = {}
    for provider, table in tables.items():
        if provider == SANDBOX and not sandbox:
            continue
        vendors[provider] = _vendor(provider, table)
        for model_id, facts in table["models"].items():
            model = _model(model_id, vendors[provider], facts)
            for name in dict.fromkeys((model.id, *model.aliases)):
                if name in by_name:
                    raise ValueError(f"{name} resolves to both {by_name[name].id} and {model.id}")
                by_name[name] = model
    return Catalog(MappingProxyType(by_name), MappingProxyType(vendors))


def _vendor(provider: str, table: dict[str, Any]) -> CatalogVendor:
    return CatalogVendor(
        name=provider,
        model_prefixes=tuple(table["model_prefixes"]),
        tokenizer=table["tokenizer"],
        token_margin=table["token_margin"],
        image_tokens=table["image_tokens"],
        tokens_per_s=table["tokens_per_s"],
        max_output_tokens=table["max_output_tokens"],
        requires_cap=table.get("requires_cap", False),
    )


def _model(model_id: str, vendor: CatalogVendor, facts: dict[str, Any]) -> Model:
    return Model(
        id=model_id,
        provider=vendor.name,
        aliases=tuple(facts.get("aliases", ())),
        current=facts.get("current"),
        context_tokens=facts["context"],
        max_output_tokens=facts["output"],
        tokenizer=facts.get("tokenizer", vendor.tokenizer),
        token_margin=facts.get("token_margin", vendor.token_margin),
        image_tokens=facts.get("image_tokens", vendor.image_tokens),
        tokens_per_s=facts.get("tokens_per_s", vendor.tokens_per_s),
        requires_cap=vendor.requires_cap,
    )


def names_of_no_model(entries: Iterable[str]) -> list[str]:
    """Return the entries that match no known model: a typo, or a new model."""
    catalog = load_catalog(sandbox=settings.SANDBOX)
    names = {name: None for model in catalog.by_name.values() for name in model.names}
    known = compared(tuple(names))
    return [entry for entry in entries if not _matches_any(entry, known, catalog)]


def _matches_any(entry: str, known: ComparedNames, catalog: Catalog) -> bool:
    # The catalog lists neither every snapshot nor any fine-tuned model.
    bare = catalog.bare(entry)
    if undated(bare) in catalog.by_name or bare.startswith("ft:"):
        return True
    return model_entries(catalog, [entry]).matches(known)
