"""Streamed answers, and client disconnects."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable

import pytest

from costs.core.admission import Settled, Settlement
from costs.ledger.writer import Writer
from costs.models import CostEvent, Hold
from gateway.call import call_stream, pipeline
from gateway.call.call_stream import PIECES_MAX
from gateway.call.runtime import Gateway
from gateway.core.errors import Broken, TimedOut
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.factories import PolicyFactory
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until
from tests.gateway.wire import Visit

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"model": "sandbox-small", "prompt": "Say hello\nwith «ü» and \u2028"}
STREAM = HELLO | {"stream": True}


def test_stream_is_deltas_then_one_done_without_content(ask_both: Asking) -> None:
    reply = ask_both(STREAM)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-store"
    *deltas, done = reply.events
    assert {event.name for event in deltas} == {"delta"}
    assert all(set(event.data) == {"content"} for event in deltas)
    assert "".join(event.data["content"] for event in deltas) == HELLO["prompt"]
    assert len(deltas) > 1
    assert done.name == "done"
    whole = ask_both(HELLO).json
    assert set(done.data) == set(whole) - {"content"}
    assert done.data["requestId"] == reply.headers["x-pulse-request-id"]
    different = {"requestId", "latencyMs", "content"}
    assert {k: v for k, v in done.data.items() if k not in different} == {
        k: v for k, v in whole.items() if k not in different
    }
    row = AiRequestLog.objects.get(id=done.data["requestId"])
    assert (row.stream, row.status, row.finish_reason) == (True, "ok", "stop")


def test_refused_stream_is_json_error(ask_both: Asking, acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="P", blocked_models=["*"])
    reply = ask_both(STREAM)
    sentence = 'Model sandbox-small is blocked by policy "P"'
    assert reply.refusal == (403, "model_blocked", sentence)
    assert reply.headers["content-type"] == "application/json"


def test_broken_stream_ends_with_one_error(ask_both: Asking, gateway: Gateway) -> None:
    for failure in (Broken("it broke off"), TimedOut("too late")):
        gateway.providers = Only(StandIn(pieces=("Hel", "lo"), failure=failure))
        reply = ask_both(STREAM)
        assert reply.status == 200
        assert [event.name for event in reply.events] == ["delta", "delta", "error"]
        assert reply.events[-1].data == {
            "success": False,
            "error": failure.message,
            "code": failure.code,
            "requestId": reply.headers["x-pulse-request-id"],
        }
        row = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])
        assert (row.status, row.code, row.cost_nanoeur) == (
            "unknown",
            failure.code,
            row.hold_nanoeur,
        )


def test_empty_stream_is_only_done(ask_both: Asking, gateway: Gateway) -> None:
    gateway.providers = Only(StandIn(pieces=()))
    assert [event.name for event in ask_both(STREAM).events] == ["done"]


def test_long_stream_is_complete(ask_both: Asking, gateway: Gateway) -> None:
    pieces = tuple(f"{n} " for n in range(5 * PIECES_MAX))
    gateway.providers = Only(StandIn(pieces=pieces))
    *deltas, _done = ask_both(STREAM).events
    assert [event.data["content"] for event in deltas] == list(pieces)


def test_stream_shows_life_while_provider_is_silent(
    gateway: Gateway, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_stream, "SILENT_MAX_S", 0.02)
    provider = StandIn(pieces=(), waits=True, failure=Broken("it broke off"))
    gateway.providers = Only(provider)

    def fails_after_two(got: bytes) -> bool:
        if got.count(b": ping") >= 2:
            provider.may_end.set()
        return False

    reply = visit(api_key, fails_after_two, stream=True).run()
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.body.startswith(2 * b": ping\n\n")
    assert [event.name for event in reply.events][-1] == "error"
    assert reply.events[-1].data["error"] == "it broke off"


def test_stream_shows_life_between_pieces(
    gateway: Gateway, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_stream, "SILENT_MAX_S", 0.02)
    provider = StandIn(pieces=("Hello",), waits=True)
    gateway.providers = Only(provider)

    def ends_after_one(got: bytes) -> bool:
        if got.endswith(b": ping\n\n"):
            provider.may_end.set()
        return False

    reply = visit(api_key, ends_after_one, stream=True).run()
    hello, _, rest = reply.body.partition(b": ping\n\n")
    assert hello.startswith(b"event: delta")
    assert b"event: done" in rest


def test_refusal_keeps_its_status_however_long_admission_takes(
    ask: Asking, gateway: Gateway, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_stream, "SILENT_MAX_S", 0.0)
    PolicyFactory.create(org=acme, blocked_models=["*"])
    assert ask(STREAM).status == 403


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_answer_does_not_wait_for_database_that_is_away(
    ask: Asking, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    is_back, settle = threading.Event(), Writer.settle

    async def settled_when_back(writer: Writer, settlement: Settlement) -> Settled:
        await asyncio.to_thread(is_back.wait)
        return await settle(writer, settlement)

    monkeypatch.setattr(pipeline, "SETTLED_WITHIN_S", 0.02)
    monkeypatch.setattr(Writer, "settle", settled_when_back)
    reply = ask(HELLO | {"stream": stream})
    answer = reply.events[-1].data if stream else reply.json
    assert reply.status == 200
    assert answer["outputTokens"] > 0
    assert answer["estimatedCostEur"] is None
    assert AiRequestLog.objects.get().status == "pending"
    is_back.set()
    row = settled(gateway)
    assert (row.status, row.cost_nanoeur) == ("ok", CostEvent.objects.get().amount_nanoeur)


# --- clients that leave -----------------------------------------------------------------------


def visit(api_key: str, leaves_when: Callable[[bytes], bool], *, stream: bool) -> Visit:
    headers = [("x-pulse-key", api_key.encode()), ("content-type", b"application/json")]
    body = json.dumps(HELLO | {"stream": stream}).encode()
    return Visit("POST", "/api/ai/request", headers, body, leaves_when=leaves_when)


def settled(gateway: Gateway) -> AiRequestLog:
    """Wait for the call's end; return its row, with no hold left."""
    until(lambda: not gateway.tasks)
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()
    return AiRequestLog.objects.get()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_disconnect_stops_provider_and_charges_bound(
    gateway: Gateway, api_key: str, stream: bool
) -> None:
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)
    has_begun = (lambda got: b"delta" in got) if stream else (lambda _: provider.reached.is_set())
    left = visit(api_key, has_begun, stream=stream).run()
    assert left.status == (200 if stream else 0)
    row = settled(gateway)
    assert provider.closed.is_set()
    assert (row.status, row.code) == ("unknown", "client_disconnected")
    assert row.cost_nanoeur == row.hold_nanoeur == CostEvent.objects.get().amount_nanoeur


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_draining_organization_reads_answer_to_its_end(
    gateway: Gateway, acme: Organization, api_key: str, stream: bool
) -> None:
    Organization.objects.update(on_disconnect=Organization.OnDisconnect.DRAIN)
    provider = StandIn(waits=True, pieces=("x",) * 3 * PIECES_MAX)
    gateway.providers = Only(provider)
    has_begun = (lambda got: b"delta" in got) if stream else (lambda _: provider.reached.is_set())
    visit(api_key, has_begun, stream=stream).run()
    provider.may_end.set()
    row = settled(gateway)
    assert not provider.closed.is_set()
    assert (row.status, row.cost_nanoeur) == ("ok", 2_319)
    assert (row.input_tokens, row.output_tokens) == (9, 2)


def test_slow_reader_causes_backpressure_and_can_disconnect(gateway: Gateway, api_key: str) -> None:
    provider = StandIn(pieces=("x",) * 1000 * PIECES_MAX, waits=True)
    gateway.providers = Only(provider)
    left = visit(api_key, lambda got: got.count(b"delta") > 10, stream=True).run()
    assert 10 < left.body.count(b"delta") < 500 * PIECES_MAX
    row = settled(gateway)
    assert provider.closed.is_set()
    assert (row.status, row.code) == ("unknown", "client_disconnected")


def test_disconnect_at_start_of_stream_is_detected(gateway: Gateway, api_key: str) -> None:
    provider = StandIn(waits=True, pieces=("x",) * 2 * PIECES_MAX)
    gateway.providers = Only(provider)
    leaving = visit(api_key, lambda _: False, stream=True)
    leaving.leaves_when = lambda _: leaving.start is not None
    leaving.run()
    assert settled(gateway).code == "client_disconnected"
    assert provider.closed.is_set()


def test_disconnect_with_first_piece_is_detected(gateway: Gateway, api_key: str) -> None:
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)

    def leaves_while_the_answer_is_on_its_way(_got: bytes) -> bool:
        if not gateway.tasks:
            return False
        # Hold the client's loop up, so that the answer waits for it behind the disconnect.
        provider.reached.wait()
        time.sleep(0.1)
        return True

    visit(api_key, leaves_while_the_answer_is_on_its_way, stream=True).run()
    assert settled(gateway).code == "client_disconnected"
    assert provider.closed.is_set()


def test_client_can_disconnect_after_last_event(gateway: Gateway, api_key: str) -> None:
    reply = visit(api_key, lambda got: b"event: done" in got, stream=True).run()
    assert reply.events[-1].name == "done"
    assert settled(gateway).status == "ok"
