"""A long stream with long silences lives to its end and is charged exactly; a dead one does not.

In the default run a minute is a third of a second, by the settings; with `--long` it is one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import Final

import aiohttp
import pytest
from yarl import URL

from tests.fake_provider import FOREVER, VENDORS
from tests.system.clients import ClientCall, until, warm_up
from tests.system.endpoints import STREAMED, EndpointCall, billed_at
from tests.system.rows import Rows
from tests.system.servers import Installation
from tests.system.upstream import Upstream, prompt_in

pytestmark = pytest.mark.both_databases

SILENCE_MIN: Final = 4
STREAM_MIN: Final = 20
LIMIT_MIN: Final = 5  # the usual limit of a silence
# Between the last event and the end of a whole stream there is a silence too.
WORDS: Final = " ".join(["and"] * (STREAM_MIN // SILENCE_MIN))
READ_MAX_S: Final = 3600.0
Asked = ClientCall | EndpointCall


@dataclass(frozen=True, slots=True)
class Clock:
    """How long a minute is; the settings follow it, unless it is a real one."""

    minute_s: float

    @property
    def settings(self) -> dict[str, str]:
        """Return the time limits; the total is far away in both."""
        if self.minute_s == 60:
            return {"PULSE_PROVIDER_TIMEOUT_S": "3600"}
        names = ("PULSE_FIRST_BYTE_TIMEOUT_S", "PULSE_IDLE_TIMEOUT_S")
        return dict.fromkeys(names, f"{LIMIT_MIN * self.minute_s}")


CLOCKS: Final = [
    pytest.param(Clock(0.35), id="sped up"),
    pytest.param(Clock(60.0), id="real", marks=pytest.mark.long),
]


def _asked() -> list[Asked]:
    """Return a stream of each kind: through each vendor's SDK, and at each compatible endpoint."""
    translated = [
        ClientCall(call=secrets.token_hex(8), vendor=vendor, stream=True) for vendor in VENDORS
    ]
    relayed = [EndpointCall(call=secrets.token_hex(8), endpoint=each) for each in STREAMED]
    return [*translated, *relayed]


async def _read(url: str, key: str, asked: Asked) -> bytes:
    """Send a request and return its whole answer."""
    timeout = aiohttp.ClientTimeout(total=READ_MAX_S)
    target = URL(f"{url}{asked.path}", encoded=True)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(target, json=asked.body, headers=asked.headers(key)) as response,
    ):
        return await response.read()


@pytest.mark.parametrize("clock", CLOCKS)
async def test_stream_of_long_silences_is_charged_exactly(
    installation: Installation, upstream: Upstream, rows: Rows, clock: Clock
) -> None:
    [server] = installation.serve(**clock.settings)
    await warm_up(server.url, installation.key)
    upstream.reset()
    silence_s = SILENCE_MIN * clock.minute_s
    upstream.answers({"times": FOREVER, "content": WORDS, "drip_s": silence_s})
    asked, began_at = _asked(), time.monotonic()
    await asyncio.gather(*(_read(server.url, installation.key, each) for each in asked))
    assert time.monotonic() - began_at >= STREAM_MIN * clock.minute_s
    by_prompt = {prompt_in(call): call for call in upstream.calls()}
    for each in asked:
        charge, call = rows.resolved(each.call), by_prompt[each.prompt]
        billed = (
            billed_at(each.endpoint, call) if isinstance(each, EndpointCall) else call["billed"]
        )
        assert (charge.status, charge.state) == ("ok", "settled"), each
        assert billed
        assert charge.charged_nanoeur == charge.price_of(billed)
    assert rows.disagreements() == []
    server.kill()


@pytest.mark.parametrize("clock", CLOCKS)
async def test_dead_stream_is_noticed_within_its_silence(
    installation: Installation, upstream: Upstream, rows: Rows, clock: Clock
) -> None:
    [server] = installation.serve(**clock.settings)
    await warm_up(server.url, installation.key)
    upstream.reset()
    upstream.answers({"times": FOREVER, "stall": "body", "stall_after_events": 4})
    asked = _asked()
    limit_s = LIMIT_MIN * clock.minute_s
    began_at = time.monotonic()
    answers = await asyncio.gather(*(_read(server.url, installation.key, each) for each in asked))
    assert time.monotonic() - began_at >= limit_s
    for each, answer in zip(asked, answers, strict=True):
        assert b"sent nothing for" in answer
        charge = rows.resolved(each.call)
        assert (charge.state, charge.code) == ("unknown", "provider_timeout")
        assert charge.is_unknown_of(stream=True)
    await until(lambda: all(call["disconnected_at"] for call in upstream.calls()))
    assert rows.disagreements() == []
    server.kill()
