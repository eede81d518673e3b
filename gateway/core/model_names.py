"""Resolve a name to a model and its provider.

Names are compared after trimming and case folding, with a provider's prefix taken off
(`openai/gpt-4`, `gemini/gemini-2.5-pro`, `models/gemini-pro`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from costs.core.model_names import DATE, NAME, PREFIXES
from gateway.core.providers import NO_PROVIDER, ProviderConfig

NAME_MAX_CHARS: Final = 200
# What policies call the models of all providers with a tag.
REGION: Final = "region:"
# Every model since 2025 supports this cap.
UNLISTED_CAP_TOKENS: Final = 32_000
FOUND_MAX: Final = 10_000  # callers choose the names, so the cache is bounded
FINE_TUNE: Final = "ft:"
# Whose models a wildcard stands for behind a prefix that names no vendor (`models/*`).
_VENDOR_OF_PREFIXES: Final = "google"
_SEARCHING: Final = re.compile(r"(?:^|[/:])gpt-[^/:]*-search")
_PATH: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*")
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_:@+-]|\.(?!\.))*"
_ROW_PATH: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_DATED_NAME = re.compile(rf"(.+?)({DATE})")


def always_searches(model_id: str) -> bool:
    """Whether a model searches the web for every answer: OpenAI's do whose ids say it, also where a
    reseller has them. Others' names tell nothing.
    """
    return _SEARCHING.search(model_id.casefold()) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model the gateway can call.

    `id` is the vendor's id. `current` is the dated snapshot that a floating id resolves to, if the
    vendor documents it. `tokenizer` is a tiktoken encoding; `token_margin` multiplies its count if
    it is not the vendor's own. `beta_context_tokens` is the context of a request that asks for a
    larger one, if the vendor sells it as a beta. `max_output_tokens` is the maximum of one answer,
    including thinking; `image_tokens` the maximum of one image; `tokens_per_s` the fastest known
    output. `base_names` are those of the model that a fine-tuned one was made from. The maximum of
    one that is not listed in the catalog is a guess. Some vendors require a cap in every request.
    `served_by` is the provider's configuration: of the catalog's models the vendor's without a key.
    `spelling` is what is sent of a name that is not the vendor's: a server may distinguish cases.
    `listed_name` is a name with a slash that a provider lists, if no provider's name is before it.
    """

    id: str
    provider: str
    aliases: tuple[str, ...] = ()
    current: str | None = None
    # A model that is not in the catalog is assumed to be one of the largest.
    context_tokens: int = 2_097_152
    beta_context_tokens: int | None = None
    max_output_tokens: int = 4096
    tokenizer: str = "o200k_base"
    token_margin: float = 1.0
    image_tokens: int = 0
    tokens_per_s: int = 400
    base_names: tuple[str, ...] = ()
    is_listed: bool = True
    requires_cap: bool = False
    served_by: ProviderConfig = NO_PROVIDER
    spelling: str = ""
    listed_name: str = ""

    @property
    def sent_name(self) -> str:
        """The name that is sent: the provider's own."""
        return self.served_by.sent_name(self.id, spelling=self.spelling or self.id)

    @property
    def default_output_tokens(self) -> int:
        """The cap that is written if the caller gave none: the maximum, if it is known.

        Vendors reject a higher one.
        """
        most = self.max_output_tokens
        return most if self.is_listed else min(most, UNLISTED_CAP_TOKENS)

    @property
    def input_max_tokens(self) -> int | None:
        """The most input that the vendor accepts and bills in one reading, None if not known.

        It refuses what does not fit in the context. Ids with `latest` stand for other models in
        time, those that are not listed have a guess, and embeddings have many inputs.
        """
        is_known = self.is_listed and "latest" not in self.id and not self.makes_embeddings
        return self.context_tokens if is_known else None

    def with_beta_context(self) -> Model:
        """Return the model as a request gets it that asks for the larger context."""
        if self.beta_context_tokens is None:
            return self
        return replace(self, context_tokens=self.beta_context_tokens)

    @property
    def makes_embeddings(self) -> bool:
        """Whether the model makes embeddings and has no output: all such ids contain it."""
        return "embed" in self.id

    @property
    def always_searches(self) -> bool:
        """Whether the model searches the web for every answer."""
        return always_searches(self.id)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Every name of exactly this model, each also as `provider/name`, and its regions.

        The snapshot that a floating name resolves to is not included: allowing a snapshot does not
        allow whatever the name resolves to next.
        """
        return (*self._as_entries(self.id, *self.aliases), *self.other_names)

    @property
    def qualified_name(self) -> str:
        """The name that calls name it by: of a row's model `PROVIDER/NAME`, in its spelling."""
        return f"{self.provider}/{self.spelling}" if self.served_by.is_row else self.id

    @property
    def other_names(self) -> tuple[str, ...]:
        """The own names that its provider gives it: `region:eu`, and one with a slash."""
        regions = (f"{REGION}{tag.casefold()}" for tag in self.served_by.regions)
        return (*map(_as_compared, filter(None, (self.listed_name,))), *regions)

    @property
    def price_names(self) -> tuple[str, ...]:
        """The names under which its price may be listed, most specific first.

        A row's are exactly its own: what looks like a date or a variant there is another model, at
        another price (`deepseek-r1-0528`, `deepseek-r1:free`).
        """
        return (self.id.casefold(),) if self.served_by.is_row else price_names(self.id)

    @property
    def names(self) -> tuple[str, ...]:
        """The own names and those of its current snapshot and of the model that it was made from.

        Blocking one of these blocks the model; budgets of them count it.
        """
        own = self._as_entries(self.id, *self.aliases, self.current or self.id)
        return (*own, *self.other_names, *map(_as_compared, self.base_names))

    def _as_entries(self, *called: str) -> tuple[str, ...]:
        names = dict.fromkeys(_as_compared(name) for name in called)
        # What a reseller calls `openai/gpt-4o` is no model of the provider `openai`, and callers
        # choose names: none of them is a region.
        bare = (name for name in names if "/" not in name and not name.startswith(REGION))
        return (*bare, *(f"{self.provider}/{name}" for name in names))

    def snapshot(self, date: str) -> Model:
        """Return this model's snapshot of `date` (`-20240620`), with all of its aliases."""
        return replace(
            self,
            id=undated(self.id) + date,
            current=None,
            aliases=tuple(dict.fromkeys(undated(alias) + date for alias in self.aliases)),
        )


@dataclass(frozen=True, slots=True)
class Offered:
    """A model and the name under which it is requested, which may be an alias."""

    name: str
    model: Model


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogVendor:
    """A provider in the catalog, with the prefixes of models that the table does not list.

    `max_output_tokens` is the default of such a model; it is high, since bounds depend on it.
    """

    config: ProviderConfig
    model_prefixes: tuple[str, ...]
    tokenizer: str
    token_margin: float
    image_tokens: int
    tokens_per_s: int
    max_output_tokens: int = 131_072
    requires_cap: bool = False

    @property
    def name(self) -> str:
        """Its name, the prefix of its models."""
        return self.config.name


@dataclass(frozen=True, slots=True)
class Catalog:
    """All known models by every name they have, and the vendors by name."""

    by_name: Mapping[str, Model]
    vendors: Mapping[str, CatalogVendor]
    _found: dict[str, Model] = field(default_factory=dict, compare=False, repr=False)

    def find(self, name: str) -> Model | None:
        """Return the model that `name` resolves to, or None if it is unknown.

        Results are cached: finding one takes 5 us. See `_find`.
        """
        model = self._found.get(name)
        if model is None:
            model = self._find(name)
            if model is not None and len(self._found) < FOUND_MAX:
                self._found[name] = model
        return model

    def _find(self, name: str) -> Model | None:
        """Resolve a name.

        A name that is not in the table is a dated snapshot of one that is, or, if it has a
        vendor's prefix, that vendor's model of that name: it can be called once it has a price.
        """
        cleaned = canonical(name)
        if cleaned is None:
            return None
        vendor_named, bare = self._split(cleaned)
        spelled = name.strip()[-len(bare) :] if bare else ""
        model = self._model(bare, spelled)
        if model is None or (vendor_named is not None and model.provider != vendor_named):
            return None
        return model

    def _model(self, bare: str, spelled: str) -> Model | None:
        return self.by_name.get(bare) or self._snapshot(bare) or self._by_prefix(bare, spelled)

    def entry(self, text: str) -> str:
        """Return a policy's entry as it is compared: trimmed and folded.

        A provider's prefix stays: `openai/*` matches only that provider's models, `gemini/*` only
        Google's.
        """
        entry = _as_compared(text)
        head, slash, rest = entry.partition("/")
        if not slash or head not in PREFIXES:
            return entry
        vendor = PREFIXES[head] or (_VENDOR_OF_PREFIXES if rest.startswith("*") else None)
        return rest if vendor is None else f"{vendor}/{rest}"

    def bare(self, name: str) -> str:
        """Return `name` normalized: trimmed, folded, without a provider's prefix.

        For names, not for policies' entries: `openai/*` without its prefix would match all models.
        """
        return self._split(name.strip().casefold())[1]

    def _split(self, name: str) -> tuple[str | None, str]:
        head, slash, rest = name.partition("/")
        if slash and head in self.vendors:
            return head, rest
        if slash and head in PREFIXES:
            return PREFIXES[head], rest
        return None, name

    def _snapshot(self, name: str) -> Model | None:
        match = _DATED_NAME.fullmatch(name)
        if match is None or undated(match[1]) != match[1]:
            return None
        model = self.by_name.get(match[1])
        if model is None:
            return None
        snapshot = model.snapshot(match[2].replace("@", "-"))
        return self.by_name.get(snapshot.id, snapshot)

    def _by_prefix(self, name: str, spelled: str) -> Model | None:
        base = self._base(name)
        for vendor in self.vendors.values():
            if not name.startswith(vendor.model_prefixes):
                continue
            # Vendors' own ids are lower case; those of fine-tuned models keep their case.
            model_id = spelled if ":" in name else name
            if base is not None and base.provider == vendor.name:
                return replace(base, id=model_id, aliases=(), current=None, base_names=base.names)
            return Model(
                id=model_id,
                provider=vendor.name,
                max_output_tokens=vendor.max_output_tokens,
                tokenizer=vendor.tokenizer,
                token_margin=vendor.token_margin,
                image_tokens=vendor.image_tokens,
                tokens_per_s=vendor.tokens_per_s,
                is_listed=False,
                requires_cap=vendor.requires_cap,
                served_by=vendor.config,
            )
        return None

    def _base(self, name: str) -> Model | None:
        """Return the model that a fine-tuned one was made from, if it is one.

        https://developers.openai.com/api/docs/guides/supervised-fine-tuning
        (`ft:gpt-4.1-nano-2025-04-14:openai::BTz2REMH`),
        https://docs.mistral.ai/capabilities/finetuning (`ft:open-mistral-7b:daf5e488:…`)
        """
        kind, _, rest = name.partition(":")
        base = rest.partition(":")[0]
        return self._model(base, base) if f"{kind}:" == FINE_TUNE and base else None


def _as_compared(name: str) -> str:
    # `claude-3-opus@20240229` is how one of the clouds spells `claude-3-opus-20240229`.
    return name.strip().casefold().replace("@", "-")


def canonical(name: str) -> str | None:
    """Return `name` trimmed and case folded, or None if it is not a valid model name."""
    cleaned = name.strip()
    if len(cleaned) > NAME_MAX_CHARS or not cleaned.isascii():
        return None
    folded = cleaned.casefold()
    return folded if NAME.fullmatch(folded) else None


def fits_path(name: str, *, of_row: bool) -> bool:
    """Return whether a name can be in a URL's path, and lead to no other place.

    Those of rows can have the slashes and colons that servers give them (`org/model:tag`).
    """
    return (_ROW_PATH if of_row else _PATH).fullmatch(name) is not None


def undated(name: str) -> str:
    """Return `name` without its snapshot date."""
    match = _DATED_NAME.fullmatch(name)
    return match[1] if match else name


@lru_cache(maxsize=4096)
def price_names(model_id: str) -> tuple[str, ...]:
    """Return the names under which a model's price may be listed, most specific first.

    Its own id, then the name it is a snapshot of; for a fine-tuned model
    (`ft:gpt-4o-2024-08-06:acme::abc`) the same for fine-tunes of its base model.
    """
    folded = model_id.casefold()
    base = ":".join(folded.split(":")[:2]) if folded.startswith(FINE_TUNE) else folded
    return tuple(dict.fromkeys((folded, undated(folded), base, undated(base))))
