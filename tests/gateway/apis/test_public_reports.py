"""What others have counted or priced wrongly, and the vendors' own examples, from their bytes.

Each case has the public report or page it is from, the bytes as the vendor sends them, and the
right amount in USD, computed by hand from the vendor's prices (in the comment, per million tokens).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import orjson
import pytest

from costs.core.pricing import UsagePrice, price_of
from costs.core.usage import Usage
from gateway.apis.chat import answer as chat
from gateway.apis.chat import mistral
from gateway.apis.generate import answer as generate
from gateway.apis.messages import answer as messages
from gateway.apis.responses import answer as responses
from gateway.core.calls import Completion
from gateway.core.model_names import price_names
from tests.costs.seeded import seeded_rates

LITELLM: Final = "https://github.com/BerriAI/litellm"
OPENAI_PRICES: Final = "https://developers.openai.com/api/docs/pricing"
ANTHROPIC_PRICES: Final = "https://platform.claude.com/docs/en/about-claude/pricing"
GOOGLE_PRICES: Final = "https://ai.google.dev/gemini-api/docs/pricing"
MISTRAL_PRICES: Final = "https://mistral.ai/pricing/api"
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


SEARCH: Final = {"action": {"type": "search", "query": "weather"}}
OPEN: Final = {"action": {"type": "open_page", "url": "https://example.com"}}
FIND: Final = {"action": {"type": "find_in_page", "pattern": "x"}}
CASES: Final = {
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
    # --- searches
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
READ: Final[Mapping[str, Callable[..., Completion]]] = {
    "responses": responses.completion_from,
    "chat": chat.completion_from,
    "anthropic": messages.completion_from,
    "google": generate.completion_from,
    "mistral": mistral.completion_from,
}
READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "responses": responses.ResponsesStreamReader,
    "chat": chat.ChatStreamReader,
    "anthropic": messages.MessagesStreamReader,
    "google": generate.GenerateStreamReader,
    "mistral": mistral.MistralStreamReader,
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=[*CASES])


def as_stream(case: Case) -> list[Any]:
    """Return the events of the same answer in a stream."""
    answer = dict(case.answer)
    if case.vendor == "responses":
        return [
            {"type": "response.created", "response": {**answer, "output": [], "usage": None}},
            {"type": "response.completed", "response": answer},
        ]
    if case.vendor == "anthropic":
        usage = dict(answer["usage"])
        output = {"output_tokens": usage["output_tokens"]}
        searches = {name: usage.pop(name) for name in ("server_tool_use",) if name in usage}
        start = {**answer, "usage": {**usage, "output_tokens": 1}}
        return [
            {"type": "message_start", "message": start},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": output | searches,
            },
        ]
    if case.vendor == "google":
        [candidate] = answer["candidates"]
        rest = {name: value for name, value in answer.items() if name != "candidates"}
        grounded = {"groundingMetadata": candidate["groundingMetadata"]}
        return [
            {**rest, "candidates": [grounded]},
            {**rest, "candidates": [grounded]},
            {**rest, "candidates": [{"finishReason": "STOP"}]},
        ]
    head = {name: answer[name] for name in ("model", "service_tier") if name in answer}
    delta = {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}
    return [{**head, **delta}, {**head, "choices": [], "usage": answer["usage"]}]


def assert_price(case: Case, usage: Usage | None) -> None:
    assert usage is not None
    price = case.price(usage)
    assert price.unpriced == case.unpriced
    if case.usd is not None:
        assert Decimal(price.nanoeur) == Decimal(case.usd) * 10**9
    assert usage.adds_up


@every_case
def test_answer_costs_what_vendor_bills(case: Case) -> None:
    report = orjson.loads(orjson.dumps(case.answer))
    assert_price(case, READ[case.vendor](report, model=case.model).usage)


@every_case
def test_streamed_answer_costs_what_vendor_bills(case: Case) -> None:
    reading = READERS[case.vendor](case.model)
    for event in orjson.loads(orjson.dumps(as_stream(case))):
        reading.feed(event)
    assert_price(case, reading.completion().usage)


@every_case
def test_case_has_link_and_price_or_reason(case: Case) -> None:
    assert case.link.startswith("https://")
    assert (case.usd is None) == bool(case.unpriced)


def test_requested_model_decides_where_answer_names_none() -> None:
    report = {**content("x", queries=["a", "b"])}
    del report["modelVersion"]
    for model, fees in (("gemini-2.5-pro", 1), ("gemini-3-pro-preview", 2), ("gemini-9", 2)):
        usage = generate.completion_from(report, model=model).usage
        assert usage is not None
        assert usage.web_searches == fees
    nameless = {**completion("x"), "model": None}
    usage = chat.completion_from(nameless, model="gpt-4o-search-preview").usage
    assert usage is not None
    assert usage.web_searches == 1


def test_queries_of_all_candidates_and_chunks_count_once() -> None:
    reading = generate.GenerateStreamReader("gemini-3.8-flash")
    for queries in (["a"], ["a", "b"], [], [" "], ["c", 3, None]):
        reading.feed(content("gemini-3.8-flash", queries=queries))
    usage = reading.completion().usage
    assert usage is not None
    assert usage.web_searches == 3
    two = content("gemini-3.8-flash", queries=["a"])
    two["candidates"] += content("gemini-3.8-flash", queries=["a", "b"])["candidates"]
    usage = generate.completion_from(two, model="gemini-3.8-flash").usage
    assert usage is not None
    assert usage.web_searches == 2


def test_request_decides_search_tool_where_answer_repeats_none() -> None:
    answer = response("gpt-4.1", SEARCH)
    del answer["tools"]
    for by_preview in (False, True):
        usage = responses.completion_from(answer, model="gpt-4.1", by_preview=by_preview).usage
        assert usage is not None
        assert (usage.web_searches, usage.web_search_previews) == (not by_preview, by_preview)


@pytest.mark.parametrize(
    "details",
    [
        {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_12h_tokens": 6}},
        {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_7d_tokens": -1}},
        {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_7d_tokens": "5"}},
        {"cache_write_tokens": 5, "cache_write_tokens_details": []},
    ],
)
def test_impossible_cache_writes_make_usage_unknown(details: Any) -> None:
    answer = response("gpt-6.1-terra", input_tokens_details=details)
    assert responses.completion_from(answer, model="gpt-6.1-terra").usage is None


def test_cache_writes_without_sum_are_added_up() -> None:
    split = {"ttl_30m_tokens": 3, "ttl_12h_tokens": 4, "ttl_7d_tokens": 5}
    answer = response("gpt-6.1-terra", input_tokens_details={"cache_write_tokens_details": split})
    usage = responses.completion_from(answer, model="gpt-6.1-terra").usage
    assert usage is not None
    assert usage.as_dict() == {
        "input_uncached": 988,
        "cache_write_30m": 3,
        "cache_write_12h": 4,
        "cache_write_other": 5,
        "output_text": 1000,
        "service_tier": "standard",
    }
