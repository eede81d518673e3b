"""What cached, written and heard tokens cost, and those of long prompts."""

from __future__ import annotations

from typing import Final

from tests.gateway.apis.reports.case import (
    ANTHROPIC_PRICES,
    GOOGLE_PRICES,
    LITELLM,
    MISTRAL_PRICES,
    Case,
    audio,
    completion,
    content,
    message,
    response,
    written,
)

TOKENS: Final = {
    # --- cache lifetimes
    "12-hour cache write priced as 30 minutes": Case(
        link="https://github.com/TheKrush/PromptFuel/releases/tag/v1.0.24",
        vendor="responses",
        answer=response(
            "gpt-6.1-terra",
            input_tokens=20_000,
            input_tokens_details=written(ttl_30m_tokens=4000, ttl_12h_tokens=12_000),
        ),
        usd="0.044",  # 4,000 x 1 + 4,000 x 1.25 + 12,000 x 2.50 + 1,000 x 5
    ),
    "12-hour cache write of a long request": Case(
        link="https://developers.openai.com/api/docs/models/gpt-6.1-terra",
        vendor="responses",
        answer=response(
            "gpt-6.1-terra",
            input_tokens=300_000,
            output_tokens=0,
            input_tokens_details=written(ttl_12h_tokens=300_000),
        ),
        usd="1.5",  # 300,000 x 5
    ),
    "12-hour cache write without a price": Case(
        link="https://developers.openai.com/api/docs/guides/prompt-caching",
        vendor="responses",
        answer=response("gpt-6-sol", input_tokens_details=written(ttl_12h_tokens=10)),
        unpriced=("cache write 12h",),
    ),
    "cache write of an unknown lifetime": Case(
        link="https://developers.openai.com/api/docs/guides/prompt-caching",
        vendor="responses",
        answer=response(
            "gpt-6.1-terra", input_tokens_details=written(ttl_30m_tokens=5, ttl_7d_tokens=10)
        ),
        unpriced=("cache write other",),
    ),
    "cache write in a chat completion": Case(
        link="https://github.com/langwatch/langwatch/issues/7048",
        vendor="chat",
        answer=completion(
            "gpt-6.1-terra",
            tokens_in=10_000,
            prompt_tokens_details={"cached_tokens": 2000, "cache_write_tokens": 4000},
        ),
        usd="0.0141",  # 4,000 x 1 + 2,000 x 0.05 + 4,000 x 1.25 + 1,000 x 5
    ),
    "one-hour cache write priced as five minutes": Case(
        link="https://github.com/earendil-works/pi/pull/5738",
        vendor="anthropic",
        answer=message(
            "claude-opus-4-8",
            input_tokens=0,
            output_tokens=0,
            cache_creation_input_tokens=1_000_000,
            cache_creation={
                "ephemeral_5m_input_tokens": 600_000,
                "ephemeral_1h_input_tokens": 400_000,
            },
        ),
        usd="7.75",  # 600,000 x 6.25 + 400,000 x 10
    ),
    "one-hour cache write of two million tokens": Case(
        link="https://github.com/jarrodwatts/claude-hud/pull/758",
        vendor="anthropic",
        answer=message(
            "claude-sonnet-5",
            input_tokens=0,
            output_tokens=0,
            cache_creation_input_tokens=2_000_000,
            cache_creation={"ephemeral_1h_input_tokens": 2_000_000},
        ),
        usd="8",  # 2,000,000 x 4
    ),
    "Anthropic's cache write of an unknown lifetime": Case(
        link="https://github.com/Portkey-AI/models/pull/627",
        vendor="anthropic",
        answer=message(
            "claude-opus-5",
            cache_creation_input_tokens=30,
            cache_creation={"ephemeral_24h_input_tokens": 20, "ephemeral_5m_input_tokens": 10},
        ),
        unpriced=("cache write other",),
    ),
    # --- audio and long prompts
    "cached audio priced as cached text": Case(
        link="https://github.com/lobehub/lobehub/pull/18647",
        vendor="google",
        answer=content(
            "gemini-2.5-flash",
            promptTokenCount=10_000,
            promptTokensDetails=audio(8000),
            cachedContentTokenCount=6000,
            cacheTokensDetails=audio(5000),
        ),
        # 1,000 x 0.30 + 3,000 x 1 + 1,000 x 0.03 + 5,000 x 0.10 + 1,000 x 2.50
        usd="0.00633",
    ),
    "cached tokens priced twice": Case(
        link="https://github.com/Artzainnn/ClaudeUsageBar/pull/93",
        vendor="google",
        answer=content("gemini-2.5-flash", promptTokenCount=5000, cachedContentTokenCount=4000),
        usd="0.00292",  # 1,000 x 0.30 + 4,000 x 0.03 + 1,000 x 2.50
    ),
    "audio at the only input price": Case(
        link=GOOGLE_PRICES,
        vendor="google",
        answer=content("gemini-3.5-flash-lite", promptTokensDetails=audio(900)),
        usd="0.0028",  # 1,000 x 0.30 + 1,000 x 2.50
    ),
    "audio without a price": Case(
        link=GOOGLE_PRICES,
        vendor="google",
        answer=content("gemini-2.5-flash-preview-tts", promptTokensDetails=audio(900)),
        unpriced=("input audio",),
    ),
    "Gemini above 200,000 tokens": Case(
        link=GOOGLE_PRICES,
        vendor="google",
        answer=content("gemini-2.5-pro", promptTokenCount=250_000),
        usd="0.64",  # 250,000 x 2.50 + 1,000 x 15
    ),
    "Haiku 5.5 above 100,000 tokens": Case(
        link=f"{ANTHROPIC_PRICES}#long-context-pricing",
        vendor="anthropic",
        answer=message("claude-haiku-5-5", input_tokens=50_000, cache_read_input_tokens=60_000),
        usd="0.0305",  # 50,000 x 0.50 + 60,000 x 0.05 + 1,000 x 2.50
    ),
    "OpenAI above 272,000 tokens": Case(
        link=f"{LITELLM}/discussions/39633",
        vendor="responses",
        answer=response("gpt-6-astra", input_tokens=300_000),
        usd="6.075",  # 300,000 x 20 + 1,000 x 75
    ),
    # --- the vendors' own examples
    "Anthropic's example of a coding session": Case(
        link=ANTHROPIC_PRICES,
        vendor="anthropic",
        answer=message("claude-opus-4-8", input_tokens=50_000, output_tokens=15_000),
        usd="0.625",  # 50,000 x 5 + 15,000 x 25
    ),
    "Anthropic's example with a cache": Case(
        link=ANTHROPIC_PRICES,
        vendor="anthropic",
        answer=message(
            "claude-opus-4-8",
            input_tokens=10_000,
            cache_read_input_tokens=40_000,
            output_tokens=15_000,
        ),
        usd="0.445",  # 10,000 x 5 + 40,000 x 0.50 + 15,000 x 25
    ),
    "Mistral's cache": Case(
        link=MISTRAL_PRICES,
        vendor="mistral",
        answer=completion(
            "mistral-small-latest",
            tokens_in=10_000,
            prompt_tokens_details={"cached_tokens": 8000},
        ),
        usd="0.00102",  # 2,000 x 0.15 + 8,000 x 0.015 + 1,000 x 0.60
    ),
}
