"""A disconnected call is charged and stopped; a slow client uses no memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.fake_provider import FOREVER, VENDORS
from tests.system.clients import ClientCall, RawClient, ask_one, until
from tests.system.endpoints import ENDPOINTS, PLAIN, STREAMED, Endpoint, EndpointCall, billed_at
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream, prompt_in

pytestmark = pytest.mark.both_databases

DRIP_S: Final = 0.1
# Neither ends by itself, so that only a closed connection can end it.
ENDLESS: Final = {"times": FOREVER, "drip_s": DRIP_S, "endless": True}
SILENT: Final = {"times": FOREVER, "drip_s": DRIP_S, "stall": "body"}
# Of a stream's bytes: the status line, the headers, and every part of the events that follow.
BYTES: Final = (1, 40, 200, 400, 450, 500, 550, 600, 650, 700, 800)
# The same at the compatible endpoints, whose headers are longer.
COMPATIBLE_BYTES: Final = (0, 1, 300, 900)
EVENTS: Final = (1, 2, 3, 5, 8)
# A provider that is not held back sends tens of megabytes a second; four readers that do not read
# are worth 64 pieces each, and what the sockets hold.
LOOK_EVERY_S: Final = 2.0
LOOKS: Final = 60
ALIKE_BYTES: Final = 2 * 2**20
GROWTH_MAX_BYTES: Final = 80 * 2**20


Asked = ClientCall | EndpointCall


@pytest.fixture(autouse=True)
def _endless_provider(upstream: Upstream) -> Iterator[None]:
    upstream.reset()
    upstream.answers(ENDLESS)
    yield
    upstream.reset()


async def _leave_after(server: Server, key: str, asked: Asked, upstream: Upstream, k: int) -> Asked:
    """Disconnect after k bytes of the answer; 0 is as soon as the provider has the call."""
    client = await RawClient.sending(server.url, key, asked)
    if k:
        await client.reader.readexactly(k)
    else:
        await upstream.arrived(asked.prompt)
    await client.leave()
    return asked


async def _leave_after_events(server: Server, key: str, asked: ClientCall, k: int) -> Asked:
    client = await RawClient.sending(server.url, key, asked)
    for _ in range(k):
        await client.reader.readuntil(b"event: delta")
    await client.leave()
    return asked


async def _check(left: Sequence[Asked], upstream: Upstream, rows: Rows) -> None:
    """Assert that each is charged as unknown, unless it was free, and its provider stopped."""
    for each in left:
        charge = rows.resolved(each.call)
        ended = ("released", "error") if each.is_free else ("unknown", "unknown")
        assert (charge.state, charge.status) == ended
        assert charge.code == "client_disconnected"
        streamed = each.body.get("stream") or "stream" in each.path.lower()
        assert charge.is_unknown_of(stream=bool(streamed))
        assert (charge.amount_nanoeur > 0) != each.is_free
    prompts = {each.prompt for each in left}
    await until(lambda: prompts <= _closed(upstream))
    assert rows.disagreements() == []


def _closed(upstream: Upstream) -> set[str]:
    """Return the prompts of which the provider saw the connection closed before its end."""
    return {prompt_in(call) for call in upstream.calls() if call["disconnected_at"]}


def _asked(vendor: str, *, stream: bool) -> ClientCall:
    return ClientCall(call=secrets.token_hex(8), vendor=vendor, stream=stream)


async def test_stream_cut_after_any_number_of_bytes_is_charged_and_stopped(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    leaving = [
        _leave_after(server, installation.key, _asked(vendor, stream=True), upstream, k)
        for vendor in VENDORS
        for k in (0, *BYTES)
    ]
    left = await asyncio.gather(*leaving)
    await _check(left, upstream, rows)


async def test_stream_disconnected_after_any_number_of_events_is_charged_and_stopped(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    leaving = [
        _leave_after_events(server, installation.key, _asked(vendor, stream=True), k)
        for vendor in VENDORS
        for k in EVENTS
    ]
    left = await asyncio.gather(*leaving)
    await _check(left, upstream, rows)


async def test_call_disconnected_before_headers_is_charged_and_stopped(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    upstream.reset()
    upstream.answers(SILENT)
    leaving = [
        _leave_after(server, installation.key, _asked(vendor, stream=False), upstream, 0)
        for vendor in VENDORS
    ]
    left = await asyncio.gather(*leaving)
    await _check(left, upstream, rows)


async def test_immediate_disconnect_is_charged_only_if_request_was_sent(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    last = _asked("openai", stream=False)
    upstream.reset()
    upstream.answers({"when": [last.call]}, ENDLESS, SILENT)
    asked = [_asked(VENDORS[n % 4], stream=n % 2 == 0) for n in range(24)]
    for n, each in enumerate(asked):
        client = await RawClient.sending(server.url, installation.key, each)
        await asyncio.sleep(n * 0.0005)
        await client.leave()
    # By the end of a later call, the others are read as far as they are read at all.
    assert (await ask_one(server.url, installation.key, last)).is_answered
    for prompt in {prompt_in(call) for call in upstream.calls()} - {last.prompt}:
        [each] = [each for each in asked if each.prompt == prompt]
        charge = rows.resolved(each.call)
        assert charge.state == "unknown"
        assert charge.is_unknown_of(stream=each.stream)
    assert rows.unresolved() == 0
    charges = {charge.call: charge.state for charge in rows.charges()}
    assert {charges.get(each.call) for each in asked} <= {None, "released", "unknown"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_drain_reads_answer_to_end_after_disconnect(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows, stream: bool
) -> None:
    # A plain answer drips in eight pieces, a stream in sixteen events.
    upstream.reset()
    upstream.answers({"times": FOREVER, "drip_s": DRIP_S})
    rows.execute("UPDATE organization SET on_disconnect = 'drain'")
    try:
        left = await asyncio.gather(
            *(
                _leave_after(server, installation.key, _asked(vendor, stream=stream), upstream, 0)
                for vendor in VENDORS
            )
        )
        for each in left:
            charge = rows.resolved(each.call)
            billed = (await upstream.arrived(each.prompt))["billed"]
            assert charge.state == "settled"
            assert charge.charged_nanoeur == charge.price_of(billed)
    finally:
        rows.execute("UPDATE organization SET on_disconnect = 'close'")


# --- the compatible endpoints ---------------------------------------------------------------------


def _at(endpoint: Endpoint) -> EndpointCall:
    return EndpointCall(call=secrets.token_hex(8), endpoint=endpoint)


async def test_disconnect_is_charged_and_stopped_at_every_compatible_endpoint(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    plain = [(endpoint, 0) for endpoint in PLAIN]
    streamed = [(endpoint, k) for endpoint in STREAMED for k in COMPATIBLE_BYTES]
    for behaviour, leaving in ((SILENT, plain), (ENDLESS, streamed)):
        upstream.reset()
        upstream.answers(behaviour)
        left = await asyncio.gather(
            *(
                _leave_after(server, installation.key, _at(endpoint), upstream, k)
                for endpoint, k in leaving
            )
        )
        await _check(left, upstream, rows)


async def test_drain_charges_exactly_at_every_compatible_endpoint(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    upstream.reset()
    upstream.answers({"times": FOREVER, "drip_s": DRIP_S})
    rows.execute("UPDATE organization SET on_disconnect = 'drain'")
    try:
        left = await asyncio.gather(
            *(
                _leave_after(server, installation.key, _at(endpoint), upstream, 0)
                for endpoint in ENDPOINTS
            )
        )
        for each in left:
            await _check_exact(each, upstream, rows)
    finally:
        rows.execute("UPDATE organization SET on_disconnect = 'close'")


async def test_disconnect_with_last_event_is_charged_exactly(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    upstream.reset()
    upstream.answers({"times": FOREVER, "drip_s": DRIP_S})

    async def read_to_the_last_event(asked: EndpointCall) -> None:
        client = await RawClient.sending(server.url, installation.key, asked)
        await client.reader.readuntil(asked.endpoint.last)
        await client.leave()

    asked = [_at(endpoint) for endpoint in STREAMED]
    await asyncio.gather(*(read_to_the_last_event(each) for each in asked))
    for each in asked:
        await _check_exact(each, upstream, rows)


async def _check_exact(asked: Asked, upstream: Upstream, rows: Rows) -> None:
    charge = rows.resolved(asked.call)
    assert isinstance(asked, EndpointCall)
    state = "released" if asked.is_free else "settled"
    assert (charge.state, charge.status) == (state, "ok"), asked.endpoint.name
    billed = billed_at(asked.endpoint, await upstream.arrived(asked.prompt))
    assert charge.charged_nanoeur == (charge.price_of(billed) if billed else 0), asked.endpoint.name


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def _grows_no_more(pid: int) -> int:
    """Return the resident bytes of a process once they are stable."""
    before = _resident_bytes(pid)
    for _ in range(LOOKS):
        await asyncio.sleep(LOOK_EVERY_S)
        now = _resident_bytes(pid)
        if now - before < ALIKE_BYTES:
            return now
        before = now
    raise AssertionError(f"{now} bytes, and growing")


async def test_slow_clients_apply_backpressure_and_use_no_memory(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows
) -> None:
    asked = [_asked(vendor, stream=True) for vendor in VENDORS]
    upstream.reset()
    upstream.answers({"times": FOREVER, "endless": True, "content": "x" * 65_536 + " x"})
    [worker] = server.workers()
    before = _resident_bytes(worker)
    clients = [
        await RawClient.sending(server.url, installation.key, each, limit=1024) for each in asked
    ]
    await until(lambda: len(upstream.calls()) == len(asked))
    grown = await _grows_no_more(worker) - before
    meanwhile = {rows.charge(each.call).state for each in asked}
    for client in clients:
        await client.leave()

    assert meanwhile == {"held"}
    assert grown < GROWTH_MAX_BYTES
    await _check(asked, upstream, rows)
