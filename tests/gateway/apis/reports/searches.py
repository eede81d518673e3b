"""What searches cost."""

from __future__ import annotations

from typing import Final

from tests.gateway.apis.reports.case import (
    LITELLM,
    SEARCH,
    Case,
    completion,
    content,
    message,
    response,
)

OPEN: Final = {"action": {"type": "open_page", "url": "https://example.com"}}
FIND: Final = {"action": {"type": "find_in_page", "pattern": "x"}}
SEARCHES: Final = {
    "page opened and text found are no searches": Case(
        link=f"{LITELLM}/pull/35949",
        vendor="responses",
        answer=response("gpt-5", SEARCH, OPEN, FIND, SEARCH, tools=["web_search"]),
        usd="0.03125",  # 1,000 x 1.25 + 1,000 x 10 + 2 x 10 a thousand
    ),
    "each search has a fee": Case(
        link="https://github.com/pydantic/pydantic-ai/pull/8310",
        vendor="responses",
        answer=response("gpt-4o", SEARCH, SEARCH, tools=["web_search_2025_08_26"]),
        usd="0.0325",  # 1,000 x 2.50 + 1,000 x 10 + 2 x 10 a thousand
    ),
    "call without an action is a search": Case(
        link="https://github.com/maximhq/bifrost/pull/5099",
        vendor="responses",
        answer=response("gpt-5", {"status": "completed"}, tools=["web_search"]),
        usd="0.02125",  # 1,000 x 1.25 + 1,000 x 10 + 10 a thousand
    ),
    "fee of models that had none": Case(
        link=f"{LITELLM}/issues/31316",
        vendor="responses",
        answer=response("o3-pro", SEARCH, tools=["web_search"]),
        usd="0.11",  # 1,000 x 20 + 1,000 x 80 + 10 a thousand
    ),
    "preview tool of a non-reasoning model": Case(
        link="https://community.openai.com/t/search-web-using-openai-api/1363698",
        vendor="responses",
        answer=response("gpt-4.1", SEARCH, tools=["web_search_preview"]),
        usd="0.035",  # 1,000 x 2 + 1,000 x 8 + 25 a thousand
    ),
    "preview tool of a reasoning model": Case(
        link="https://community.openai.com/t/search-web-using-openai-api/1363698",
        vendor="responses",
        answer=response("o4-mini", SEARCH, tools=["function", "web_search_preview_2025_03_11"]),
        usd="0.0155",  # 1,000 x 1.10 + 1,000 x 4.40 + 10 a thousand
    ),
    "search model without a citation": Case(
        link="https://github.com/QuantumNous/new-api/issues/1108",
        vendor="chat",
        answer=completion("gpt-4o-mini-search-preview-2025-03-11"),
        usd="0.02575",  # 1,000 x 0.15 + 1,000 x 0.60 + 25 a thousand
    ),
    "newer search model without a citation": Case(
        link="https://github.com/Gabriella439/grace/pull/148",
        vendor="chat",
        answer=completion("gpt-5-search-api"),
        usd="0.02125",  # 1,000 x 1.25 + 1,000 x 10 + 10 a thousand
    ),
    "Anthropic's searches": Case(
        link="https://github.com/AnswerDotAI/fastllm/pull/103",
        vendor="anthropic",
        answer=message("claude-sonnet-5", server_tool_use={"web_search_requests": 3}),
        usd="0.042",  # 1,000 x 2 + 1,000 x 10 + 3 x 10 a thousand
    ),
    "Gemini 2.5 has one fee for a prompt": Case(
        link="https://github.com/iyulab/TokenMeter/releases/tag/v0.13.0",
        vendor="google",
        answer=content("gemini-2.5-flash", queries=["a", "b", "c"]),
        usd="0.0378",  # 1,000 x 0.30 + 1,000 x 2.50 + 35 a thousand
    ),
    "Gemini 2.5 without listed queries": Case(
        link="https://github.com/langchain-ai/langsmith-sdk/issues/2296",
        vendor="google",
        answer=content("gemini-2.5-flash", grounding={"groundingChunks": [{"web": {"uri": "x"}}]}),
        usd="0.0378",  # 1,000 x 0.30 + 1,000 x 2.50 + 35 a thousand
    ),
    "Gemini 3 has one fee for each unique query": Case(
        link=f"{LITELLM}/pull/36397",
        vendor="google",
        answer=content(
            "gemini-3-flash-preview",
            queries=["bitcoin price USD", "ethereum price USD", "bitcoin price USD"],
        ),
        usd="0.0315",  # 1,000 x 0.50 + 1,000 x 3 + 2 x 14 a thousand
    ),
    "Gemini 3 has no fee for an empty query": Case(
        link="https://discuss.ai.google.dev/t/168136",
        vendor="google",
        answer=content(
            "gemini-3-flash-preview",
            queries=["", "best equity crowdfunding platforms 2026", "", "Wefunder vs Republic"],
        ),
        usd="0.0315",  # 1,000 x 0.50 + 1,000 x 3 + 2 x 14 a thousand
    ),
    "Gemini 3 priced as Gemini 2": Case(
        link=f"{LITELLM}/issues/24369",
        vendor="google",
        answer=content("gemini-3.8-flash", queries=["a"]),
        usd="0.0185",  # 1,000 x 0.75 + 1,000 x 3.75 + 14 a thousand
    ),
}
