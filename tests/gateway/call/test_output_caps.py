"""The output cap: the caller's or the model's, lowered to what is left of a limit of money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pytest

from costs.models import Hold, Period
from gateway.call.runtime import Gateway
from gateway.core.bounds import LEAST_CAP_TOKENS
from gateway.providers.catalog import load_catalog
from orgs.models import Organization
from tests.factories import BudgetFactory, PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import until

pytestmark = pytest.mark.django_db(transaction=True)

EUR: Final = 10**9
HEADER: Final = "x-pulse-output-cap"
CATALOG: Final = load_catalog(sandbox=True)
SAY: Final = [{"role": "user", "content": "Hello"}]
MUCH: Final = 10**6 * EUR


@dataclass(frozen=True, slots=True)
class Api:
    """A request of an API, its field of the cap, and the same at the vendor."""

    model: str
    path: str
    body: Mapping[str, Any]
    cap: str
    sent_cap: str
    holder: str | None = None
    requires_cap: bool = False

    def asking(self, cap: int | None = None) -> dict[str, Any]:
        """Return path and body, with a cap if given."""
        most = CATALOG.by_name[self.model].max_output_tokens
        if cap is None and self.cap == "max_tokens" and self.path == "/v1/messages":
            cap = most
        more = {} if cap is None else {self.cap: cap}
        held = {self.holder: more} if self.holder and more else more
        return {"path": self.path, "body": {"model": self.model, **self.body, **held}}

    def cap_of(self, sent: Mapping[str, Any]) -> int | None:
        """Return the cap in what the vendor received."""
        held = sent.get(self.holder, {}) if self.holder else sent
        return held.get(self.sent_cap)


SONNET: Final = "claude-sonnet-4-5-20250929"
FLASH: Final = "gemini-2.5-flash"
APIS: Final = {
    "chat": Api(
        "gpt-4o-mini", "/v1/chat/completions", {"messages": SAY}, "max_tokens", "max_tokens"
    ),
    "chat, reasoning": Api(
        "o4-mini",
        "/v1/chat/completions",
        {"messages": SAY},
        "max_completion_tokens",
        "max_completion_tokens",
    ),
    "chat, mistral": Api(
        "mistral-large-latest",
        "/v1/chat/completions",
        {"messages": SAY},
        "max_completion_tokens",
        "max_tokens",
    ),
    "chat, anthropic": Api(
        SONNET,
        "/v1/chat/completions",
        {"messages": SAY},
        "max_tokens",
        "max_tokens",
        requires_cap=True,
    ),
    "responses": Api(
        "o4-mini", "/v1/responses", {"input": "Hello"}, "max_output_tokens", "max_output_tokens"
    ),
    "messages": Api(
        SONNET, "/v1/messages", {"messages": SAY}, "max_tokens", "max_tokens", requires_cap=True
    ),
    "generate": Api(
        FLASH,
        f"/v1beta/models/{FLASH}:generateContent",
        {"contents": [{"parts": [{"text": "Hello"}]}]},
        "maxOutputTokens",
        "maxOutputTokens",
        holder="generationConfig",
    ),
    "native": Api("gpt-4o-mini", "/api/ai/request", {"prompt": "Hello"}, "maxTokens", "max_tokens"),
    "native, anthropic": Api(
        SONNET,
        "/api/ai/request",
        {"prompt": "Hello"},
        "maxTokens",
        "max_tokens",
        requires_cap=True,
    ),
}
every_api = pytest.mark.parametrize("name", APIS)


TARGET: Final = 10_000


@pytest.fixture
def fake(vendors: FakeProvider) -> FakeProvider:
    """The vendors, with prices of the models that have none yet."""
    for provider, model in (("anthropic", SONNET), ("google", FLASH), ("openai", "o4-mini")):
        RateFactory.create(
            provider=provider,
            model=model,
            input_usd_per_mtok=Decimal("0.15"),
            output_usd_per_mtok=Decimal("0.60"),
            cache_read_usd_per_mtok=Decimal("0.15"),
            cache_write_5m_usd_per_mtok=Decimal("0.15"),
            cache_write_30m_usd_per_mtok=Decimal("0.15"),
        )
    return vendors


@pytest.fixture
def limit(acme: Organization) -> Callable[[int], None]:
    """A function that sets what is left of Acme's only policy's day; much at first."""
    policy = PolicyFactory.create(org=acme, name="P", max_cost_per_day_nanoeur=MUCH)

    def leave(nanoeur: int) -> None:
        spent = sum(each.settled_nanoeur + each.overrun_nanoeur for each in Period.objects.all())
        policy.max_cost_per_day_nanoeur = spent + nanoeur
        policy.save()

    return leave


def room_for(api: Api, hold: int, cap: int, *, tokens: int = TARGET) -> int:
    """Return what a call costs at most with so many tokens of output, from its hold at a cap."""
    output_usd = 6 if api.model.startswith("mistral") else Decimal("0.60")
    return hold - int((cap - tokens) * output_usd * 1000 / Decimal("1.10"))


@every_api
def test_cap_is_models_own_where_limit_applies(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    api = APIS[name]
    most = CATALOG.by_name[api.model].max_output_tokens
    reply = ask(**api.asking())
    assert reply.status == 200
    is_written = api.cap_of(fake.calls[-1].body) is not None
    assert is_written is api.requires_cap
    assert reply.headers.get(HEADER) == (str(most) if is_written else None)
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=MUCH)
    reply = ask(**api.asking())
    trace = row_of(reply).decision
    cap = api.cap_of(fake.calls[-1].body)
    assert reply.headers[HEADER] == str(cap) == str(trace["output_cap"])
    if trace["output_cap_by"] == "context":
        model = CATALOG.by_name[api.model]
        assert cap == model.context_tokens - trace["input"]["counted_tokens"] < most
    else:
        assert cap == most


@every_api
@pytest.mark.parametrize("asked", [None, 12_000])
def test_cap_is_lowered_to_what_is_left(
    ask: Asking,
    fake: FakeProvider,
    limit: Callable[[int], None],
    name: str,
    asked: int | None,
) -> None:
    api = APIS[name]
    wide = row_of(ask(**api.asking(asked))).decision
    room = room_for(api, wide["bound_nanoeur"], wide["output_cap"])
    limit(room)
    reply = ask(**api.asking(asked))
    row = row_of(reply)
    cap = api.cap_of(fake.calls[-1].body)
    assert cap is not None
    # A vendor's own tokenizer counts a little less than the bytes, which pays for more output.
    assert TARGET <= cap <= TARGET + 100
    assert reply.headers[HEADER] == str(cap) == str(row.decision["output_cap"])
    assert row.decision["output_cap_by"] == "room"
    is_required = api.path == "/v1/messages"
    assert row.decision["output_cap_asked"] == (wide["output_cap"] if is_required else asked)
    assert row.hold_nanoeur is not None
    assert row.hold_nanoeur <= room < wide["bound_nanoeur"]


@every_api
def test_cap_is_not_lowered_below_least(
    ask: Asking, fake: FakeProvider, limit: Callable[[int], None], name: str
) -> None:
    api = APIS[name]
    wide = row_of(ask(**api.asking())).decision
    bound, cap = wide["bound_nanoeur"], wide["output_cap"]
    limit(room_for(api, bound, cap, tokens=LEAST_CAP_TOKENS))
    assert ask(**api.asking()).status == 200
    least = api.cap_of(fake.calls[-1].body)
    assert least is not None
    assert LEAST_CAP_TOKENS <= least <= LEAST_CAP_TOKENS + 100
    sent = len(fake.calls)
    limit(room_for(api, bound, cap, tokens=LEAST_CAP_TOKENS - 200))
    for asked in (None, 9_000):
        reply = ask(**api.asking(asked))
        row = row_of(reply)
        assert (row.status, row.code) == ("blocked", "daily_cost_limit")
        assert row.decision["output_cap"] == LEAST_CAP_TOKENS
        assert HEADER not in reply.headers
    assert ask(**api.asking(7_000)).status == 200  # what a caller asks for can be less
    assert len(fake.calls) == sent + 1


def test_lowered_cap_is_in_stream_and_quote(
    ask: Asking, fake: FakeProvider, limit: Callable[[int], None]
) -> None:
    api = APIS["native"]
    wide = row_of(ask(**api.asking())).decision
    limit(room_for(api, wide["bound_nanoeur"], wide["output_cap"]))
    body = api.asking()["body"]
    quoted = ask(body, path="/api/ai/quote").json
    assert quoted["allowed"]
    assert TARGET <= quoted["outputCap"] <= TARGET + 100
    reply = ask(body | {"stream": True})
    assert reply.headers[HEADER] == str(quoted["outputCap"])
    row = row_of(reply)
    assert row.hold_nanoeur == round(quoted["boundEur"] * EUR)


def test_answer_that_ends_at_lowered_cap_says_so(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    body = {"model": "gpt-4o-mini", "prompt": "one two three four five six"}
    tokens = ask(body, path="/api/ai/quote").json["inputTokens"]
    PolicyFactory.create(org=acme, max_tokens_per_request=tokens + 3)
    ours, theirs = row_of(ask(body)), row_of(ask(body | {"maxTokens": 2}))
    assert (ours.finish_reason, theirs.finish_reason) == ("length", "length")
    cuts = [(row.usage or {})["cut_by"] for row in (ours, theirs)]
    assert cuts == ["gateway", None]
    detail = ask(path=f"/api/ai/requests/{ours.id}", method="GET").json["request"]
    assert (detail["finishReason"], detail["cutBy"]) == ("length", "gateway")
    assert detail["decision"]["output_cap_by"] == "policy"


@pytest.mark.parametrize(("asked", "budget"), [(12_000, 11_999), (12_000, 5_000), (12_000, 1_024)])
def test_thinking_stays_within_lowered_cap(
    ask: Asking, fake: FakeProvider, limit: Callable[[int], None], asked: int, budget: int
) -> None:
    api = APIS["messages"]
    body = api.asking(asked)["body"] | {"thinking": {"type": "enabled", "budget_tokens": budget}}
    wide = row_of(ask(body, path=api.path)).decision
    limit(room_for(api, wide["bound_nanoeur"], wide["output_cap"]))
    assert ask(body, path=api.path).status == 200
    sent = fake.calls[-1].body
    assert sent["max_tokens"] == TARGET
    assert 1024 <= sent["thinking"]["budget_tokens"] < TARGET
    assert sent["thinking"]["budget_tokens"] == (budget if budget < TARGET else TARGET // 2)


def test_tightest_of_several_limits_decides(
    ask: Asking, fake: FakeProvider, acme: Organization, limit: Callable[[int], None]
) -> None:
    api = APIS["native"]
    wide = row_of(ask(**api.asking())).decision
    room = room_for(api, wide["bound_nanoeur"], wide["output_cap"])
    limit(room * 11 // 10)
    BudgetFactory.create(org=acme, name="B", limit_nanoeur=room)
    row = row_of(ask(**api.asking()))
    assert TARGET <= row.decision["output_cap"] <= TARGET + 100
    assert row.hold_nanoeur is not None
    assert row.hold_nanoeur <= room


def test_policys_tokens_lower_cap_that_was_not_asked_for(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, max_tokens_per_request=1_000, max_cost_per_day_nanoeur=MUCH)
    api = APIS["native"]
    row = row_of(ask(**api.asking()))
    counted = row.decision["input"]["counted_tokens"]
    assert row.decision["output_cap"] == 1_000 - counted
    assert row.decision["output_cap_by"] == "policy"
    assert ask(**api.asking(1_001)).status == 403


@every_api
def test_policys_output_tokens_lower_any_cap(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    PolicyFactory.create(org=acme, max_output_tokens=700)
    PolicyFactory.create(org=acme, max_output_tokens=9_000)
    api = APIS[name]
    for asked, sent, decided in (
        (None, 700, "policy"),
        (1_000, 700, "policy"),
        (600, 600, "caller"),
    ):
        reply = ask(**api.asking(asked))
        assert api.cap_of(fake.calls[-1].body) == sent
        assert reply.headers[HEADER] == str(sent)
        assert row_of(reply).decision["output_cap_by"] == decided


def test_lowered_cap_makes_no_request_smaller_than_asked_for(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, max_output_tokens=50, max_tokens_per_request=1_000)
    api = APIS["native"]
    assert ask(**api.asking(900)).headers[HEADER] == "50"
    refused = ask(**api.asking(1_000))
    counted = row_of(refused).decision["input"]["counted_tokens"]
    assert refused.json["error"].startswith(f"Request needs up to {counted + 1_000} tokens; ")
    assert ask(**api.asking()).headers[HEADER] == "50"


def test_calls_at_once_share_what_is_left(
    ask: Asking,
    fake: FakeProvider,
    limit: Callable[[int], None],
    gateway: Gateway,
    acme: Organization,
) -> None:
    api = APIS["native"]
    wide = row_of(ask(**api.asking())).decision
    bound, cap = wide["bound_nanoeur"], wide["output_cap"]
    least = room_for(api, bound, cap, tokens=LEAST_CAP_TOKENS)
    limit(bound + 5 * least)
    fake.answers(times=0, until_released=True)
    with ThreadPoolExecutor(16) as pool:
        sent = pool.map(lambda _: ask(**api.asking()), range(16))
        until(lambda: gateway.waiting_room.waiting_now(acme.pk) is not None)
        fake.release()
        replies = list(sent)
    assert {reply.status for reply in replies} == {200}  # some waited; a trigger saw to the limit
    caps = sorted(int(reply.headers[HEADER]) for reply in replies)
    assert LEAST_CAP_TOKENS == caps[0] < caps[-1] <= cap
    holds = sorted(Hold.objects.values_list("amount_nanoeur", flat=True))
    assert sum(holds) - wide["bound_nanoeur"] > bound + 5 * least
