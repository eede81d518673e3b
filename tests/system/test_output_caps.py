"""64 clients of two processes share a small day: caps are lowered, calls wait, all are answered."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.fake_provider import FOREVER
from tests.system.clients import MODELS, ClientCall, ask_all, until, warm_up
from tests.system.rows import Rows
from tests.system.servers import Installation
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

CLIENTS: Final = 64
LEAST, MOST = 8_192, 16_384  # of gpt-4o-mini
# For the answers of a few calls at the model's maximum, and of one at less.
LIMIT_EUR: Final = "0.06"
LIMIT_NANOEUR: Final = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UncappedCall(ClientCall):
    """A request that names no output cap."""

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the request."""
        given = {"model": MODELS[self.vendor], "prompt": self.prompt, "clientId": self.call}
        return given | {"stream": self.stream}


def _asked(n: int) -> ClientCall:
    call, stream = secrets.token_hex(8), n % 2 == 0
    if n % 4 < 2:
        return UncappedCall(call=call, stream=stream)
    return ClientCall(call=call, stream=stream, max_tokens=MOST)


async def test_clients_at_small_limit_share_it_and_are_all_answered(
    installation: Installation, upstream: Upstream, rows: Rows
) -> None:
    servers = await asyncio.to_thread(installation.serve, 2)
    for server in servers:
        await warm_up(server.url, installation.key)
    upstream.reset()
    upstream.answers({"times": FOREVER, "pause_s": 2.0})
    limit = ("--max-cost-per-day", LIMIT_EUR, "--wait", "600")
    installation.run("policies", "create", "acme", "--name", "D", *limit)
    asked = [_asked(n) for n in range(CLIENTS)]
    half = CLIENTS // 2
    running = asyncio.gather(
        ask_all(servers[0].url, installation.key, *asked[:half]),
        ask_all(servers[1].url, installation.key, *asked[half:]),
    )
    await until(lambda: upstream.calls())
    while not running.done():
        [(held, charged)] = rows.query(
            "SELECT held_nanoeur, settled_nanoeur + overrun_nanoeur FROM period"
        )
        assert held + charged <= LIMIT_NANOEUR
        await asyncio.sleep(0.1)
    outcomes = [outcome for outcomes in await running for outcome in outcomes]

    assert [(outcome.status, outcome.code) for outcome in outcomes if not outcome.is_answered] == []
    caps = sorted(int(outcome.headers["x-pulse-output-cap"]) for outcome in outcomes)
    assert caps == sorted(call["body"]["max_tokens"] for call in upstream.calls())
    assert all(LEAST <= cap <= MOST for cap in caps)
    assert caps[-1] == MOST
    assert caps[0] < MOST
    decisions = rows.query(
        "SELECT decision, hold_nanoeur FROM ai_request_log WHERE status = 'ok' AND code IS NULL"
    )
    lowered = [_value(decision) for decision, _ in decisions if "room" in str(decision)]
    assert {each["output_cap_by"] for each in lowered} == {"room"}
    assert rows.disagreements() == []


def _value(decision: str | dict[str, Any]) -> dict[str, Any]:
    return json.loads(decision) if isinstance(decision, str) else decision
