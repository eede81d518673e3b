"""A process that stops: its calls have some time to end, then they are ended and charged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, Final

import pytest

from gateway.call.runtime import Gateway
from gateway.core.calls import Principal
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.fake_provider import FOREVER
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CHAT, HELLO, OPENAI, charged, fast, tried
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

DRAIN_S: Final = 0.4
FAR_S: Final = 600.0
SANDBOX: Final = {"model": "sandbox-small", "prompt": "Say hello", "maxTokens": 50}
NATIVE, CHATS = "/api/ai/request", "/v1/chat/completions"
WAYS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "plain": (NATIVE, HELLO | {"model": OPENAI}),
    "streamed": (NATIVE, HELLO | {"model": OPENAI, "stream": True}),
    "relayed": (CHATS, CHAT | {"model": OPENAI}),
    "relayed stream": (CHATS, CHAT | {"model": OPENAI, "stream": True}),
}
every_way = pytest.mark.parametrize("way", WAYS)


@contextmanager
def running(ask: Asking, path: str, body: dict[str, Any]) -> Iterator[list[Reply]]:
    """Run the block beside a request; its reply is then in the list."""
    replies: list[Reply] = []
    client = Thread(target=lambda: replies.append(ask(body, path=path)))
    client.start()
    yield replies
    client.join()


def drain(gateway: Gateway, within_s: float = DRAIN_S) -> None:
    """Begin to stop, as the server does."""
    gateway.call_loop.call_soon(lambda: gateway.drain(within_s))


@every_way
@pytest.mark.parametrize("on_disconnect", Organization.OnDisconnect.values)
def test_call_is_ended_after_drain_and_charged_by_what_was_seen(
    ask: Asking, gateway: Gateway, vendors: FakeProvider, way: str, on_disconnect: str
) -> None:
    Organization.objects.update(on_disconnect=on_disconnect)
    # Neither ends by itself.
    lasts = {"endless": True} if "stream" in way else {"stall": "body", "stall_after_events": 2}
    vendors.answers(times=FOREVER, drip_s=0.1, **lasts)
    with running(ask, *WAYS[way]) as replies:
        vendors.wait_for(lambda call: call.sent_pieces >= 2)
        drain(gateway)
        began_at = time.monotonic()
    assert time.monotonic() - began_at > DRAIN_S / 2
    [reply] = replies
    assert reply.status == (200 if "stream" in way else 504)
    assert b"This gateway process is stopping" in reply.body
    found = tried(reply)
    assert (found.row.status, found.codes, found.states) == (
        "unknown",
        ["provider_timeout"],
        ["unknown"],
    )
    cost_nanoeur, hold_nanoeur = found.row.cost_nanoeur or 0, found.row.hold_nanoeur or 0
    assert charged() == {OPENAI: cost_nanoeur}
    assert 0 < cost_nanoeur <= hold_nanoeur
    assert (cost_nanoeur < hold_nanoeur) == ("stream" in way)
    vendors.wait_for(lambda call: call.disconnected_at)


@every_way
def test_call_that_ends_within_drain_is_answered(
    ask: Asking, gateway: Gateway, vendors: FakeProvider, way: str
) -> None:
    vendors.answers(drip_s=0.1, content="one two three")
    with running(ask, *WAYS[way]) as replies:
        vendors.wait_for(lambda call: call.sent_pieces)
        drain(gateway, FAR_S)
    assert replies[0].status == 200
    assert tried(replies[0]).row.status == "ok"


def test_only_first_of_several_stops_counts(
    ask: Asking, gateway: Gateway, vendors: FakeProvider
) -> None:
    vendors.answers(stall="headers")
    with running(ask, *WAYS["relayed"]) as replies:
        vendors.wait_for(lambda call: call.billed)
        for within_s in (DRAIN_S, FAR_S):
            drain(gateway, within_s)
        began_at = time.monotonic()
        gateway.call_loop.call_sync(gateway.stop(drain_s=FAR_S))
        assert time.monotonic() - began_at < FAR_S / 5
    assert replies[0].status == 504
    assert tried(replies[0]).states == ["unknown"]


def test_call_that_client_left_is_not_read_beyond_drain(
    gateway: Gateway, ask: Asking, vendors: FakeProvider
) -> None:
    Organization.objects.update(on_disconnect=Organization.OnDisconnect.DRAIN)
    vendors.answers(stall="headers")
    with running(ask, *WAYS["relayed"]) as replies:
        vendors.wait_for(lambda call: call.billed)
        [stream] = gateway.tasks.values()
        gateway.call_loop.call_soon(stream.abandon)
        drain(gateway)
        until(lambda: not gateway.tasks)
    assert tried(replies[0]).codes == ["client_disconnected"]
    assert tried(replies[0]).states == ["unknown"]


def test_wait_for_next_attempt_ends_with_drain(
    ask: Asking, gateway: Gateway, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, OPENAI, retries=1)
    vendors.answers(status=429, headers={"retry-after": "15"})
    with running(ask, CHATS, CHAT) as replies:
        until(lambda: AiRequestLog.objects.filter(status="error").exists())
        drain(gateway)
    assert replies[0].status == 503
    assert "nothing was sent" in replies[0].body.decode()
    assert len(vendors.calls) == 1
    assert tried(replies[0]).states == ["released", "released"]
    assert charged() == {}


def test_call_without_hold_is_not_sent_after_drain(
    ask: Asking, gateway: Gateway, vendors: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization_of = Gateway.organization_of

    async def ends_first(self: Gateway, principal: Principal) -> Any:
        self._end_calls()
        return await organization_of(self, principal)

    monkeypatch.setattr(Gateway, "organization_of", ends_first)
    reply = ask(WAYS["relayed"][1], path=CHATS)
    assert (reply.status, vendors.calls, charged()) == (503, [], {})
    assert tried(reply).states == ["released"]


def test_new_calls_are_taken_until_drain_is_over(ask: Asking, gateway: Gateway) -> None:
    drain(gateway, 3.0)
    assert ask(SANDBOX).status == 200
    until(lambda: gateway.is_stopping)
    assert ask(SANDBOX).refusal[:2] == (503, "ledger_unavailable")


def test_stop_without_time_ends_calls_at_once(ask: Asking, gateway: Gateway) -> None:
    provider = StandIn(waits=True, pieces=("Hello",))
    gateway.providers = Only(provider)
    with running(ask, NATIVE, SANDBOX | {"stream": True}) as replies:
        assert provider.reached.wait(FAR_S)
        gateway.call_loop.call_sync(gateway.stop(drain_s=0.0))
        assert not gateway.tasks
    assert [event.name for event in replies[0].events] == ["delta", "error"]
    assert provider.closed.is_set()
    assert tried(replies[0]).states == ["unknown"]
