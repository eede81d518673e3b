"""The hold covers the largest bill that the body sent to the vendor allows.

Each request is sent with every field that decides the output, then with each field omitted in
turn. The largest bill is computed from the bytes that the vendor received, by its documented rules.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from struct import pack
from typing import Any, Final

import pytest

from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from costs.models import PriceFactor, Rate
from costs.prices.book import PLACE, load_price_book
from gateway.core.model_names import Model, price_names
from gateway.core.usage_bound import SEARCH_TOKENS
from gateway.providers.catalog import load_catalog
from orgs.models import Organization
from tests.factories import LONG_AGO, SOURCE, PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import tried
from tests.gateway.conftest import Asking

# Every bucket has a price of its own, far above that of text.
HIGHEST: Final = {
    "input_audio_usd_per_mtok": Decimal(40),
    "cache_write_5m_usd_per_mtok": Decimal(15),
    "cache_write_30m_usd_per_mtok": Decimal(12),
    "cache_write_1h_usd_per_mtok": Decimal(20),
    "cache_write_12h_usd_per_mtok": Decimal(25),
    "web_search_usd_per_k": Decimal(30),
    "web_search_preview_usd_per_k": Decimal(45),
}
# Of these the vendor may answer in any, each at a price of its own.
TIERS: Final = {"ultrafast": 6, "fast": 2, "flex": 1}
CATALOG: Final = load_catalog(sandbox=False)
CHAT_PATH: Final = "/v1/chat/completions"
GENERATE_PATH: Final = "/v1beta/models/gemini-2.5-flash:generateContent"
SAY: Final = [{"role": "user", "content": "Hello"}]
CHAT: Final = {
    "max_tokens": 700,
    "max_completion_tokens": 900,
    "n": 3,
    "best_of": 2,
    "reasoning_effort": "high",
    "prediction": {"type": "content", "content": "word " * 3000},
}
CHAT_OF_MISTRAL: Final = {name: value for name, value in CHAT.items() if name != "best_of"}
TRANSLATED: Final = {"max_tokens": 700, "max_completion_tokens": 900, "reasoning_effort": "high"}


@dataclass(frozen=True)
class Sent:
    """A request to a vendor's model: its fixed fields, and those that decide the output."""

    model: str
    path: str = CHAT_PATH
    fixed: Mapping[str, Any] = field(default_factory=lambda: {"messages": SAY})
    optional: Mapping[str, Any] = field(default_factory=dict)
    holder: str | None = None  # the object in the body that has the optional fields

    def bodies(self) -> Iterator[dict[str, Any]]:
        """Yield the whole body, one without each optional field, and one without any."""
        for omitted in (set(), *({name} for name in self.optional), set(self.optional)):
            kept = {name: value for name, value in self.optional.items() if name not in omitted}
            held = {self.holder: kept} if self.holder else kept
            yield {"model": self.model, **self.fixed, **held}


def generate(model: str, **config: Any) -> Sent:
    return Sent(
        model,
        path=f"/v1beta/models/{model}:generateContent",
        fixed={"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
        optional=config,
        holder="generationConfig",
    )


def messages(model: str, budget: int) -> Sent:
    thinking = {"type": "enabled", "budget_tokens": budget}
    return Sent(
        model,
        path="/v1/messages",
        fixed={"messages": SAY, "max_tokens": 2000},
        optional={"thinking": thinking, "temperature": 1},
    )


def native(model: str) -> Sent:
    return Sent(
        model, path="/api/ai/request", fixed={"prompt": "Hello"}, optional={"maxTokens": 700}
    )


REQUESTS: Final = {
    "chat, openai": Sent("gpt-4o-mini", optional=CHAT),
    "chat, openai, reasoning": Sent("o3", optional=CHAT),
    "chat, mistral": Sent("mistral-small-latest", optional=CHAT_OF_MISTRAL),
    "chat, anthropic": Sent("claude-opus-4-6", optional=TRANSLATED),
    "chat, google with budgets": Sent("gemini-2.5-flash", optional=TRANSLATED),
    "chat, google with levels": Sent("gemini-3-pro-preview", optional=TRANSLATED),
    "responses": Sent(
        "gpt-4o-mini",
        path="/v1/responses",
        fixed={"input": "Hello"},
        optional={"max_output_tokens": 700, "reasoning": {"effort": "high"}},
    ),
    **{
        f"messages, {budget}": messages("claude-opus-4-6", budget)
        for budget in (1999, 2000, 30_000)
    },
    **{
        f"generate, {budget}": generate(
            "gemini-2.5-flash",
            maxOutputTokens=700,
            candidateCount=3,
            thinkingConfig={"thinkingBudget": budget},
        )
        for budget in (-1, 0, 699, 700, 24_576)
    },
    "generate, other spelling": generate(
        "gemini-2.5-flash",
        max_output_tokens=700,
        candidate_count=3,
        thinking_config={"thinking_budget": 24_576},
    ),
    "native, openai": native("gpt-4o-mini"),
    "native, mistral": native("mistral-small-latest"),
    "native, anthropic": native("claude-opus-4-6"),
    "native, google": native("gemini-2.5-flash"),
}


MARK: Final = {"type": "ephemeral"}
HOUR: Final = {"type": "ephemeral", "ttl": "1h"}
# A WAV file whose header has one sample a second: 1,000 bytes are 1,000 s, 10 to 32 tokens each.
LYING_WAV: Final = (
    b64encode(
        b"RIFF"
        + pack("<I4s4sIHHIIHH4sI", 1036, b"WAVE", b"fmt ", 16, 1, 1, 1, 1, 1, 8, b"data", 1000)
    ).decode()
    + b64encode(bytes(1000)).decode()
)
ANTHROPIC_TOKENS: Final = 15  # of U+FDFA, which has 3 bytes, by its published tokenizer


def turn(*parts: Any, **message: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts), **message}], "max_tokens": 1}


def sound(given: Any) -> dict[str, Any]:
    return turn({"type": "input_audio", "input_audio": given})


def marked(block: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t", "content": [block]}


def at(model: str, path: str, body: dict[str, Any]) -> Sent:
    return Sent(model, path=path, fixed=body)


LONG: Final = {"type": "text", "text": "word " * 20_000, "cache_control": HOUR}
GROWS: Final = "\ufdfa" * 10_000
FILM: Final = {"fileData": {"fileUri": "https://youtu.be/x", "mimeType": "video/mp4"}}
SILENCE: Final = {"inlineData": {"mimeType": "audio/ogg", "data": "AAAA"}}
# Requests whose bytes say nothing about their tokens, and a bill that the vendor can send.
INPUTS: Final = {
    "sound by url": (
        at("voxtral-small-latest", CHAT_PATH, sound("https://example.com/hour.mp3")),
        Usage(input_audio=45_000),
    ),
    "sound by url in an object": (
        at("voxtral-small-latest", CHAT_PATH, sound({"data": "https://example.com/hour.mp3"})),
        Usage(input_audio=45_000),
    ),
    "header with one sample a second": (
        at("gpt-audio", CHAT_PATH, sound({"data": LYING_WAV, "format": "wav"})),
        Usage(input_audio=10 * 1000),
    ),
    "compressed silence": (
        at("gpt-audio", CHAT_PATH, sound({"data": "AAAA", "format": "mp3"})),
        Usage(input_audio=100_000),
    ),
    "film by url": (
        at(
            "voxtral-small-latest", CHAT_PATH, turn({"type": "video_url", "video_url": "https://x"})
        ),
        Usage(input_audio=100_000),
    ),
    "silence at google": (
        at("gemini-2.5-flash", GENERATE_PATH, {"contents": [{"parts": [SILENCE]}]}),
        Usage(input_audio=500_000),
    ),
    "film at google": (
        at("gemini-2.5-flash", GENERATE_PATH, {"contents": [{"parts": [FILM]}]}),
        Usage(input_image=500_000, input_audio=500_000),
    ),
    "document by url": (
        at("mistral-small-latest", CHAT_PATH, turn({"type": "document_url", "document_url": "x"})),
        Usage(input_image=100_000),
    ),
    "results of a search": (
        at("gpt-4o-search-preview", CHAT_PATH, {"messages": SAY, "max_tokens": 1}),
        Usage(input_uncached=SEARCH_TOKENS, web_searches=1),
    ),
    "searches by both tools": (
        at(
            "gpt-4o-mini",
            "/v1/responses",
            {
                "input": "Hello",
                "max_output_tokens": 16,
                "max_tool_calls": 3,
                "tools": [{"type": "web_search"}, {"type": "web_search_preview"}],
            },
        ),
        Usage(input_uncached=3 * SEARCH_TOKENS, web_search_previews=3),
    ),
    "conversation compacted within the answer": (
        at(
            "gpt-4o-mini",
            "/v1/responses",
            {
                "input": "word " * 20_000,
                "max_output_tokens": 16_000,
                "context_management": [{"type": "compaction"}],
            },
        ),
        Usage(input_uncached=2 * 100_000 + 16_000, output_text=2 * 16_000),
    ),
    "cache by default at openai": (
        at("gpt-4o-mini", "/v1/responses", {"input": "word " * 20_000, "max_output_tokens": 16}),
        Usage(cache_write_30m=100_000),
    ),
    **{
        f"cache mark, {path}": (
            at("claude-opus-4-6", path, turn(LONG | {"cache_control": MARK})),
            Usage(cache_write_5m=100_000),
        )
        for path in ("/v1/messages", CHAT_PATH)
    },
    "cache mark of the whole prompt": (
        at(
            "claude-opus-4-6",
            "/v1/messages",
            turn({"type": "text", "text": "word " * 20_000}) | {"cache_control": MARK},
        ),
        Usage(cache_write_5m=100_000),
    ),
    "input that fills its context": (
        at("claude-haiku-4-5", "/v1/messages", turn({"type": "text", "text": "word " * 60_000})),
        Usage(input_uncached=200_000),
    ),
    "cache for 12 hours": (
        at(
            "gpt-4o-mini",
            "/v1/responses",
            {
                "input": "word " * 20_000,
                "max_output_tokens": 16,
                "prompt_cache_options": {"ttl": "12h"},
            },
        ),
        Usage(cache_write_12h=100_000),
    ),
    **{
        f"{tier} tier": (
            at(
                "gpt-4o-mini",
                "/v1/responses",
                {"input": "Hello", "max_output_tokens": 700, "service_tier": tier},
            ),
            Usage(input_uncached=5, output_text=700, service_tier=tier),
        )
        for tier in TIERS
    },
    "fast mode in the US": (
        at(
            "claude-opus-4-6",
            "/v1/messages",
            {"messages": SAY, "max_tokens": 700, "speed": "fast", "inference_geo": "us"},
        ),
        Usage(input_uncached=5, output_text=700, service_tier="fast", place="us"),
    ),
    "compatibility characters": (
        at("claude-opus-4-6", "/v1/messages", turn({"type": "text", "text": GROWS})),
        Usage(input_uncached=ANTHROPIC_TOKENS * 10_000),
    ),
    "compatibility characters, translated": (
        at("claude-opus-4-6", CHAT_PATH, turn({"type": "text", "text": GROWS})),
        Usage(input_uncached=ANTHROPIC_TOKENS * 10_000),
    ),
    **{
        f"hour mark in {name}": (
            at("claude-opus-4-6", "/v1/messages", turn(block)),
            Usage(cache_write_1h=100_000),
        )
        for name, block in {
            "result": marked(LONG),
            "search result": {
                **{"type": "search_result", "source": "s", "title": "t"},
                "content": [LONG],
            },
            "search result in result": marked({"type": "search_result", "content": [LONG]}),
            "document": {"type": "document", "source": {"type": "content", "content": [LONG]}},
        }.items()
    },
}


def largest_output(body: Mapping[str, Any], *, cap: int) -> int:
    """Return the most output tokens that a vendor can bill for a body; `cap` is the model's own."""
    config = body.get("generationConfig", {})
    caps = [body.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
    given = [number for number in (*caps, config.get("maxOutputTokens")) if number is not None]
    choices = [body.get("n"), body.get("best_of"), config.get("candidateCount"), 1]
    budget = config.get("thinkingConfig", {})  # Google's SDK writes the other spelling
    budget = budget.get("thinkingBudget", budget.get("thinking_budget", 0))
    thinking = max(body.get("thinking", {}).get("budget_tokens", 0), budget)
    predicted = len(body.get("prediction", {}).get("content", "")) // 5
    most: int = max(given, default=cap)
    beyond: int = thinking if thinking >= most else 0
    times: int = max(each for each in choices if each is not None)
    return (most + beyond + predicted) * times


def _price_tiers(model: Model) -> None:
    for tier, times in TIERS.items():
        RateFactory.create(
            provider=model.provider,
            model=model.id,
            service_tier=tier,
            input_usd_per_mtok=Decimal(times),
            output_usd_per_mtok=Decimal(times) * 4,
        )


@pytest.fixture
def fake(vendors: FakeProvider) -> FakeProvider:
    """The vendors; all models that are asked for have a price."""
    asked = [*REQUESTS.values(), *(request for request, _ in INPUTS.values())]
    for model in {CATALOG.find(each.model) for each in asked}:
        assert model is not None
        if not Rate.objects.filter(provider=model.provider, model=model.id).exists():
            RateFactory.create(provider=model.provider, model=model.id, **HIGHEST)
        if not Rate.objects.filter(model=model.id, service_tier="fast").exists():
            _price_tiers(model)
    PriceFactor.objects.create(
        provider="anthropic", kind=PLACE, place="us", factor=2, starts_at=LONG_AGO, source=SOURCE
    )
    return vendors


@pytest.mark.parametrize("name", REQUESTS)
def test_hold_covers_largest_bill_whichever_field_is_omitted(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    asked, prices = REQUESTS[name], load_price_book()
    model = CATALOG.find(asked.model)
    assert model is not None
    for limit in (None, 10**15):  # where a limit applies, the gateway writes a cap
        if limit is not None:
            PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=limit)
        for body in asked.bodies():
            reply = ask(body, path=asked.path)
            [hold] = tried(reply).holds
            rates = prices.rates_for(price_names(model.id), model.provider, hold.held_at)
            assert rates is not None
            tokens = largest_output(fake.calls[-1].body, cap=model.max_output_tokens)
            bill = cost_nanoeur(Usage(input_uncached=1, output_text=tokens), rates)
            assert bill <= hold.amount_nanoeur, (body, fake.calls[-1].body)


@pytest.mark.parametrize("name", INPUTS)
def test_hold_covers_input_whose_bytes_say_nothing(
    ask: Asking, fake: FakeProvider, name: str
) -> None:
    (asked, usage), prices = INPUTS[name], load_price_book()
    model = CATALOG.find(asked.model)
    assert model is not None
    body = next(asked.bodies())
    reply = ask(body, path=asked.path)
    [hold] = tried(reply).holds
    rates = prices.rates_for(price_names(model.id), model.provider, hold.held_at)
    assert rates is not None
    assert cost_nanoeur(usage, rates) <= hold.amount_nanoeur


def test_missing_cap_of_messages_is_refused_as_by_vendor(ask: Asking, fake: FakeProvider) -> None:
    thinking = {"type": "enabled", "budget_tokens": 30_000}
    body = {"model": "claude-opus-4-6", "messages": SAY, "thinking": thinking}
    for refused in (body, body | {"max_tokens": None}):
        reply = ask(refused, path="/v1/messages")
        assert reply.status == 400
        assert reply.json["type"] == "error"
        assert reply.json["error"]["type"] == "invalid_request_error"
        assert reply.json["error"]["message"].startswith("max_tokens must be given")
    assert fake.calls == []


def test_token_limit_counts_thinking_beyond_cap(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, max_tokens_per_request=5000)
    thinking = {"type": "enabled", "budget_tokens": 30_000}
    body = {"model": "claude-opus-4-6", "messages": SAY, "max_tokens": 2000, "thinking": thinking}
    reply = ask(body, path="/v1/messages")
    assert reply.headers["x-pulse-error-code"] == "token_limit"
    assert fake.calls == []
