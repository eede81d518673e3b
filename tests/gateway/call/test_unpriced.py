"""Tiers, places, cache lifetimes and searches have their own price in hold and charge, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from costs.models import CostEvent, Period, PriceFactor
from costs.prices.book import PLACE
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.factories import LONG_AGO, SOURCE, PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of, tried
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

ASTRA: Final = "gpt-6-astra"
OPUS: Final = "claude-opus-4-8"
SONNET: Final = "claude-sonnet-5"
HAIKU: Final = "claude-haiku-4-5-20251001"
FLASH: Final = "gemini-2.5-flash"
PRICES: Final = {
    "input_usd_per_mtok": Decimal(10),
    "output_usd_per_mtok": Decimal(50),
    "cache_write_30m_usd_per_mtok": Decimal("12.5"),
    "cache_write_5m_usd_per_mtok": Decimal("12.5"),
}
SIX_TIMES: Final = {name: usd * 6 for name, usd in PRICES.items()}
SAY: Final = [{"role": "user", "content": "Hello"}]
LIMIT_NANOEUR: Final = 10**15


@pytest.fixture
def fake(vendors: FakeProvider) -> FakeProvider:
    """The vendors, and prices of all kinds for their models."""
    for provider, model in (
        ("openai", ASTRA), ("anthropic", OPUS), ("anthropic", HAIKU), ("anthropic", SONNET),
        ("google", FLASH),
    ):  # fmt: skip
        RateFactory.create(provider=provider, model=model, **PRICES)
    RateFactory.create(provider="openai", model=ASTRA, service_tier="ultrafast", **SIX_TIMES)
    RateFactory.create(provider="anthropic", model=OPUS, service_tier="fast", **SIX_TIMES)
    RateFactory.create(provider="google", model=FLASH, service_tier="flex", **PRICES)
    for provider, model, place in (("anthropic", OPUS, "us"), ("openai", "gpt-6*", "eu")):
        PriceFactor.objects.create(
            provider=provider, model=model, kind=PLACE, place=place,
            factor=Decimal("1.1"), starts_at=LONG_AGO, source=SOURCE,
        )  # fmt: skip
    return vendors


def responses(ask: Asking, **more: Any) -> Reply:
    body = {"model": ASTRA, "input": "Hello", "max_output_tokens": 100, **more}
    return ask(body, path="/v1/responses")


def messages(ask: Asking, **more: Any) -> Reply:
    body = {"model": OPUS, "messages": SAY, "max_tokens": 100, **more}
    return ask(body, path="/v1/messages")


def generate(ask: Asking, **more: Any) -> Reply:
    body = {"contents": [{"parts": [{"text": "Hello"}]}], **more}
    return ask(body, path=f"/v1beta/models/{FLASH}:generateContent")


def hold_of(reply: Reply) -> int:
    assert reply.status == 200, reply.body
    [hold] = tried(reply).holds
    return hold.amount_nanoeur


def limited(acme: Organization) -> None:
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=LIMIT_NANOEUR)


Send = Callable[..., Reply]
# What is asked for, and how many times as much it holds as the same request without it.
ASKED: Final[dict[str, tuple[Send, dict[str, Any], Decimal]]] = {
    "ultrafast": (responses, {"service_tier": "ultrafast"}, Decimal(6)),
    "fast": (messages, {"speed": "fast"}, Decimal(6)),
    "us": (messages, {"inference_geo": "us"}, Decimal("1.1")),
    "fast in us": (messages, {"speed": "fast", "inference_geo": "us"}, Decimal("6.6")),
    "flex": (generate, {"serviceTier": "SERVICE_TIER_FLEX"}, Decimal(1)),
}
# What has no price: it is named in the refusal, and on the row where no limit applies.
UNPRICED: Final[dict[str, tuple[Send, dict[str, Any], str]]] = {
    "tier": (responses, {"service_tier": "warp"}, "service tier warp"),
    "tier of Google": (generate, {"serviceTier": "priority"}, "service tier priority"),
    "speed": (messages, {"model": SONNET, "speed": "fast"}, "service tier fast"),
    "place": (messages, {"inference_geo": "mars"}, "place mars"),
    "place of an older model": (messages, {"model": HAIKU, "inference_geo": "us"}, "place us"),
    "hour": (
        messages,
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        "cache write 1h",
    ),
    "12 hours": (responses, {"prompt_cache_options": {"ttl": "12h"}}, "cache write 12h"),
    "preview": (
        responses,
        {"tools": [{"type": "web_search_preview"}], "max_tool_calls": 1},
        "web search previews",
    ),
    "search": (
        responses,
        {"tools": [{"type": "web_search"}], "max_tool_calls": 1},
        "web searches",
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_tier_and_place_are_held_at_own_price(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    send, asked, times = ASKED[name]
    limited(acme)
    plain, held = hold_of(send(ask)), hold_of(send(ask, **asked))
    assert abs(held - plain * times) <= 8
    for field, value in asked.items():
        assert fake.calls[-1].body[field] == value


@pytest.mark.parametrize("name", UNPRICED)
def test_what_has_no_price_is_refused_where_limit_applies(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    send, asked, what = UNPRICED[name]
    assert hold_of(send(ask, **asked)) > 0  # no limit applies
    limited(acme)
    reply = send(ask, **asked)
    assert reply.headers["x-pulse-error-code"] == "model_unpriced"
    assert f"has no price for {what}; an administrator must set one" in str(reply.json)
    assert len(fake.calls) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_dearer_answer_is_charged_right_and_overruns(
    ask: Asking, fake: FakeProvider, acme: Organization, stream: bool
) -> None:
    limited(acme)
    used = {"input_tokens": 20, "output_tokens": 100}
    fake.answers(vendor="openai", service_tier="ultrafast", usage=used)
    reply = responses(ask, stream=stream)
    expected = (20 * 60 + 100 * 300) / Decimal("1.1") * 1000
    assert_overrun(reply, expected)
    fake.answers(vendor="anthropic", usage=used | {"speed": "fast", "inference_geo": "us"})
    reply = messages(ask, stream=stream)
    assert_overrun(reply, expected * Decimal("1.1"))
    rows = AiRequestLog.objects.filter(org=acme)
    above = sum((row.cost_nanoeur or 0) - (row.hold_nanoeur or 0) for row in rows)
    assert {period.overrun_nanoeur for period in Period.objects.filter(org=acme)} == {above}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_place_that_was_asked_for_counts_where_answer_names_none(
    ask: Asking, fake: FakeProvider, stream: bool
) -> None:
    costs = []
    for asked in ({}, {"inference_geo": "us"}):
        fake.answers(vendor="anthropic", usage={"input_tokens": 20, "output_tokens": 100})
        costs.append(row_of(messages(ask, stream=stream, **asked)).cost_nanoeur or 0)
    assert abs(costs[1] - costs[0] * Decimal("1.1")) <= 1


def assert_overrun(reply: Reply, expected_nanoeur: Decimal) -> None:
    hold, row = hold_of(reply), row_of(reply)
    assert row.cost_nanoeur is not None
    assert 0 <= row.cost_nanoeur - expected_nanoeur < 1
    event = CostEvent.objects.get(request_id=row.id)
    assert (event.amount_nanoeur, event.estimated_nanoeur) == (row.cost_nanoeur, 0)
    assert row.usage is not None
    assert row.usage["overrun_nanoeur"] == row.cost_nanoeur - hold > 0
    assert not row.usage["unpriced"]


def test_answer_without_price_is_charged_as_estimate_and_marked(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    limited(acme)
    split = {"ttl_30m_tokens": 1, "ttl_12h_tokens": 2, "ttl_7d_tokens": 3}
    details = {"cached_tokens": 0, "cache_write_tokens": 6, "cache_write_tokens_details": split}
    usage = {"input_tokens": 20, "output_tokens": 2, "input_tokens_details": details}
    fake.answers(vendor="openai", usage=usage)
    row = row_of(responses(ask))
    assert row.usage is not None
    assert row.usage["unpriced"] == ["cache write 12h", "cache write other"]
    fake.answers(vendor="anthropic", usage=usage | {"inference_geo": "mars"})
    row = row_of(messages(ask))
    assert row.usage is not None
    assert row.usage["unpriced"] == ["place mars"]
    event = CostEvent.objects.get(request_id=row.id)
    assert event.estimated_nanoeur == event.amount_nanoeur > 0


def test_standard_place_is_written_where_model_has_places(ask: Asking, fake: FakeProvider) -> None:
    for path, text in (
        ("/api/ai/request", {"prompt": "Hello"}),
        ("/v1/messages", {"messages": SAY}),
    ):
        cap = {"max_tokens": 9} if "messages" in text else {}
        for model, expected in ((OPUS, "global"), (HAIKU, None)):
            assert ask({"model": model, **text, **cap}, path=path).status == 200
            assert fake.calls[-1].body.get("inference_geo") == expected
    assert messages(ask, inference_geo=None).status == 200
    assert fake.calls[-1].body["inference_geo"] == "global"


def test_speed_is_refused_where_model_has_only_one(ask: Asking, fake: FakeProvider) -> None:
    reply = messages(ask, model=HAIKU, speed="fast")
    assert reply.status == 400
    assert f"speed must be standard for model {HAIKU}" in str(reply.json)
    assert messages(ask, model=HAIKU, speed="standard").status == 200


def at_place(gateway: Gateway, place: str) -> None:
    config = replace(gateway.providers.vendors["openai"], place=place)
    gateway.providers.vendors = {**gateway.providers.vendors, "openai": config}


@pytest.mark.parametrize("path", ["/api/ai/request", "/v1/chat/completions"])
def test_region_of_host_is_held_and_charged(
    ask: Asking, gateway: Gateway, fake: FakeProvider, acme: Organization, path: str
) -> None:
    limited(acme)
    text: dict[str, Any] = {"prompt": "Hello"} if path == "/api/ai/request" else {"messages": SAY}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    amounts, expected = [], []
    for place in ("global", "eu"):
        at_place(gateway, place)
        fake.answers(vendor="openai", usage=usage)
        reply = ask({"model": ASTRA, **text}, path=path)
        row = row_of(reply)
        amounts.append((hold_of(reply), row.cost_nanoeur or 0))
        event = CostEvent.objects.get(request_id=row.id)
        assert event.usage is not None
        assert event.usage.get("place", "global") == place
        quoted = ask({"model": ASTRA, "prompt": "Hello"}, path="/api/ai/quote")
        expected.append(Decimal(f"{quoted.json['expectedEur']}"))
    assert abs(expected[1] / expected[0] - Decimal("1.1")) < Decimal("0.001")
    for plain, regional in zip(*amounts, strict=True):
        assert abs(regional - plain * Decimal("1.1")) <= 2
    at_place(gateway, "mars")
    reply = ask({"model": ASTRA, **text}, path=path)
    assert "has no price for place mars" in str(reply.json)
