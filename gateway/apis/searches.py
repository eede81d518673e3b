"""What one web search of OpenAI adds to the input, by the size that its tool asks for.

https://developers.openai.com/api/docs/guides/tools-web-search
"""

from __future__ import annotations

from typing import Final

from gateway.core.usage_bound import SEARCH_TOKENS

# The sizes are guidance, without published figures: `medium` is the default.
_BY_SIZE: Final = {
    None: SEARCH_TOKENS,
    "low": SEARCH_TOKENS // 2,
    "medium": SEARCH_TOKENS,
    "high": 2 * SEARCH_TOKENS,
}
# "Web search is limited to a context window size of 128000": the most of any other size, and of a
# search without the usual budget of returned tokens.
_CONTEXT_TOKENS: Final = 128_000
_BUDGETS: Final = (None, "default")


def search_tokens(options: object) -> int:
    """Return the tokens that each search with these options adds."""
    asked = options if isinstance(options, dict) else {}
    size = asked.get("search_context_size")
    if asked.get("return_token_budget") not in _BUDGETS or not isinstance(size, str | None):
        return _CONTEXT_TOKENS
    return _BY_SIZE.get(size, _CONTEXT_TOKENS)
