"""Which model a name means, who serves it, and whether a policy's entry means it too.

Names are compared after trimming and case folding, with a provider's prefix taken off
(`openai/gpt-4`, `models/gemini-pro`). An entry matches its own name, that name's dated
snapshots and its `-latest`, and nothing else; `*` is a wildcard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

NAME_MAX_CHARS: Final = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]*")
# -0613, -001, -20241022, -2024-07-18, @20241022 and -latest: the ways the vendors date a snapshot.
_DATE = r"[-@](?:\d{3,4}|\d{6}|\d{8}|\d{4}-\d{2}-\d{2}|latest)"
_SNAPSHOT = re.compile(_DATE)
_DATED_NAME = re.compile(rf"(.+?){_DATE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model the gateway can call.

    `id` is what the vendor is asked for. `current` is the dated snapshot that a floating id
    stands for, where the vendor says so. `tokenizer` is a tiktoken encoding; `token_margin`
    multiplies its count where it is not the vendor's own.
    """

    id: str
    provider: str
    aliases: tuple[str, ...] = ()
    current: str | None = None
    context_tokens: int | None = None
    max_output_tokens: int = 4096
    default_output_tokens: int = 4096
    tokenizer: str = "o200k_base"
    token_margin: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Every name by which a policy may mean this model."""
        return (self.id,) if self.current is None else (self.id, self.current)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A provider as the catalog describes it: how to recognise a model that the table lacks."""

    name: str
    model_prefixes: tuple[str, ...]
    tokenizer: str
    token_margin: float


@dataclass(frozen=True, slots=True)
class Catalog:
    """All known models by every name they have, and the vendors by prefix."""

    by_name: Mapping[str, Model]
    vendors: Mapping[str, Vendor]

    def find(self, name: str) -> Model | None:
        """Return the model that `name` means, or None when no vendor would know it.

        A name that the table lacks but a vendor's prefix covers is that vendor's model under
        its own name: it can be called once it has a price.
        """
        cleaned = canonical(name)
        if cleaned is None:
            return None
        vendor_named, bare = self._split(cleaned)
        model = self.by_name.get(bare) or self._by_prefix(bare)
        if model is None or (vendor_named is not None and model.provider != vendor_named):
            return None
        return model

    def bare(self, name: str) -> str:
        """Return `name` as names are compared: trimmed, folded, without a provider's prefix."""
        return self._split(name.strip().casefold())[1]

    def _split(self, name: str) -> tuple[str | None, str]:
        head, slash, rest = name.partition("/")
        if slash and head in self.vendors:
            return head, rest
        if slash and head == "models":  # Google's own spelling
            return None, rest
        return None, name

    def _by_prefix(self, name: str) -> Model | None:
        for vendor in self.vendors.values():
            if name.startswith(vendor.model_prefixes):
                return Model(
                    id=name,
                    provider=vendor.name,
                    tokenizer=vendor.tokenizer,
                    token_margin=vendor.token_margin,
                )
        return None


def canonical(name: str) -> str | None:
    """Return `name` trimmed and case folded, or None when it cannot be a model's name."""
    cleaned = name.strip().casefold()
    if len(cleaned) > NAME_MAX_CHARS or not _NAME.fullmatch(cleaned):
        return None
    return cleaned


def undated(name: str) -> str:
    """Return the name whose dated snapshot `name` is, or `name` itself."""
    match = _DATED_NAME.fullmatch(name)
    return match[1] if match else name


def entry_matches(entry: str, model_name: str) -> bool:
    """Whether a policy's entry means the model. Both are bare, folded names."""
    if "*" in entry:
        return fnmatchcase(model_name, entry.replace("[", "[[]").replace("?", "[?]"))
    if not model_name.startswith(entry):
        return False
    rest = model_name[len(entry) :]
    return not rest or _SNAPSHOT.fullmatch(rest) is not None


def any_entry_matches(entries: Iterable[str], names: Iterable[str]) -> bool:
    """Whether one of the entries means one of the names."""
    wanted = tuple(names)
    return any(entry_matches(entry, name) for entry in entries for name in wanted)
