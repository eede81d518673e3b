"""Parse what OpenAI's APIs report alike: cache writes by their lifetime.

https://developers.openai.com/api/docs/guides/prompt-caching
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.upstream import untrusted_json

_TTL: Final = "ttl_"
_30M: Final = "ttl_30m_tokens"
_12H: Final = "ttl_12h_tokens"


def cache_writes(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens that the prompt wrote to the cache, by bucket.

    The sum decides: writes without a lifetime have the default one. Those of a lifetime that is
    not known here have no price.
    """
    written = untrusted_json.part(prompt, "cache_write_tokens")
    split = untrusted_json.details(prompt, "cache_write_tokens_details")
    if not split:
        return {"cache_write_30m": written}
    longer = untrusted_json.part(split, _12H)
    others = [name for name in split if name.startswith(_TTL) and name not in (_30M, _12H)]
    other = sum(untrusted_json.part(split, name) for name in others)
    if prompt.get("cache_write_tokens") is None:
        written = untrusted_json.part(split, _30M) + longer + other
    return {
        "cache_write_30m": written - longer - other,
        "cache_write_12h": longer,
        "cache_write_other": other,
    }
