"""What the model of the simulation costs, from the price book, and what its agents send."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Final
from uuid import UUID

from costs.core.pricing import cost_nanoeur
from costs.core.rates import Rates
from costs.core.usage import Usage
from costs.prices.book import PriceBook
from costs.prices.ecb import packaged_rates
from gateway.apis.arrival import Arrival
from gateway.apis.messages.messages import Messages
from gateway.core.bounds import text_bytes
from gateway.core.calls import Call, Dimensions, RelayRequest
from gateway.core.model_names import Model
from gateway.core.usage_bound import OutputCap
from gateway.providers.catalog import load_catalog
from orgs.core.pseudonyms import Pseudonyms, keyed_by
from tests.agents import shape
from tests.costs.seeded import seeded_rates

EUR: Final = 10**9
ORG_ID: Final = UUID(int=1)
DAY: Final = datetime(2026, 11, 30, tzinfo=UTC)  # a Monday
CATALOG: Final = load_catalog(sandbox=False)
RECORDED: Final = "claude-code-turn"
ADDED_TEXT_MAX_BYTES: Final = 4 * 2**20
_FILLER: Final = "x" * ADDED_TEXT_MAX_BYTES


@cache
def recorded_call() -> Call:
    """Return a turn of Claude Code as its API reads it."""
    recorded = shape(RECORDED)
    headers = {name.lower(): value for name, value in recorded.headers.items()}
    return Messages().read(
        Arrival(raw=b"", fields=json.loads(recorded.text), headers=headers, dimensions=Dimensions())
    )


@cache
def recorded_bytes() -> int:
    """Return the bytes of all text of the recorded turn."""
    return text_bytes(recorded_call().usage_bound)


@cache
def model() -> Model:
    """Return the model of the recorded turn."""
    found = CATALOG.find(recorded_call().model)
    if found is None:
        raise AssertionError("the catalog has the model of the recorded turn")
    return found


@cache
def rates() -> Rates:
    """Return the seeded rates of the model, at the newest exchange rate that is packaged."""
    rate = packaged_rates(date.max)[-1]
    at_par = seeded_rates(model().provider, model().id, at=DAY)
    return replace(at_par, usd_per_eur=rate.usd_per_eur, exchange_rate_date=rate.on_date)


def nanoeur(usd: float) -> int:
    """Return dollars in nano-euro."""
    return int(Decimal(str(usd)) * EUR / rates().usd_per_eur)


@cache
def cost_of(read: int, written: int, uncached: int, output: int) -> int:
    """Return what so many tokens cost, in nano-euro."""
    usage = Usage(
        cache_read=read, cache_write_5m=written, input_uncached=uncached, output_text=output
    )
    return cost_nanoeur(usage, rates())


class OneModel(PriceBook):
    """A price book of the one model."""

    def rates_for(self, names: Sequence[str], provider: str, at: datetime) -> Rates | None:
        """Return its rates."""
        return rates()


@cache
def price_book() -> PriceBook:
    """Return the price book, which the memory of a database has too."""
    return OneModel(1, {}, ())


@dataclass(frozen=True, slots=True)
class LargerBody:
    """A body like the recorded one with more text in it: only its sizes are simulated."""

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Return the recorded request as it is sent with this cap."""
        return _sent(model, cap)

    def canonical(self) -> object:
        """Return no messages."""
        return []

    def identity(self) -> object:
        """Return nothing to compare."""
        return None


def call_of(*, added_bytes: int, messages: int) -> Call:
    """Return the recorded turn with so much more text, in so many messages."""
    recorded = recorded_call()
    bound = recorded.usage_bound
    texts = (*bound.texts, _FILLER[: max(0, added_bytes)])
    larger = replace(bound, texts=texts, messages=bound.messages + messages)
    return replace(recorded, body=LargerBody(), usage_bound=larger)


@cache
def _sent(model: Model, cap: OutputCap) -> RelayRequest:
    names = Pseudonyms(keyed_by(b"simulation", ORG_ID), None)
    outgoing = recorded_call().body.outgoing(model, cap, timeout_s=600.0, names=names)
    if not isinstance(outgoing, RelayRequest):
        raise AssertionError("messages are relayed")
    # `holds.counted` has the count: there is no vendor to ask.
    return replace(outgoing, body=b"", input_count=None)
