"""Read how much of a prompt was written to the vendor's cache, by lifetime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.upstream import untrusted_json

# https://developers.openai.com/api/docs/guides/prompt-caching
_OPENAI: Final = {"ttl_30m_tokens": "cache_write_30m", "ttl_12h_tokens": "cache_write_12h"}
# https://platform.claude.com/docs/en/build-with-claude/prompt-caching
_ANTHROPIC: Final = {
    "ephemeral_5m_input_tokens": "cache_write_5m",
    "ephemeral_1h_input_tokens": "cache_write_1h",
}


def by_openai(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens that the details of a prompt's usage report, by bucket."""
    return _by_lifetime(prompt, "cache_write_tokens", "cache_write_tokens_details", _OPENAI)


def by_anthropic(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens that a usage reports, by bucket."""
    return _by_lifetime(usage, "cache_creation_input_tokens", "cache_creation", _ANTHROPIC)


def _by_lifetime(
    usage: Mapping[str, Any], total: str, split: str, lifetimes: Mapping[str, str]
) -> dict[str, Any]:
    """Return the tokens in the fields `total` and `split`, by bucket.

    `lifetimes` are the buckets of the split's fields, that of the default lifetime first. The total
    decides: writes without a lifetime have the default one. Those of a lifetime that is not known
    here have no price.
    """
    found = untrusted_json.details(usage, split)
    written = {bucket: untrusted_json.part(found, name) for name, bucket in lifetimes.items()}
    default, of_lifetime = next(iter(written)), f"{next(iter(lifetimes)).partition('_')[0]}_"
    others = [name for name in found if name.startswith(of_lifetime) and name not in lifetimes]
    written["cache_write_other"] = sum(untrusted_json.part(found, name) for name in others)
    if usage.get(total) is not None:
        longer = sum(written.values()) - written[default]
        written[default] = untrusted_json.count(usage, total) - longer
    return written
