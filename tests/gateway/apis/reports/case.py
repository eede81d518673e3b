"""An answer of a vendor with its price, and the shapes of such answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from costs.core.pricing import UsagePrice, price_of
from costs.core.usage import Usage
from gateway.core.model_names import price_names
from tests.costs.seeded import seeded_rates

LITELLM: Final = "https://github.com/BerriAI/litellm"
OPENAI_PRICES: Final = "https://developers.openai.com/api/docs/pricing"
ANTHROPIC_PRICES: Final = "https://platform.claude.com/docs/en/about-claude/pricing"
GOOGLE_PRICES: Final = "https://ai.google.dev/gemini-api/docs/pricing"
MISTRAL_PRICES: Final = "https://mistral.ai/pricing/api"
SEARCH: Final = {"action": {"type": "search", "query": "weather"}}
THOUSAND_EACH: Final = {"input_tokens": 1000, "output_tokens": 1000}


@dataclass(frozen=True, kw_only=True)
class Case:
    """An answer of a vendor and what it costs; `unpriced` if no source gives a price for it."""

    link: str
    vendor: str
    answer: Mapping[str, Any]
    usd: str | None = None
    unpriced: tuple[str, ...] = ()
    host: str = "global"  # the place of the host that was asked

    @property
    def model(self) -> str:
        return str(self.answer.get("model") or self.answer["modelVersion"])

    def price(self, usage: Usage) -> UsagePrice:
        if self.host != "global":
            usage = replace(usage, place=self.host)
        provider = {"responses": "openai", "chat": "openai"}.get(self.vendor, self.vendor)
        return price_of(usage, seeded_rates(provider, *price_names(self.model)))


def response(model: str, *calls: Any, tools: Any = (), tier: str = "default", **usage: Any) -> Any:
    items = [{"type": "web_search_call", "id": "ws_1", **call} for call in calls]
    return {
        "object": "response",
        "status": "completed",
        "model": model,
        "service_tier": tier,
        "tools": [{"type": kind} for kind in tools],
        "output": [*items, {"type": "message", "role": "assistant", "content": []}],
        "usage": {**THOUSAND_EACH, **usage},
    }


def completion(model: str, *, tokens_in: int = 1000, tokens_out: int = 1000, **usage: Any) -> Any:
    counts = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, **usage}
    choice = {"message": {"content": "Hello"}, "finish_reason": "stop"}
    return {"model": model, "choices": [choice], "usage": counts}


def message(model: str, **usage: Any) -> Any:
    return {"type": "message", "model": model, "content": [], "usage": {**THOUSAND_EACH, **usage}}


def content(model: str, *, queries: Any = None, grounding: Any = None, **usage: Any) -> Any:
    counts = {"promptTokenCount": 1000, "candidatesTokenCount": 1000, **usage}
    grounded = grounding or ({} if queries is None else {"webSearchQueries": queries})
    candidate = {"finishReason": "STOP", "groundingMetadata": grounded}
    return {"modelVersion": model, "candidates": [candidate], "usageMetadata": counts}


def audio(tokens: int) -> Any:
    return [{"modality": "AUDIO", "tokenCount": tokens}, {"modality": "TEXT", "tokenCount": 1}]


def written(**split: int) -> Any:
    return {
        "cached_tokens": 0,
        "cache_write_tokens": sum(split.values()),
        "cache_write_tokens_details": split,
    }
