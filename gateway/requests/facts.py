"""What a request used, in the words of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from costs.core.usage import FEES, TOKEN_BUCKETS
from costs.templatetags.figures import count
from gateway.core.traces import integer, mapping, text
from gateway.models import AiRequestLog

_BUCKET_WORDS: Final = {
    "input_uncached": "input",
    "cache_read": "cache read",
    "cache_read_audio": "cache read, audio",
    "cache_write_5m": "cache write, 5 min",
    "cache_write_30m": "cache write, 30 min",
    "cache_write_1h": "cache write, 1 h",
    "cache_write_12h": "cache write, 12 h",
    "input_audio": "audio input",
    "input_image": "image input",
    "tool_prompt": "tool prompts",
    "output_text": "output",
    "output_reasoning": "reasoning",
    "output_audio": "audio output",
    "web_searches": "web searches",
    "web_search_previews": "web searches (preview)",
    "service_tier": "service tier",
    "place": "processed in",
}

# Of an answer that was cut off.
_AT_MOST: Final = {"input_tokens": "input, at most", "output_tokens": "output, at most"}


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and what is to be shown for it; markup only from `figures`."""

    name: str
    value: object


def usage_facts(row: AiRequestLog) -> list[Fact]:
    """Return the tokens of the request, by what they are priced as."""
    usage = mapping(row.usage)
    buckets = mapping(usage.get("buckets")) or usage
    facts = [
        Fact(_BUCKET_WORDS[name], count(number))
        for name in (*TOKEN_BUCKETS, *FEES)
        if (number := integer(buckets.get(name)))
    ]
    facts += [
        Fact(_BUCKET_WORDS[name], value)
        for name in ("service_tier", "place")
        if (value := text(buckets.get(name)))
    ]
    at_most = mapping(usage.get("at_most"))
    facts += [
        Fact(words, count(number))
        for name, words in _AT_MOST.items()
        if (number := integer(at_most.get(name))) is not None
    ]
    if usage.get("adds_up") is False:
        facts.append(Fact("note", "the provider's own total differs from the sum of its parts"))
    return facts


def unpriced(row: AiRequestLog) -> list[str]:
    """Return what of the request's usage had no price."""
    names = mapping(row.usage).get("unpriced")
    return [name for name in names if text(name)] if isinstance(names, list) else []
