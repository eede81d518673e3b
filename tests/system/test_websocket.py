"""Responses over WebSocket: each turn is admitted, held, charged and recorded like a request."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, suppress
from typing import Any, Final

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.core.body_budget import WEBSOCKETS_OF_CALLER_MAX
from tests.fake_provider import FOREVER
from tests.system.browser import Browser
from tests.system.clients import until, warm_up
from tests.system.endpoints import ENDPOINTS, EndpointCall, ask_each
from tests.system.rows import RESOLVED_WITHIN_S, Rows
from tests.system.servers import HOST, Installation, Server
from tests.system.test_strangers import resident_mib
from tests.system.upstream import Seen, Upstream
from tests.system.websockets import Turns, turns

PASSWORD: Final = "correct horse battery staple"
PERSON: Final = "person@acme.example"
SLOW: Final = {"times": FOREVER, "drip_s": 0.2, "endless": True}
DRAIN_S: Final = 2
MIB: Final = 2**20
TOOL: Final = {"name": "run", "arguments": {"command": "ls"}}


@pytest.fixture(autouse=True)
def _clean(upstream: Upstream, rows: Rows) -> Iterator[None]:
    upstream.reset()
    yield
    upstream.reset()
    rows.execute("DELETE FROM policy")


def inputs(upstream: Upstream) -> list[Any]:
    """Return the input of each call that reached the provider."""
    return [call["body"]["input"] for call in upstream.calls()]


def rows_of(rows: Rows, call: str) -> list[tuple[Any, ...]]:
    """Return status, code and cost of a connection's requests, in order, once all are complete."""
    chosen = "SELECT status, code, cost_nanoeur FROM ai_request_log WHERE client_id = %s"
    deadline = time.monotonic() + RESOLVED_WITHIN_S
    while rows.query(f"{chosen} AND status = 'pending'", call) and time.monotonic() < deadline:
        time.sleep(0.05)
    return rows.query(f"{chosen} ORDER BY id", call)


async def test_events_are_those_of_http(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    [endpoint] = [each for each in ENDPOINTS if each.name == "responses, streamed"]
    async with turns(server.url, installation.key) as client:
        await client.begin(max_output_tokens=60, store=True)
        received = await client.rest()
        [whole] = await ask_each(
            server.url, installation.key, EndpointCall(call=client.call, endpoint=endpoint)
        )
    sent = [line[6:] for line in whole.raw.decode().splitlines() if line.startswith("data: ")]
    over_socket, over_http = [call["body"] for call in upstream.calls()]
    assert over_socket == over_http | {"store": True}
    assert [json.loads(each) for each in sent] == received
    assert {row[0] for row in rows_of(rows, client.call)} == {"ok"}
    first, second = (row[2] for row in rows_of(rows, client.call))
    assert first == second > 0
    assert rows.disagreements() == []


@pytest.mark.both_databases
async def test_turns_with_tools_are_expanded_and_charged(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    upstream.answers({"tool_calls": [TOOL]}, {"content": "done"})
    result = {"type": "function_call_output", "call_id": "call_fake_0", "output": "a file"}
    async with turns(server.url, installation.key) as client:
        first, called = await client.answer()
        second, answered = await client.answer(previous_response_id=first, input=[result])
        assert answered[0]["content"][0]["text"] == "done"
        await client.answer(previous_response_id=second, input="And now?")
    user = {"role": "user", "content": client.prompt}
    whole = [user, *called, result, *answered, {"role": "user", "content": "And now?"}]
    assert inputs(upstream) == [client.prompt, whole[:3], whole]
    assert all("previous_response_id" not in call["body"] for call in upstream.calls())
    assert [row[:2] for row in rows_of(rows, client.call)] == [("ok", None)] * 3
    costs = [row[2] for row in rows_of(rows, client.call)]
    assert 0 < costs[0] < costs[2]
    assert (rows.unresolved(), rows.disagreements()) == (0, [])


async def test_warm_up_is_neither_called_nor_charged(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    async with turns(server.url, installation.key) as client:
        empty, _ = await client.answer(generate=False, input=[])
        warm, output = await client.answer(
            generate=False, previous_response_id=empty, input=client.prompt
        )
        assert output == []
        assert (upstream.calls(), rows_of(rows, client.call)) == ([], [])
        await client.answer(previous_response_id=warm, input=[])
    assert inputs(upstream) == [[{"role": "user", "content": client.prompt}]]
    assert [row[0] for row in rows_of(rows, client.call)] == ["ok"]


async def test_unknown_previous_response_is_refused_and_connection_stays(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    async with (
        turns(server.url, installation.key) as other,
        turns(server.url, installation.key) as client,
    ):
        of_another, _ = await other.answer(generate=False)
        for unknown in (of_another, "resp_unknown"):
            for warm_up in ({}, {"generate": False}):
                event = await client.turn(previous_response_id=unknown, **warm_up)
                assert (event["status"], event["error"]["code"]) == (
                    400,
                    "previous_response_not_found",
                )
        assert upstream.calls() == []
        await client.answer()


async def test_lanes_run_at_once_and_each_in_order(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    upstream.answers({"times": FOREVER, "drip_s": 0.05})
    async with turns(server.url, installation.key) as client:
        warm, _ = await client.answer(generate=False)
        for lane, text in (("a", "one two"), ("b", "three four"), ("a", "five six")):
            await client.begin(previous_response_id=warm, stream_id=lane, input=text)
        events = [event for _ in range(3) for event in await client.rest()]
    lanes = [event["stream_id"] for event in events]
    # Either may begin: they take turns in the gateway.
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for place, lane in enumerate(lanes):
        first.setdefault(lane, place)
        last[lane] = place
    assert first["a"] < last["b"] and first["b"] < last["a"]
    of_a = [e["delta"] for e in events if e["stream_id"] == "a" and "delta" in e]
    assert of_a == ["one", " two", "five", " six"]
    asked = [given[-1]["content"] for given in inputs(upstream)]
    assert sorted(asked) == ["five six", "one two", "three four"]
    assert all(given[0]["content"] == client.prompt for given in inputs(upstream))


async def test_turns_and_lanes_of_connection_are_bounded(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    upstream.answers({"times": FOREVER, "stall": "headers"})
    async with turns(server.url, installation.key) as client:
        for n in range(17):
            await client.begin(stream_id=f"lane-{n}")
        refused = await client.next()
        assert (refused["status"], refused["error"]["code"]) == (429, "rate_limited")
        assert refused["stream_id"] == "lane-16"
    async with turns(server.url, installation.key) as client:
        for n in range(32):
            await client.turn(generate=False, stream_id=f"lane-{n}")
        refused = await client.turn(generate=False, stream_id="one more")
        assert refused["error"]["code"] == "websocket_stream_limit_reached"
        assert refused["stream_id"] == "one more"
        await client.answer(generate=False, stream_id="lane-0")


async def test_policy_refuses_turn_and_connection_stays(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    async with turns(server.url, installation.key) as client:
        installation.run("policies", "create", "acme", "--name", "Nothing goes", "--block", "*")
        for more in ({}, {"stream": False}, {"background": False}, {"stream_id": "x"}):
            refused = await client.turn(**more)
            assert (refused["type"], refused["status"]) == ("error", 404)
            assert refused["headers"]["x-pulse-error-code"] == "model_blocked"
        assert upstream.calls() == []
        rows.execute("DELETE FROM policy")
        await client.answer()
    statuses = [row[:2] for row in rows_of(rows, client.call)]
    assert statuses == [("blocked", "model_blocked")] * 4 + [("ok", None)]


@pytest.mark.parametrize(
    "message", ["not json", "[]", '{"type": "response.steer"}', '{"model": "gpt-4o-mini"}']
)
async def test_message_that_is_no_turn_is_refused(
    installation: Installation, server: Server, upstream: Upstream, message: str
) -> None:
    async with turns(server.url, installation.key) as client:
        await client.wire.send('{"type": "response.processed", "response_id": "resp_1"}')
        await client.wire.send(message)
        refused = await client.next()
        assert (refused["type"], refused["status"]) == ("error", 400)
        assert upstream.calls() == []
        await client.answer()


async def test_binary_message_ends_connection(installation: Installation, server: Server) -> None:
    async with turns(server.url, installation.key) as client:
        await client.wire.send(b"{}")
        assert await client.closed() == (1003, "Messages must be text")


async def test_message_above_body_limit_ends_connection(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    async with turns(server.url, installation.key) as client:
        with suppress(ConnectionClosed):  # the server does not wait for all of it
            await client.wire.send("a" * (32 * MIB + 1))
        assert (await client.closed())[0] == 1009
    assert upstream.calls() == []


async def test_conversation_above_body_limit_is_refused(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    async with turns(server.url, installation.key) as client:
        warm, _ = await client.answer(generate=False, input="wor " * MIB)
        refused = await client.turn(previous_response_id=warm, input="wor " * (7 * MIB + MIB // 2))
        assert (refused["status"], refused["error"]["code"]) == (413, "body_too_large")
    assert upstream.calls() == []


@pytest.mark.both_databases
async def test_revoked_key_ends_connection_at_next_turn(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    key = installation.run("keys", "create", "acme", "--name", "Short").splitlines()[-1].strip()
    async with turns(server.url, key) as client, turns(server.url, installation.key) as other:
        await client.answer()
        installation.run("keys", "revoke", "acme", "Short")
        event = await client.turn()
        assert (event["status"], event["error"]["code"]) == (401, "unauthenticated")
        assert await client.closed() == (1008, event["error"]["message"])
        await other.answer()
    assert len(rows_of(rows, client.call)) == 1


async def test_disabled_organization_is_refused(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    key = installation.organizations("initech")["initech"]
    async with turns(server.url, key) as client:
        await client.answer()
        installation.run("orgs", "disable", "initech")
        assert (await client.turn())["error"]["code"] == "gateway_disabled"
    assert len(upstream.calls()) == 1


@pytest.mark.both_databases
@pytest.mark.parametrize(
    "behaviour", [SLOW, {"stall": "body", "stall_after_events": 6}], ids=["slow", "silent"]
)
async def test_client_that_leaves_is_charged_and_provider_is_stopped(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows, behaviour: Seen
) -> None:
    upstream.answers(behaviour)
    async with turns(server.url, installation.key) as client:
        await client.begin()
        while "delta" not in await client.next():
            pass
        client.wire.transport.abort()
    charge = await asyncio.to_thread(rows.resolved, client.call)
    assert (charge.state, charge.code) == ("unknown", "client_disconnected")
    assert 0 < charge.charged_nanoeur < charge.amount_nanoeur
    await until(lambda: upstream.calls()[0]["disconnected_at"])
    assert rows.disagreements() == []


async def test_client_that_does_not_read_holds_provider_back(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    upstream.answers({"times": FOREVER, "endless": True, "content": f"{'and' * 1000} " * 20})
    before = resident_mib(server)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(turns(server.url, installation.key)) for _ in range(4)
        ]
        for client in clients:
            client.wire.transport.pause_reading()
            await client.begin()
        await until(lambda: len(upstream.calls()) == 4)
        await _until_still(upstream)
        assert resident_mib(server) - before < 80
        for client in clients:
            client.wire.transport.abort()


async def _until_still(upstream: Upstream) -> None:
    """Wait until the provider sends no more."""
    sent: list[Any] = [None]
    while len(sent) < 2 or sent[-1] != sent[-2]:
        await asyncio.sleep(1)
        sent.append([call["sent_pieces"] for call in upstream.calls()])


async def test_connections_of_key_are_bounded(installation: Installation, server: Server) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(WEBSOCKETS_OF_CALLER_MAX):
            await stack.enter_async_context(turns(server.url, installation.key))
        with pytest.raises(InvalidStatus) as refused:
            async with turns(server.url, installation.key):
                pass
        response = refused.value.response
        assert response.status_code == 429
        assert json.loads(response.body or b"")["error"]["code"] == "rate_limited"
    async with turns(server.url, installation.key) as client:
        await client.answer(generate=False)


# --- who gets no WebSocket ------------------------------------------------------------------------


async def _refusal(url: str, path: str = "/v1/responses", **headers: str) -> tuple[int, str]:
    """Return the status and code with which a WebSocket is refused."""
    address = url.replace("http", "ws", 1) + path
    with pytest.raises(InvalidStatus) as refused:
        await connect(address, additional_headers=headers)
    response = refused.value.response
    error = json.loads(response.body or b"")["error"]
    assert error["message"]
    assert response.headers["x-request-id"]
    return response.status_code, error["code"]


async def test_stranger_gets_no_websocket_and_is_not_kept(
    installation: Installation, server: Server
) -> None:
    assert await _refusal(server.url) == (401, "unauthenticated")
    junk = {"authorization": "Bearer pulse_junk"}
    assert await _refusal(server.url, **junk) == (401, "unauthenticated")
    before = resident_mib(server)
    head = (
        "GET /v1/responses HTTP/1.1",
        *("upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13"),
        *("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", f"host: {HOST}", "", ""),
    )
    for _ in range(20):
        with closing(socket.create_connection((HOST, server.port), timeout=120)) as stranger:
            stranger.sendall("\r\n".join(head).encode())
            with suppress(OSError):
                stranger.sendall(b"\x81\xff" + (MIB * 30).to_bytes(8) + bytes(4))
                for _ in range(10):
                    stranger.sendall(bytes(MIB))
    assert resident_mib(server) - before < 12


async def test_other_paths_have_no_websocket(installation: Installation, server: Server) -> None:
    key = {"authorization": f"Bearer {installation.key}"}
    for path in ("/v1/chat/completions", "/v1/realtime", "/responses", "/login", "/nothing"):
        assert (await _refusal(server.url, path, **key))[0] == 404


async def test_session_opens_no_websocket(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    installation.members(("acme", PERSON, "admin"), password=PASSWORD)
    async with Browser(server.url) as browser:
        await browser.sign_in(PERSON, PASSWORD)
        page = await browser.send("GET", "/api/ai/requests")
        assert page.status == 200
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    for origin in ({}, {"origin": server.url}, {"origin": "https://evil.example"}):
        refused = await _refusal(server.url, cookie=cookies, **origin)
        assert refused == (401, "unauthenticated")


async def test_key_that_may_not_send_gets_no_websocket(
    installation: Installation, server: Server, rows: Rows
) -> None:
    words = ("keys", "create", "acme", "--name", "Reads", "--permissions", "read")
    key = installation.run(*words).splitlines()[-1].strip()
    call = secrets.token_hex(8)
    headers = {"authorization": f"Bearer {key}", "x-pulse-client-id": call}
    assert await _refusal(server.url, **headers) == (403, "key_not_allowed")


async def test_idempotency_key_is_refused(installation: Installation, server: Server) -> None:
    headers = {"authorization": f"Bearer {installation.key}", "idempotency-key": "k"}
    assert await _refusal(server.url, **headers) == (400, "invalid_request")


# --- the process ends -----------------------------------------------------------------------------


async def _delta_of(client: Turns) -> None:
    while "delta" not in await client.next():
        pass


@pytest.mark.both_databases
async def test_stop_lets_turn_end_and_closes_in_order(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    [server] = installation.serve()
    await warm_up(server.url, installation.key)
    upstream.reset()
    upstream.answers({"times": FOREVER, "drip_s": 0.2})
    async with (
        turns(server.url, installation.key) as idle,
        turns(server.url, installation.key) as client,
    ):
        await client.begin()
        await _delta_of(client)
        server.terminate()
        assert (await idle.closed())[0] == 1001
        await client.begin(stream_id="late")
        late, *rest = [
            e for e in await _all(client) if "stream_id" not in e or e["type"] == "error"
        ]
        assert rest
        ends = [event for event in (late, *rest) if event["type"] != "error"]
        assert ends[-1]["type"] == "response.completed"
        refused = [event for event in (late, *rest) if event["type"] == "error"]
        assert [event["status"] for event in refused] == [503]
        assert (await client.closed())[0] == 1001
    assert await asyncio.to_thread(server.wait) == 0
    assert [row[0] for row in rows_of(rows, client.call)] == ["ok"]
    assert (rows.unresolved(), rows.disagreements()) == (0, [])


async def _all(client: Turns) -> list[Seen]:
    """Return the events up to the end of the turn that runs; an error is another's."""
    events = [await client.next()]
    while events[-1]["type"] != "response.completed":
        events.append(await client.next())
    return events


async def test_turn_longer_than_drain_is_ended_and_charged(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    [server] = installation.serve(PULSE_DRAIN_S=str(DRAIN_S))
    await warm_up(server.url, installation.key)
    upstream.reset()
    upstream.answers(SLOW)
    async with turns(server.url, installation.key) as client:
        await client.begin()
        await _delta_of(client)
        server.terminate()
        end = (await client.rest())[-1]
        assert end["type"] == "response.failed"
        assert "This gateway process is stopping" in end["error"]["message"]
        assert (await client.closed())[0] == 1001
    assert await asyncio.to_thread(server.wait) == 0
    charge = rows.charge(client.call)
    assert (charge.state, charge.code) == ("unknown", "provider_timeout")
    assert 0 < charge.charged_nanoeur < charge.amount_nanoeur
    assert (rows.unresolved(), rows.disagreements()) == (0, [])


@pytest.mark.both_databases
async def test_kill_in_turn_loses_nothing(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    [server] = installation.serve()
    await warm_up(server.url, installation.key)
    upstream.reset()
    async with turns(server.url, installation.key) as client:
        first, _ = await client.answer()
        upstream.answers(SLOW)
        await client.begin(previous_response_id=first, input="Go on")
        await _delta_of(client)
        server.kill()
    rows.let_instances_look_dead()
    installation.run_each(("ledger", "reap"), ("ledger", "verify"), ("audit", "verify"))
    [ok, killed] = rows_of(rows, client.call)
    assert (ok[0], killed[:2]) == ("ok", ("unknown", "abandoned"))
    assert killed[2] > 0
    assert (rows.unresolved(), rows.disagreements()) == (0, [])
    [server] = installation.serve()
    async with turns(server.url, installation.key) as client:
        upstream.reset()
        refused = await client.turn(previous_response_id=first, input="Go on")
        assert refused["error"]["code"] == "previous_response_not_found"
        await client.answer()
