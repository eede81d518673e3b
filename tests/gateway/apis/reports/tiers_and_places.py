"""What tiers and places cost."""

from __future__ import annotations

from typing import Final

from tests.gateway.apis.reports.case import (
    ANTHROPIC_PRICES,
    LITELLM,
    OPENAI_PRICES,
    SEARCH,
    Case,
    completion,
    message,
    response,
)

TIERS_AND_PLACES: Final = {
    # --- tiers
    "ultrafast priced as standard": Case(
        link=f"{LITELLM}/issues/37326",
        vendor="responses",
        answer=response("gpt-6-astra", tier="ultrafast"),
        usd="0.36",  # 1,000 x 60 + 1,000 x 300
    ),
    "ultrafast above 272,000 tokens": Case(
        link="https://vercel.com/changelog/openai-ultrafast-mode-now-available-on-ai-gateway",
        vendor="responses",
        answer=response("gpt-6-astra", tier="ultrafast", input_tokens=300_000),
        usd="36.45",  # 300,000 x 6 x 20 + 1,000 x 6 x 75
    ),
    "ultrafast of a model without a published price": Case(
        link=f"{LITELLM}/issues/37326",
        vendor="responses",
        answer=response("gpt-5.6-sol", tier="ultrafast"),
        unpriced=("service tier ultrafast",),
    ),
    "fast priced as standard": Case(
        link="https://github.com/ccusage/ccusage/issues/1705",
        vendor="responses",
        answer=response(
            "gpt-6-astra",
            tier="fast",
            input_tokens=100_000,
            output_tokens=0,
            input_tokens_details={"cached_tokens": 100_000},
        ),
        usd="0.2",  # 100,000 x 2
    ),
    "standard priced as flex": Case(
        link="https://github.com/missuo/tokens/pull/65",
        vendor="responses",
        answer=response("gpt-6-astra"),
        usd="0.06",  # 1,000 x 10 + 1,000 x 50
    ),
    "flex": Case(
        link=OPENAI_PRICES,
        vendor="responses",
        answer=response("gpt-6-astra", tier="flex"),
        usd="0.03",  # 1,000 x 5 + 1,000 x 25
    ),
    "priority priced as standard": Case(
        link=f"{LITELLM}/issues/37046",
        vendor="chat",
        answer={**completion("gpt-4o"), "service_tier": "priority"},
        usd="0.02125",  # 1,000 x 4.25 + 1,000 x 17
    ),
    "fast mode of Anthropic priced as standard": Case(
        link="https://github.com/maximhq/bifrost/pull/5088",
        vendor="anthropic",
        answer=message("claude-opus-5", speed="fast"),
        usd="0.06",  # 1,000 x 10 + 1,000 x 50
    ),
    "fast mode without a price": Case(
        link="https://octavus.ai/docs/protocol/fast-mode",
        vendor="anthropic",
        answer=message("claude-sonnet-5", speed="fast"),
        unpriced=("service tier fast",),
    ),
    # --- places
    "us inference priced as global": Case(
        link=f"{LITELLM}/pull/38369",
        vendor="anthropic",
        answer=message("claude-sonnet-4-6", input_tokens=8, output_tokens=13, inference_geo="us"),
        usd="0.0002409",  # (8 x 3 + 13 x 15) x 1.1
    ),
    "us inference by the workspace's default, caches included": Case(
        link="https://github.com/anthropics/claude-code/issues/60641",
        vendor="anthropic",
        answer=message(
            "claude-opus-4-6",
            inference_geo="us",
            cache_read_input_tokens=10_000,
            cache_creation_input_tokens=3000,
            cache_creation={"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000},
        ),
        # (1,000 x 5 + 10,000 x 0.50 + 2,000 x 6.25 + 1,000 x 10 + 1,000 x 25) x 1.1
        usd="0.06325",
    ),
    "us inference in fast mode": Case(
        link="https://github.com/maximhq/bifrost/pull/5072",
        vendor="anthropic",
        answer=message("claude-opus-5", speed="fast", inference_geo="us"),
        usd="0.066",  # (1,000 x 10 + 1,000 x 50) x 1.1
    ),
    "searches cost the same everywhere": Case(
        link=ANTHROPIC_PRICES,
        vendor="anthropic",
        answer=message(
            "claude-opus-5", inference_geo="us", server_tool_use={"web_search_requests": 2}
        ),
        usd="0.053",  # (1,000 x 5 + 1,000 x 25) x 1.1 + 2 x 10 a thousand
    ),
    "older model cannot choose a place": Case(
        link="https://platform.claude.com/docs/en/manage-claude/data-residency",
        vendor="anthropic",
        answer=message("claude-haiku-4-5-20251001", inference_geo="not_available"),
        usd="0.006",  # 1,000 x 1 + 1,000 x 5
    ),
    "place without a price": Case(
        link="https://github.com/anthropics/claude-code/issues/60641",
        vendor="anthropic",
        answer=message("claude-opus-5", inference_geo="eu"),
        unpriced=("place eu",),
    ),
    "regional host priced as global": Case(
        link=f"{LITELLM}/pull/28622",
        vendor="responses",
        host="eu",
        answer=response("gpt-5.4-2026-03-05"),
        usd="0.01925",  # (1,000 x 2.50 + 1,000 x 15) x 1.1
    ),
    "regional host in fast mode, with a search": Case(
        link=f"{LITELLM}/pull/28626",
        vendor="responses",
        host="us",
        answer=response("gpt-6.1-sol", SEARCH, tools=["web_search"], tier="fast"),
        usd="0.0364",  # (1,000 x 4 + 1,000 x 20) x 1.1 + 10 a thousand
    ),
    "regional host of an older model": Case(
        link=f"{LITELLM}/pull/31136",
        vendor="chat",
        host="eu",
        answer=completion("gpt-4o-2024-08-06"),
        usd="0.0125",  # 1,000 x 2.50 + 1,000 x 10
    ),
    "regional host without a price": Case(
        link="https://developers.openai.com/api/docs/guides/data-residency",
        vendor="responses",
        host="mars",
        answer=response("gpt-5.4"),
        unpriced=("place mars",),
    ),
    "regional host of Mistral": Case(
        link="https://docs.mistral.ai/inference/regional-inference",
        vendor="mistral",
        host="eu",
        answer=completion("mistral-small-latest"),
        usd="0.000825",  # (1,000 x 0.15 + 1,000 x 0.60) x 1.1
    ),
}
