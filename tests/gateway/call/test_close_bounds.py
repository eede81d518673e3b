"""Holds before money is short: counted tokens, and prices that only some requests can have."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import pytest

from costs.models import Hold
from orgs.models import Organization
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

EUR: Final = 10**9
TEXT: Final = ("word " * 8_000).strip()  # 8,000 tokens
GPT, SONNET = "gpt-5.4", "claude-sonnet-4-5"
BETA: Final = {"anthropic-beta": "context-1m-2025-08-07"}
MARK: Final = {"type": "ephemeral"}
LONG: Final = ("word " * 60_000).strip()  # 300,000 bytes


@pytest.fixture
def fake(vendors: FakeProvider, acme: Organization) -> FakeProvider:
    """The vendors, with prices, and a policy that leaves much room."""
    RateFactory.create(model=GPT, input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(40))
    for above, times in ((0, 1), (200_000, 2)):
        RateFactory.create(
            provider="anthropic",
            model=SONNET,
            above_input_tokens=above,
            input_usd_per_mtok=Decimal(3 * times),
            output_usd_per_mtok=Decimal(15 * times),
            cache_write_5m_usd_per_mtok=Decimal("3.75") * times,
            cache_write_1h_usd_per_mtok=Decimal(6 * times),
        )
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=100 * EUR)
    return vendors


def say(ask: Asking, text: str = TEXT, *, cap: int = 500, **more: Any) -> Reply:
    turn = {"role": "user", "content": text}
    body = {"model": GPT, "messages": [turn], "max_tokens": cap, **more}
    return ask(body, path="/v1/chat/completions")


def usd_of(reply: Reply) -> float:
    """Return the hold in USD."""
    hold: Hold = Hold.objects.get(request_id=row_of(reply).id)
    return hold.amount_nanoeur / EUR * 1.1


def bound_by(reply: Reply) -> str:
    found: str = row_of(reply).decision["bound_by"]
    return found


def test_tokens_are_counted_where_bytes_say_more_than_twice(
    ask: Asking, fake: FakeProvider
) -> None:
    reply = say(ask)
    assert bound_by(reply) == "tokens"
    assert 0.08 < usd_of(reply) - 0.02 < 0.084  # of the answer 0.02
    body = {"model": GPT, "prompt": TEXT, "maxTokens": 500}
    quoted: float = ask(body, path="/api/ai/quote").json["boundEur"]
    assert quoted * 1.1 == pytest.approx(usd_of(reply), rel=0.01)


def test_tokens_are_not_counted_where_most_is_output(ask: Asking, fake: FakeProvider) -> None:
    reply = say(ask, cap=16_000)
    assert bound_by(reply) == "bytes"
    assert 0.40 < usd_of(reply) - 0.64 < 0.402


def test_tokens_of_stream_in_slices_are_counted_for_what_it_holds(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    acme.policies.update(hold="slices")
    plain = "gpt-4.1"  # thinks nothing
    RateFactory.create(model=plain, input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(40))
    fake.answers(content="Hello")
    reply = say(ask, cap=16_000, model=plain, stream=True)
    assert bound_by(reply) == "tokens"
    assert usd_of(reply) < 0.14


def test_tokens_are_not_counted_below_one_cent(ask: Asking, fake: FakeProvider) -> None:
    assert bound_by(say(ask, "word " * 100, cap=1)) == "bytes"


def test_tokens_are_not_counted_without_limit(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    acme.policies.all().delete()
    assert bound_by(say(ask)) == "bytes"


@pytest.mark.parametrize(
    ("mark", "headers", "usd"),
    [
        (None, {}, 200_000 * 3.0),
        (MARK, {}, 200_000 * 3.75),
        (MARK | {"ttl": "1h"}, {}, 200_000 * 6.0),
        (None, BETA, 300_000 * 6.0),
        (MARK | {"ttl": "1h"}, BETA, 300_000 * 12.0),
    ],
)
def test_hold_has_prices_that_request_asks_for(
    ask: Asking,
    fake: FakeProvider,
    mark: dict[str, Any] | None,
    headers: dict[str, str],
    usd: float,
) -> None:
    block = {"type": "text", "text": LONG} | ({"cache_control": mark} if mark else {})
    body = {
        "model": SONNET,
        "messages": [{"role": "user", "content": [block]}],
        "max_tokens": 1,
    }
    reply = ask(body, path="/v1/messages", headers=headers)
    assert usd_of(reply) == pytest.approx(usd / 10**6, rel=0.001)
    assert bound_by(reply) == "bytes"
