"""Streams whose hold grows with their output, and ends them where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pytest
from django.db import transaction
from django.db.models import F

from costs.models import Hold, Period
from gateway.call.runtime import Gateway
from gateway.call.slices.choice import SLICE_TOKENS
from gateway.models import AiRequestLog
from gateway.providers.tokens import count
from orgs.models import Organization
from tests.factories import BudgetFactory, PolicyFactory, RateFactory
from tests.fake_provider import FOREVER
from tests.fake_provider.records import Call
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.call.test_draining import running
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import until
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

EUR: Final = 10**9
MUCH: Final = 10**6 * EUR
SAY: Final = [{"role": "user", "content": "Hello"}]
SONNET: Final = "claude-sonnet-4-5-20250929"
FLASH: Final = "gemini-2.5-flash"
CAP: Final = 8000
# An event has so many tokens that few of them are a slice.
WORD: Final = "and," * 20
LONG: Final = {"content": " ".join([WORD] * 400), "drip_s": 0.02, "times": FOREVER}


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed request, and how its client reads the end of the answer."""

    path: str
    body: dict[str, Any]
    ended: Callable[[bytes], object]
    end: object

    @property
    def model(self) -> str:
        return str(self.body.get("model", FLASH))


def datas(body: bytes) -> list[Any]:
    """Return the data of each event, as JSON if it is."""
    *blocks, rest = body.replace(b"\r\n", b"\n").split(b"\n\n")
    assert rest == b""
    lines = [line for block in blocks for line in block.split(b"\n") if line.startswith(b"data:")]
    return [_json(line.removeprefix(b"data:").strip()) for line in lines]


def _json(data: bytes) -> Any:
    return data if data == b"[DONE]" else json.loads(data)


def chat_end(body: bytes) -> object:
    *_, last, done = datas(body)
    [choice] = last["choices"]
    assert (last["object"], choice["index"], choice["delta"]) == ("chat.completion.chunk", 0, {})
    return choice["finish_reason"], done


def response_end(body: bytes) -> object:
    events = datas(body)
    kinds = [event["type"].removeprefix("response.") for event in events[-4:]]
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    shown = "".join(event["delta"] for event in events if event["type"].endswith("text.delta"))
    response = events[-1]["response"]
    [item] = response["output"]
    assert events[-2]["item"] == item
    assert (item["status"], response["status"]) == ("incomplete", "incomplete")
    assert item["content"][0]["text"] == events[-4]["text"] == shown
    assert response["usage"]["output_tokens"] > SLICE_TOKENS
    return kinds, response["incomplete_details"]["reason"]


def message_end(body: bytes) -> object:
    stopped, delta, end = datas(body)[-3:]
    assert (stopped["type"], end["type"]) == ("content_block_stop", "message_stop")
    assert delta["usage"]["output_tokens"] > SLICE_TOKENS
    return delta["delta"]["stop_reason"]


def content_end(body: bytes) -> object:
    chunks = json.loads(body) if body.startswith(b"[") else datas(body)
    return chunks[-1]["candidates"][0]["finishReason"]


def native_end(body: bytes) -> object:
    done = Reply(200, {}, body).events[-1]
    return done.name, done.data["finishReason"], done.data["outputTokens"]


CHAT: Final = {"messages": SAY, "max_tokens": CAP, "stream": True}
NATIVE: Final = {"prompt": "Hello", "maxTokens": CAP, "stream": True}
CONTENTS: Final = {
    "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
    "generationConfig": {"maxOutputTokens": CAP, "thinkingConfig": {"thinkingBudget": 0}},
}
CHAT_END: Final = ("length", b"[DONE]")
GENERATE: Final = f"/v1beta/models/{FLASH}:streamGenerateContent"
RESPONSE_END: Final = (
    ["output_text.done", "content_part.done", "output_item.done", "incomplete"],
    "max_output_tokens",
)
NATIVE_END: Final = ("done", "length", None)
CHATS: Final = "/v1/chat/completions"
STREAMS: Final = {
    "chat": Stream(CHATS, {"model": "gpt-4o-mini", **CHAT}, chat_end, CHAT_END),
    "chat, mistral": Stream(CHATS, {"model": "mistral-large-latest", **CHAT}, chat_end, CHAT_END),
    "chat, anthropic": Stream(CHATS, {"model": SONNET, **CHAT}, chat_end, CHAT_END),
    "responses": Stream(
        "/v1/responses",
        {"model": "gpt-4o-mini", "input": "Hello", "max_output_tokens": CAP, "stream": True},
        response_end,
        RESPONSE_END,
    ),
    "messages": Stream("/v1/messages", {"model": SONNET, **CHAT}, message_end, "max_tokens"),
    "generate": Stream(f"{GENERATE}?alt=sse", CONTENTS, content_end, "MAX_TOKENS"),
    "generate, array": Stream(GENERATE, CONTENTS, content_end, "MAX_TOKENS"),
    "native": Stream("/api/ai/request", {"model": "gpt-4o-mini", **NATIVE}, native_end, NATIVE_END),
    "native, anthropic": Stream(
        "/api/ai/request", {"model": SONNET, **NATIVE}, native_end, NATIVE_END
    ),
}
every_stream = pytest.mark.parametrize("name", STREAMS)


@pytest.fixture
def fake(vendors: FakeProvider) -> FakeProvider:
    """The vendors, with a price of a euro for a million tokens of output."""
    for provider, model in (("anthropic", SONNET), ("google", FLASH)):
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


def token_nanoeur(decision: dict[str, Any]) -> float:
    """Return the price of a token of output, by the two bounds of a call in slices."""
    more_tokens = decision["output_cap"] - decision["slice_tokens"]
    return float((decision["whole_bound_nanoeur"] - decision["bound_nanoeur"]) / more_tokens)


@pytest.fixture
def leave(acme: Organization) -> Callable[[int], None]:
    """A function that sets what is left of the day by Acme's policy, which holds in slices."""
    policy = PolicyFactory.create(
        org=acme, name="P", max_cost_per_day_nanoeur=MUCH, hold="slices", wait_s=0
    )

    def left(nanoeur: int) -> None:
        spent = sum(each.settled_nanoeur + each.overrun_nanoeur for each in Period.objects.all())
        policy.max_cost_per_day_nanoeur = spent + nanoeur
        policy.save()

    return left


def decided(ask: Asking, stream: Stream) -> tuple[AiRequestLog, dict[str, Any]]:
    """Return the row of a short answer, and what was decided for it."""
    row = row_of(ask(stream.body, path=stream.path))
    return row, row.decision


def written(call: Call) -> int:
    """Return how many tokens the vendor has written."""
    return count(" ".join([WORD] * call.written_tokens), "o200k_base")


@every_stream
def test_stream_without_room_to_grow_is_ended_as_at_its_cap(
    ask: Asking, fake: FakeProvider, leave: Callable[[int], None], name: str
) -> None:
    stream = STREAMS[name]
    _, decision = decided(ask, stream)
    assert (decision["hold"], decision["slice_tokens"]) == ("slices", SLICE_TOKENS)
    assert decision["output_cap"] == CAP
    token = token_nanoeur(decision)
    room = round(decision["bound_nanoeur"] + (SLICE_TOKENS + 300) * token)
    leave(room)
    fake.answers(**LONG)
    reply = ask(stream.body, path=stream.path)
    assert reply.status == 200
    assert stream.ended(reply.body) == stream.end
    row = row_of(reply)
    assert (row.status, row.finish_reason, row.code) == ("ok", "length", None)
    usage = row.usage or {}
    assert usage["cut_by"] == "gateway"
    call = fake.wait_for(lambda call: call.disconnected_at)
    hold = Hold.objects.get(request_id=row.id)
    assert (hold.state, hold.amount_nanoeur) == ("unknown", row.hold_nanoeur)
    # One slice more was held, and then what was left.
    assert room - 2 * token < hold.amount_nanoeur <= room
    assert row.cost_nanoeur == row.estimated_nanoeur == hold.charged_nanoeur
    assert usage["at_most"]["output_tokens"] >= written(call) > SLICE_TOKENS
    assert hold.charged_nanoeur >= written(call) * token


@pytest.mark.parametrize("name", ["chat", "messages", "generate, array", "native"])
def test_stream_with_room_is_complete_and_charged_by_its_usage(
    ask: Asking, fake: FakeProvider, leave: Callable[[int], None], name: str
) -> None:
    stream = STREAMS[name]
    fake.answers(**LONG | {"content": " ".join([WORD] * 60), "times": 1})
    reply = ask(stream.body, path=stream.path)
    row = row_of(reply)
    assert (row.status, row.estimated_nanoeur) == ("ok", 0)
    assert row.finish_reason in ("stop", "end_turn")
    decision = row.decision
    grown = (row.hold_nanoeur or 0) - decision["bound_nanoeur"]
    assert 0 < grown <= 3 * SLICE_TOKENS * token_nanoeur(decision)
    assert (row.cost_nanoeur or 0) < (row.hold_nanoeur or 0) < decision["whole_bound_nanoeur"]


# --- trouble --------------------------------------------------------------------------------------


def room_for_first_slice(ask: Asking, leave: Callable[[int], None], name: str) -> None:
    """Leave less than a slice beside the first hold of a stream."""
    _, decision = decided(ask, STREAMS[name])
    leave(round(decision["bound_nanoeur"] + SLICE_TOKENS * token_nanoeur(decision) / 2))


@pytest.mark.both_databases
def test_stream_ends_soon_after_its_slice_while_database_is_locked(
    ask: Asking, fake: FakeProvider, leave: Callable[[int], None]
) -> None:
    stream = STREAMS["chat"]
    fake.answers(**LONG | {"drip_s": 0.05})
    with running(ask, stream.path, stream.body) as replies:
        fake.wait_for(lambda call: call.sent_pieces >= 5)
        with transaction.atomic():
            Period.objects.update(held_nanoeur=F("held_nanoeur"))
            call = fake.wait_for(lambda call: call.disconnected_at)
    [reply] = replies
    assert stream.ended(reply.body) == stream.end
    until(lambda: not Hold.objects.filter(state="held"))
    row = row_of(reply)
    assert (row.status, row.finish_reason) == ("ok", "length")
    hold, token = Hold.objects.get(), token_nanoeur(row.decision)
    more_tokens = (hold.amount_nanoeur - row.decision["bound_nanoeur"]) / token
    assert SLICE_TOKENS / 2 < written(call) < more_tokens + 2 * SLICE_TOKENS
    # What came until it was ended is charged, also what was not held any more.
    assert hold.charged_nanoeur >= written(call) * token


@pytest.mark.parametrize("on_disconnect", Organization.OnDisconnect.values)
def test_stream_that_client_left_is_stopped_where_it_cannot_grow(
    ask: Asking,
    gateway: Gateway,
    fake: FakeProvider,
    leave: Callable[[int], None],
    on_disconnect: str,
) -> None:
    room_for_first_slice(ask, leave, "chat")
    fake.reset()
    Organization.objects.update(on_disconnect=on_disconnect)
    fake.answers(**LONG | {"drip_s": 0.05})
    with running(ask, STREAMS["chat"].path, STREAMS["chat"].body) as replies:
        fake.wait_for(lambda call: call.sent_pieces >= 5)
        [stream] = gateway.tasks.values()
        gateway.call_loop.call_soon(stream.abandon)
        call = fake.wait_for(lambda call: call.disconnected_at)
        until(lambda: not gateway.tasks)
    row = row_of(replies[0])
    assert (row.status, row.code) == ("unknown", "client_disconnected")
    assert written(call) < 2 * SLICE_TOKENS
    assert (row.cost_nanoeur or 0) >= written(call) * token_nanoeur(row.decision)


def test_new_call_waits_for_bound_of_its_first_slice(
    ask: Asking, fake: FakeProvider, leave: Callable[[int], None]
) -> None:
    _, decision = decided(ask, STREAMS["chat"])
    leave(decision["bound_nanoeur"])
    assert decided(ask, STREAMS["chat"])[0].status == "ok"
    leave(decision["bound_nanoeur"] - 1)
    refused = ask(STREAMS["chat"].body, path=STREAMS["chat"].path)
    assert (refused.status, row_of(refused).code) == (429, "daily_cost_limit")


# --- what holds whole -----------------------------------------------------------------------------


WHOLE: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "plain": ("chat", {"stream": False}),
    "two choices": ("chat", {"n": 2}),
    "predicted output": ("chat", {"prediction": {"type": "content", "content": "x"}}),
    "reasoning": ("chat", {"model": "o4-mini"}),
    "a short answer": ("chat", {"max_tokens": SLICE_TOKENS}),
    "reasoning response": ("responses", {"model": "o4-mini"}),
    "a search": ("responses", {"tools": [{"type": "web_search"}]}),
    "thinking": ("messages", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    "thinking unasked": (
        "generate",
        {"generationConfig": {"maxOutputTokens": CAP}},
    ),
    "effort": ("chat, anthropic", {"model": FLASH, "reasoning_effort": "low"}),
    "plain, native": ("native", {"stream": False}),
}


@pytest.mark.parametrize("case", WHOLE)
def test_call_whose_output_is_not_all_shown_once_holds_whole(
    ask: Asking, fake: FakeProvider, leave: Callable[[int], None], case: str
) -> None:
    name, fields = WHOLE[case]
    RateFactory.create(provider="openai", model="o4-mini")
    reply = ask(STREAMS[name].body | fields, path=STREAMS[name].path)
    assert reply.status == 200, reply.body
    row = row_of(reply)
    assert "hold" not in row.decision
    assert row.hold_nanoeur == row.decision["bound_nanoeur"]


def test_one_limit_that_holds_whole_is_exact_for_its_calls(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    def holds() -> object:
        return decided(ask, STREAMS["chat"])[1].get("hold")

    PolicyFactory.create(org=acme, name="A", max_cost_per_day_nanoeur=MUCH, hold="slices")
    BudgetFactory.create(org=acme, name="B", limit_nanoeur=MUCH, hold="slices")
    assert holds() == "slices"
    whole = PolicyFactory.create(org=acme, name="C", max_tokens_per_request=10**6)
    assert holds() == "slices"  # it limits no money
    whole.max_cost_per_day_nanoeur = MUCH
    whole.save()
    assert holds() is None
    whole.mode = "watch"
    whole.save()
    assert holds() == "slices"
    budget = BudgetFactory.create(org=acme, name="D", limit_nanoeur=MUCH)
    assert holds() is None
    budget.hold = "slices"
    budget.save()
    assert holds() == "slices"


def test_without_limit_of_money_nothing_is_held_in_slices(
    ask: Asking, fake: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, name="A", max_tokens_per_request=10**6, hold="slices")
    assert "hold" not in decided(ask, STREAMS["chat"])[1]
