"""What the buckets of a call's usage are called on pages."""

from __future__ import annotations

from typing import Final

BUCKET_WORDS: Final = {
    "input_uncached": "input",
    "cache_read": "cache read",
    "cache_read_audio": "cache read, audio",
    "cache_write_5m": "cache write, 5 min",
    "cache_write_30m": "cache write, 30 min",
    "cache_write_1h": "cache write, 1 h",
    "cache_write_12h": "cache write, 12 h",
    "cache_write_other": "cache write, unknown lifetime",
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
