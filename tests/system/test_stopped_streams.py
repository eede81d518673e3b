"""A stopped stream costs at least what the provider had written by then, and not much more."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import pytest

from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from tests.costs.kept_rates import read_rates
from tests.fake_provider import FOREVER
from tests.system.clients import RawClient, until
from tests.system.endpoints import STREAMED, Endpoint, EndpointCall
from tests.system.rows import Charge, Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Seen, Upstream, prompt_in

POINTS: Final = 10
# So few at once that a slow machine reads them as they come: what has arrived unread costs nothing.
AT_ONCE: Final = 5
WORDS: Final = 150  # of what is thought before the text
DRIP_S: Final = 0.01
INPUT_TOKENS: Final = 40  # about what a prompt is
# None ends by itself; what is written is below the cap for longer than any machine needs.
TEXT: Final = {"content": "and and and", "endless": True}
CAP: Final = 16_000
SHOWN: Final = {"thinking": " ".join(["or"] * WORDS)}
HIDDEN: Final = {"hidden_thinking_tokens": WORDS, "hidden_thinking_per_s": 1 / DRIP_S}
HIDDEN_RATIO_MAX: Final = 4
TELLING_TOKENS: Final = 30  # of fewer, what may have been on its way is most of the charge
# Streams are stopped while they think, if they do, and within the same time of their text.
PHASE_S: Final = WORDS * DRIP_S


@dataclass(frozen=True, slots=True)
class StoppedKind:
    """One kind of stream; `behaviour` is how the model thinks."""

    endpoint: str
    model: str
    behaviour: dict[str, Any]

    @property
    def stopped_within_s(self) -> float:
        return PHASE_S * (2 if self.behaviour else 1)


KINDS: Final = [
    StoppedKind("chat to openai, streamed", "gpt-4o-mini", {}),
    StoppedKind("chat to openai, streamed", "gpt-5-mini", HIDDEN),
    StoppedKind("responses, streamed", "gpt-4o-mini", {}),
    StoppedKind("responses, streamed", "gpt-5-mini", HIDDEN),
    StoppedKind("responses, streamed", "gpt-5-mini", SHOWN),
    StoppedKind("messages, streamed", "claude-sonnet-4-5", {}),
    StoppedKind("messages, streamed", "claude-sonnet-4-5", HIDDEN),
    StoppedKind("messages, streamed", "claude-sonnet-4-5", SHOWN),
    StoppedKind("chat to anthropic, streamed", "claude-sonnet-4-5", HIDDEN),
    StoppedKind("content of v1beta, events", "gemini-2.5-flash", {}),
    StoppedKind("content of v1beta, events", "gemini-2.5-flash", HIDDEN),
    StoppedKind("content of v1beta, an array", "gemini-2.5-flash", SHOWN),
    StoppedKind("chat to google, streamed", "gemini-2.5-flash", {}),
    StoppedKind("chat to mistral, streamed", "mistral-large-latest", {}),
]


@pytest.fixture(autouse=True)
def _reset(upstream: Upstream) -> Iterator[None]:
    upstream.reset()
    yield
    upstream.reset()


def _endpoint(name: str) -> Endpoint:
    return next(endpoint for endpoint in STREAMED if endpoint.name == name)


async def _stopped(  # noqa: PLR0913  what a call needs
    server: Server,
    key: str,
    asked: EndpointCall,
    upstream: Upstream,
    after_s: float,
    places: asyncio.Semaphore,
) -> None:
    """Disconnect some seconds after the provider has the call."""
    async with places:
        client = await RawClient.sending(server.url, key, asked)
        await upstream.arrived(asked.prompt)
        await asyncio.sleep(after_s)
        await client.leave()


def _written(upstream: Upstream, asked: list[EndpointCall]) -> dict[str, Seen]:
    """Return what the provider has recorded on disk of the stopped calls."""
    prompts = {each.prompt: each.call for each in asked}
    found = ((prompt_in(call), call) for call in upstream.written())
    return {prompts[prompt]: call for prompt, call in found if prompt in prompts}


def _price(charge: Charge, call: Seen) -> int:
    """Return the price of what had been written, at the rates of the charge."""
    usage = Usage(input_uncached=call["billed"]["input_tokens"], output_text=call["written_tokens"])
    return cost_nanoeur(usage, read_rates(charge.rates))


@pytest.mark.parametrize(
    "kind", KINDS, ids=lambda kind: f"{kind.endpoint} {kind.model} {'-'.join(kind.behaviour)}"
)
async def test_stopped_stream_costs_what_can_have_been_written(
    installation: Installation, server: Server, upstream: Upstream, rows: Rows, kind: StoppedKind
) -> None:
    stream = {"times": FOREVER, "drip_s": DRIP_S, "input_tokens": INPUT_TOKENS}
    upstream.answers(stream | TEXT | kind.behaviour)
    asked = [
        EndpointCall(
            call=secrets.token_hex(8),
            endpoint=_endpoint(kind.endpoint),
            model=kind.model,
            max_tokens=CAP,
        )
        for _ in range(POINTS)
    ]
    points = [kind.stopped_within_s * (index + 0.5) / POINTS for index in range(POINTS)]
    places = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(
        *(
            _stopped(server, installation.key, each, upstream, after_s, places)
            for each, after_s in zip(asked, points, strict=True)
        )
    )
    charges = {each.call: rows.resolved(each.call) for each in asked}
    await until(lambda: len(_written(upstream, asked)) == POINTS)
    written = _written(upstream, asked)
    ratios = []
    for call, seen in written.items():
        charge, price = charges[call], _price(charges[call], seen)
        assert charge.state == "unknown"
        assert price <= charge.charged_nanoeur <= charge.amount_nanoeur
        is_seen = charge.charged_nanoeur < charge.amount_nanoeur
        if is_seen and seen["written_tokens"] >= TELLING_TOKENS:
            ratios.append(charge.charged_nanoeur / price)
    # Of what is hidden only the time is known, and the model is slower than its fastest known rate.
    assert median(ratios) <= (HIDDEN_RATIO_MAX if kind.behaviour else 2)
    assert rows.disagreements() == []
