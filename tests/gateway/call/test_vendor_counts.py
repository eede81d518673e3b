"""The vendor's own count is the bound where a limit of money has no room for the bytes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pytest

from costs.models import Hold
from gateway.call.runtime import Gateway
from gateway.core.bounds import MESSAGE_FRAME_TOKENS, REQUEST_FRAME_TOKENS
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider.records import Call
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import until
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

EUR: Final = 10**9
WORDS: Final = 8_000  # tokens of the fake vendors
TEXT: Final = ("word " * WORDS).strip()  # 40,000 bytes
CLAUDE, GEMINI = "claude-opus-4-6", "gemini-2.5-flash"
# Of input: 0.40 USD by its bytes, 0.08 by its tokens. An answer of 500 tokens: 0.02.
USD_PER_MTOK: Final = {
    "input_usd_per_mtok": Decimal(10),
    "output_usd_per_mtok": Decimal(40),
}
BY_BYTES, BY_COUNT = round(0.42 / 1.1 * EUR), round(0.10 / 1.1 * EUR)


@dataclass(frozen=True, slots=True)
class Format:
    """A request with TEXT in one client's format, and the path of the count at the vendor."""

    path: str
    body: dict[str, Any]
    count: str


TURNS: Final = {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 500}
FORMATS: Final = {
    "messages": Format("/v1/messages", {"model": CLAUDE, **TURNS}, "/v1/messages/count_tokens"),
    "generate": Format(
        f"/v1beta/models/{GEMINI}:generateContent",
        {
            "contents": [{"role": "user", "parts": [{"text": TEXT}]}],
            "generationConfig": {"maxOutputTokens": 500},
        },
        f"/v1beta/models/{GEMINI}:countTokens",
    ),
    "chat, anthropic": Format(
        "/v1/chat/completions", {"model": CLAUDE, **TURNS}, "/v1/messages/count_tokens"
    ),
    "chat, google": Format(
        "/v1/chat/completions", {"model": GEMINI, **TURNS}, f"/v1beta/models/{GEMINI}:countTokens"
    ),
}
MESSAGES: Final = FORMATS["messages"]
every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture
def fake(vendors: FakeProvider) -> FakeProvider:
    """The vendors, at prices at which the input costs much."""
    for provider, model in (("anthropic", CLAUDE), ("google", GEMINI)):
        RateFactory.create(provider=provider, model=model, **USD_PER_MTOK)
    return vendors


def limit(org: Organization, nanoeur: int, **more: Any) -> None:
    PolicyFactory.create(org=org, max_cost_per_day_nanoeur=nanoeur, wait_s=0, **more)


def send(ask: Asking, format_: Format = MESSAGES, **options: Any) -> Reply:
    return ask(format_.body, path=format_.path, **options)


def counted(fake: FakeProvider) -> list[Call]:
    """Return the counts that the vendors were asked for."""
    return [call for call in fake.calls if "count" in call.path]


def hold_of(reply: Reply) -> int:
    return Hold.objects.get(request_id=row_of(reply).id).amount_nanoeur


@every_format
def test_count_is_bound_where_bytes_have_no_room(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    limit(acme, 2 * BY_COUNT)
    reply = send(ask, FORMATS[name])
    assert reply.status == 200, reply.body
    first, answered = fake.calls
    assert first.path.endswith(FORMATS[name].count)
    assert answered.billed is not None
    assert first.billed is None
    row = row_of(reply)
    assert (row.status, row.decision["bound_by"]) == ("ok", "count_tokens")
    frames = 2 * MESSAGE_FRAME_TOKENS + REQUEST_FRAME_TOKENS
    most = WORDS + WORDS // 50 + frames
    assert WORDS * 10_000 / 1.1 < hold_of(reply) <= round((most * 10 + 500 * 40) * 1000 / 1.1) + 1
    assert (row.cost_nanoeur or 0) <= hold_of(reply)


@every_format
def test_vendor_is_not_asked_where_there_is_room(
    ask: Asking, fake: FakeProvider, acme: Organization, name: str
) -> None:
    limit(acme, 2 * BY_BYTES)
    reply = send(ask, FORMATS[name])
    assert row_of(reply).decision["bound_by"] == "bytes"
    assert counted(fake) == []


def test_count_is_sent_as_message_is_and_without_what_is_no_prompt(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    limit(acme, 2 * BY_COUNT)
    beta = "context-management-2025-06-27"
    body = {
        **MESSAGES.body,
        "stream": True,
        "system": "Be brief",
        "metadata": {"user_id": "u"},
        "stop_sequences": ["x"],
        "thinking": {"type": "disabled"},
    }
    headers = {"anthropic-beta": beta, "x-claude-code-session-id": "s"}
    ask(body, path="/v1/messages", headers=headers)
    count, message = fake.calls
    assert count.body == {
        "model": CLAUDE,
        "system": "Be brief",
        "messages": body["messages"],
        "thinking": {"type": "disabled"},
    }
    for name in ("x-api-key", "anthropic-beta", "anthropic-version"):
        assert count.headers[name] == message.headers[name]


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 400},
        {"status": 429},
        {"status": 529},
        {"reset": "after"},
        {"body": {"input_tokens": None}},
        {"body": "not JSON"},
    ],
    ids=str,
)
def test_bytes_stay_bound_where_count_fails(
    ask: Asking, fake: FakeProvider, acme: Organization, trouble: dict[str, Any]
) -> None:
    limit(acme, 2 * BY_COUNT)
    fake.answers(**trouble)
    reply = send(ask)
    assert reply.status == 429, reply.body
    row = row_of(reply)
    assert (row.code, row.decision["bound_by"]) == ("daily_cost_limit", "bytes")
    send(ask)  # the same again
    assert len(fake.calls) == 1


def test_bytes_stay_bound_where_count_takes_too_long(
    ask: Asking, fake: FakeProvider, acme: Organization, gateway: Gateway
) -> None:
    limit(acme, 2 * BY_COUNT)
    gateway.providers.input_counts.max_s = 0.2
    fake.answers(stall="headers")
    reply = send(ask)
    assert (reply.status, row_of(reply).code) == (429, "daily_cost_limit")
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    "policy",
    [
        {"blocked_models": [CLAUDE]},
        {"allowed_models": ["gpt-4o-mini"]},
        {"max_tokens_per_request": 1000},
    ],
    ids=str,
)
def test_vendor_is_not_asked_for_refused_request(
    ask: Asking, fake: FakeProvider, acme: Organization, policy: dict[str, Any]
) -> None:
    limit(acme, 2 * BY_COUNT, **policy)
    assert send(ask).status >= 400
    assert fake.calls == []


def test_vendor_is_not_asked_where_money_is_spent(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    """Not even what it is likely to cost is left: each refused request would ask for a count."""
    limit(acme, 3 * BY_COUNT // 2)
    assert send(ask).status == 200
    assert len(fake.calls) == 2
    assert ask(MESSAGES.body | {"system": "Be brief"}, path="/v1/messages").status == 429
    assert len(fake.calls) == 2


@pytest.mark.parametrize(
    ("content", "room_usd"),
    [
        ("Hello", 1.0),  # less than a cent
        ([{"type": "document", "source": {"type": "url", "url": "https://example.org/a"}}], 10.6),
    ],
    ids=["short", "read from elsewhere"],
)
def test_vendor_is_not_asked_for_what_count_does_not_bring_closer(
    ask: Asking, fake: FakeProvider, acme: Organization, content: Any, room_usd: float
) -> None:
    limit(acme, round(room_usd / 1.1 * EUR))
    turns = [{"role": "user", "content": content}]
    body = MESSAGES.body | {"messages": turns, "max_tokens": 100_000}
    reply = ask(body, path="/v1/messages")
    assert int(reply.headers["x-pulse-output-cap"]) < 100_000  # there was no room
    assert len(fake.calls) == 1


def test_count_is_asked_for_by_each_organization_itself(
    ask: Asking,
    fake: FakeProvider,
    acme: Organization,
    globex: Organization,
    make_key: Callable[..., str],
) -> None:
    for org in (acme, globex):
        limit(org, 5 * BY_COUNT // 2)
    for key in (None, make_key(globex)):
        before = len(counted(fake))
        assert [send(ask, key=key).status for _ in range(2)] == [200, 200]
        assert len(counted(fake)) == before + 1


def test_count_is_asked_for_stream_in_slices(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    limit(acme, BY_BYTES, hold="slices")
    fake.answers(input_tokens=WORDS)
    fake.answers(content="Hello")
    body = MESSAGES.body | {"stream": True, "max_tokens": 60_000}  # of 2.40 USD
    reply = ask(body, path="/v1/messages")
    assert reply.status == 200
    assert row_of(reply).decision["bound_by"] == "count_tokens"


def test_quote_does_not_ask_vendor(ask: Asking, fake: FakeProvider, acme: Organization) -> None:
    limit(acme, 2 * BY_COUNT)
    body = {"model": CLAUDE, "prompt": TEXT, "maxTokens": 500}
    assert ask(body, path="/api/ai/quote").json["allowed"] is False
    assert fake.calls == []


def test_waiting_call_asks_once(
    ask: Asking, fake: FakeProvider, acme: Organization, gateway: Gateway
) -> None:
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=19 * BY_COUNT // 10, wait_s=600)
    fake.answers(input_tokens=WORDS)
    fake.answers(until_released=True, content="Hello")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(send, ask)
        until(lambda: len(fake.calls) == 2)
        other = MESSAGES.body | {"system": "Be brief"}
        second = pool.submit(ask, other, path="/v1/messages")
        until(lambda: gateway.waiting_room.waiting_now(acme.pk) is not None)
        fake.release()
        assert (first.result().status, second.result().status) == (200, 200)
    assert len(counted(fake)) == 2
    row = row_of(second.result())
    assert (row.decision["bound_by"], "waited" in row.decision) == ("count_tokens", True)
    assert AiRequestLog.objects.count() == 2
