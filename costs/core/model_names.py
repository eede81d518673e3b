"""Model names: a name matches itself and its dated snapshots, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

# The ways the vendors date a snapshot: -0613, -001, -20241022, -2024-07-18, @20241022, -05-06 and
# -09-2025 (Google's previews), -latest.
DATE: Final = r"[-@](?:\d{3,4}|\d{6}|\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{2}|\d{2}-\d{4}|latest)"
# A name as it is compared: trimmed and case folded.
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._:@/+-]*")
_DATE: Final = re.compile(DATE)
VENDORS: Final = frozenset({"anthropic", "google", "mistral", "openai"})
# Prefixes besides the providers' own names, and whose models they name; None: any of VENDORS.
# Google spells its models with `models/`; the others are LiteLLM's and Mistral's at other hosts:
# https://docs.litellm.ai/docs/providers/gemini,
# https://docs.litellm.ai/docs/providers/vertex_partner (Claude and Mistral, too),
# https://huggingface.co/mistralai
PREFIXES: Final[Mapping[str, str | None]] = {
    "gemini": "google",
    "mistralai": "mistral",
    "models": None,
    "vertex_ai": None,
}


def means(wanted: str, *, model: str, provider: str) -> bool:
    """Whether a filter for `wanted` matches a charge for `model`.

    Compared as in policies: trimmed and case-folded, with or without a prefix (`openai/`,
    `models/`). `gpt-4o` also matches `gpt-4o-2024-08-06`, but neither `gpt-4o-mini` nor `gpt-4`.
    """
    entry = without_prefix(_folded(wanted), provider)
    name = _folded(model)
    rest = name[len(entry) :]
    return name.startswith(entry) and (not rest or _DATE.fullmatch(rest) is not None)


def without_prefix(name: str, provider: str) -> str:
    """Return a folded name without the prefix of a provider's models, such as `openai/`."""
    head, slash, rest = name.partition("/")
    provider = provider.casefold()
    named = PREFIXES.get(head, "")
    is_prefix = head == provider or named == provider or (named is None and provider in VENDORS)
    return rest if slash and is_prefix else name


def covers(pattern: str, *, model: str, provider: str) -> bool:
    """Whether a row of the price list is for `model`: by `means`, or with `*` as a wildcard."""
    if "*" in pattern:
        return fnmatchcase(_folded(model), without_prefix(_folded(pattern), provider))
    return means(pattern, model=model, provider=provider)


def _folded(name: str) -> str:
    # `claude-3-opus@20240229` is how one of the clouds spells `claude-3-opus-20240229`.
    return name.strip().casefold().replace("@", "-")
