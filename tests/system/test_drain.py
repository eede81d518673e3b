"""SIGTERM with calls that take longer than the process may: they are ended, and charged."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Final

import pytest

from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from tests.costs.kept_rates import read_rates
from tests.fake_provider import FOREVER, VENDORS
from tests.system.clients import ClientCall, ask_all, until, warm_up
from tests.system.endpoints import STREAMED, EndpointCall, ask_each
from tests.system.rows import Rows
from tests.system.servers import Installation
from tests.system.upstream import Upstream, prompt_in

pytestmark = pytest.mark.both_databases

DRAIN_S: Final = 2
DRIP_S: Final = 0.1
INPUT_TOKENS: Final = 40
CAP: Final = 4_000


async def test_calls_longer_than_drain_are_ended_and_charged(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    [server] = installation.serve(PULSE_DRAIN_S=str(DRAIN_S), PULSE_PROVIDER_TIMEOUT_S="3600")
    await warm_up(server.url, installation.key)
    plain, streamed = (
        [
            ClientCall(call=secrets.token_hex(8), vendor=vendor, stream=stream, max_tokens=CAP)
            for vendor in VENDORS
        ]
        for stream in (False, True)
    )
    relayed = [
        EndpointCall(call=secrets.token_hex(8), endpoint=endpoint, max_tokens=CAP)
        for endpoint in STREAMED
    ]
    upstream.reset()
    upstream.answers({"times": FOREVER, "stall": "headers"})
    waiting = asyncio.create_task(ask_all(server.url, installation.key, *plain))
    await until(lambda: len(upstream.calls()) == len(plain))
    upstream.reset()
    # None ends by itself: the drain ends them all, or the process would not end.
    dripping = {"endless": True, "drip_s": DRIP_S, "input_tokens": INPUT_TOKENS}
    upstream.answers({"times": FOREVER, **dripping})
    running = asyncio.gather(
        ask_all(server.url, installation.key, *streamed),
        ask_each(server.url, installation.key, *relayed),
    )
    many = len(streamed) + len(relayed)
    await until(lambda: sum(call["sent_pieces"] > 2 for call in upstream.calls()) == many)

    server.terminate()
    started = time.monotonic()
    assert await asyncio.to_thread(server.wait) == 0
    assert time.monotonic() - started >= DRAIN_S
    outcomes, answers = await running
    ends = [(outcome.status, outcome.code) for outcome in (*await waiting, *outcomes)]
    assert ends == [(504, "provider_timeout")] * len(plain) + [(200, "provider_timeout")] * len(
        streamed
    )
    for answer in answers:
        assert answer.status == 200
        assert b"This gateway process is stopping" in answer.raw
    asked = {each.prompt: each.call for each in (*plain, *streamed)}
    asked |= {each.prompt: each.call for each in relayed}
    await until(lambda: asked.keys() <= {prompt_in(call) for call in upstream.written()})
    written = {prompt_in(call): call for call in upstream.written()}
    for prompt, call in asked.items():
        charge, seen = rows.charge(call), written[prompt]
        produced = Usage(
            input_uncached=seen["billed"]["input_tokens"], output_text=seen["written_tokens"]
        )
        assert (charge.state, charge.code) == ("unknown", "provider_timeout")
        price = cost_nanoeur(produced, read_rates(charge.rates))
        assert price <= charge.charged_nanoeur <= charge.amount_nanoeur
    assert rows.unresolved() == 0
    assert rows.query("SELECT 1 FROM instance WHERE stopped_at IS NULL") == []
    assert rows.disagreements() == []
