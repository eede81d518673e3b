"""A provider's time limits through the pipeline: what the client gets, and what is charged."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.call.reservation import DEADLINE_MARGIN_S, DRAIN_MAX_S
from gateway.call.runtime import Gateway
from gateway.core.providers import USUAL, TimeLimits
from gateway.models import AiRequestLog
from gateway.providers.registry import Providers
from orgs.models import Organization
from tests.fake_provider.thread import FakeProvider
from tests.fake_provider.vendors import settings_at
from tests.gateway.attempts import CHAT, CLAUDE, HELLO, OPENAI, charged, fast, tried, wire
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

SHORT_S = 0.5
# Of what is begun, or never silent for so long, on a busy machine either.
LIMIT_S = 2.0
WORDS = "one two three four five six seven eight"
STREAM: dict[str, Any] = {"stream": True}
WAYS = {
    "plain": ("/api/ai/request", HELLO | {"model": OPENAI}),
    "streamed": ("/api/ai/request", HELLO | {"model": OPENAI} | STREAM),
    "relayed": ("/v1/chat/completions", CHAT | {"model": OPENAI}),
    "relayed stream": ("/v1/chat/completions", CHAT | {"model": OPENAI} | STREAM),
    "translated": ("/v1/chat/completions", CHAT | {"model": CLAUDE}),
    "translated stream": ("/v1/chat/completions", CHAT | {"model": CLAUDE} | STREAM),
}
every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def within(gateway: Gateway, vendors: FakeProvider) -> Callable[[TimeLimits], FakeProvider]:
    """Return the vendors within these limits; their SDKs are imported."""

    def made(limits: TimeLimits) -> FakeProvider:
        wire(gateway, vendors, limits=limits)
        for vendor in ("openai", "anthropic"):
            gateway.call_loop.call_sync(gateway.providers.get(gateway.providers.vendors[vendor]))
        return vendors

    return made


def ended(ask: Asking, way: str) -> Reply:
    """Ask, and return the answer."""
    path, body = WAYS[way]
    return ask(body, path=path)


def has_timed_out(reply: Reply, way: str) -> AiRequestLog:
    """Check an error in a stream that has begun, else a 504; return its row, of unknown cost."""
    if reply.status == 200:
        assert "stream" in way
        assert b"provider_timeout" in reply.body
        assert reply.body.endswith(b"\n\n")
    else:
        assert reply.status == 504
        if way.startswith(("relayed", "translated")):
            assert reply.headers["x-should-retry"] == "false"
    found = tried(reply)
    assert (found.row.status, found.row.code) == ("unknown", "provider_timeout")
    assert found.states == ["unknown"]
    assert charged() == {found.row.model: found.row.cost_nanoeur}
    return found.row


@every_way
def test_provider_that_does_not_answer_is_charged_at_bound(
    ask: Asking, within: Callable[[TimeLimits], FakeProvider], way: str
) -> None:
    within(TimeLimits(first_byte_s=SHORT_S)).answers(stall="headers")
    reply = ended(ask, way)
    assert reply.status == 504
    row = has_timed_out(reply, way)
    assert "did not begin to answer within 0.5 s" in str(row.error)
    assert row.cost_nanoeur == row.hold_nanoeur


@every_way
def test_provider_that_falls_silent_is_charged_by_what_was_seen(
    ask: Asking, within: Callable[[TimeLimits], FakeProvider], way: str
) -> None:
    within(TimeLimits(idle_s=LIMIT_S)).answers(
        stall="body", stall_after_events=5, drip_s=0.01, content=WORDS
    )
    reply = ended(ask, way)
    assert reply.status == (200 if "stream" in way else 504)
    row = has_timed_out(reply, way)
    assert "sent nothing for 2 s" in str(row.error)
    assert 0 < (row.cost_nanoeur or 0) <= (row.hold_nanoeur or 0)
    if "stream" in way:
        assert b"one" in reply.body
        assert (row.usage or {})["at_most"]["output_tokens"] >= 2


@every_way
@pytest.mark.parametrize(
    "way_to_stay", [{"drip_s": 0.4}, {"stall": "headers"}], ids=["drip", "pause"]
)
def test_total_bounds_other_limits(
    ask: Asking,
    within: Callable[[TimeLimits], FakeProvider],
    way: str,
    way_to_stay: dict[str, Any],
) -> None:
    limits = replace(USUAL, total_s=LIMIT_S)
    within(limits).answers(content=WORDS, **way_to_stay)
    reply = ended(ask, way)
    row = has_timed_out(reply, way)
    assert "was not complete within 2 s" in str(row.error)


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A server that takes connections and never completes TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


@every_way
@pytest.mark.parametrize(
    "limits",
    [TimeLimits(connect_s=SHORT_S), TimeLimits(connect_s=10.0, total_s=SHORT_S)],
    ids=["connect", "total"],
)
def test_connection_that_is_not_made_costs_nothing(
    ask: Asking, gateway: Gateway, nowhere: str, way: str, limits: TimeLimits
) -> None:
    urls = {"openai": f"{nowhere}/v1", "anthropic": nowhere}
    gateway.providers = Providers(settings_at(urls, limits), sandbox=True)
    reply = ended(ask, way)
    assert reply.status == 503
    found = tried(reply)
    assert (found.codes, found.states) == (["provider_unavailable"], ["released"])
    assert charged() == {}


@pytest.mark.parametrize("way", ["streamed", "relayed stream", "translated stream"])
def test_stream_that_is_never_silent_lives_longer_than_its_limits(
    ask: Asking, within: Callable[[TimeLimits], FakeProvider], way: str
) -> None:
    pings = (": ping\n\n",) * 3
    within(TimeLimits(first_byte_s=LIMIT_S, idle_s=LIMIT_S)).answers(
        drip_s=0.2, content=WORDS, extra_events=pings
    )
    began_at = time.monotonic()
    reply = ended(ask, way)
    assert time.monotonic() - began_at > LIMIT_S
    assert reply.status == 200
    assert b"eight" in reply.body
    found = tried(reply)
    assert (found.row.status, found.states) == ("ok", ["settled"])
    assert found.row.output_tokens == len(WORDS.split())
    if way == "relayed stream":
        assert reply.body.count(b": ping\n\n") == len(pings)


@pytest.mark.parametrize("way", ["streamed", "relayed stream"])
def test_silence_after_final_usage_loses_nothing(
    ask: Asking, within: Callable[[TimeLimits], FakeProvider], way: str
) -> None:
    vendors = within(TimeLimits(idle_s=LIMIT_S))
    # The last of OpenAI's events is [DONE]: everything is known by then.
    last = len(WORDS.split()) + 3
    vendors.answers(stall="body", stall_after_events=last, content=WORDS)
    reply = ended(ask, way)
    found = tried(reply)
    assert (reply.status, found.row.status, found.states) == (200, "ok", ["settled"])
    assert b"provider_timeout" not in reply.body


def test_each_provider_can_have_limits_of_its_own(
    ask: Asking, gateway: Gateway, vendors: FakeProvider
) -> None:
    urls = {vendor: vendors.base_url(vendor) for vendor in ("openai", "anthropic")}
    known = settings_at(urls)
    hasty = replace(known["openai"], limits=TimeLimits(idle_s=SHORT_S, total_s=900.0))
    gateway.providers = Providers({**known, "openai": hasty}, sandbox=True)
    for way, silent in (("relayed stream", True), ("translated stream", False)):
        vendors.answers(drip_s=1.5 * SHORT_S, content="one")
        path, body = WAYS[way]
        found = tried(ask(body, path=path))
        assert found.row.status == ("unknown" if silent else "ok")
        total_s = 900.0 if silent else USUAL.total_s
        expected = timedelta(seconds=total_s + DRAIN_MAX_S + DEADLINE_MARGIN_S)
        [hold] = found.holds
        assert hold.deadline_at - hold.held_at == expected


def test_time_of_earlier_attempts_ends_with_total(
    ask: Asking, acme: Organization, within: Callable[[TimeLimits], FakeProvider]
) -> None:
    fast(acme, OPENAI, CLAUDE)
    vendors = within(TimeLimits(total_s=10.0))
    vendors.answers(vendor="openai", status=503, pause_s=0.1)
    assert ask(CHAT, path="/v1/chat/completions").status == 200
    vendors.answers(vendor="openai", status=429, headers={"retry-after": "15"})
    assert ask(CHAT, path="/v1/chat/completions").status == 200
    assert [call.vendor for call in vendors.calls] == ["openai", "anthropic"] * 2
