"""What a call holds, in each of the ways that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Final

from benchmarks.simulation.load import Turn
from gateway.call.judgement import bound_within
from gateway.call.slices.choice import SLICE_TOKENS
from gateway.call.stages import BoundedCall
from gateway.core import bounds
from gateway.guards.policies import WAIT_S
from orgs.core.frozen import frozen


@frozen
class FixedHold(BoundedCall):
    """A call whose hold is not lowered to the room."""

    @property
    def can_cost_less(self) -> bool:
        """Whether a lower bound is possible."""
        return False


@frozen
class CountedHold(BoundedCall):
    """A call whose input was counted by the vendor, if that is needed."""

    @property
    def can_be_tightened(self) -> bool:
        """Whether the count is to be used."""
        return True


# What a call holds, of the call as it was judged.
Hold = Callable[[BoundedCall, Turn], BoundedCall]


def whole(bounded: BoundedCall, turn: Turn) -> BoundedCall:
    """Hold all that the call can cost, whatever there is room for."""
    return fixed(bounded, bounded.bound_nanoeur)


def lowered(bounded: BoundedCall, turn: Turn) -> BoundedCall:
    """Hold what the call can cost, with a lower output cap where there is not so much room."""
    return bounded


def counted(bounded: BoundedCall, turn: Turn) -> BoundedCall:
    """As `lowered`, and before that with the input as the vendor counts it."""
    priced = bounded.priced
    capped = replace(priced.capped, counted_text=turn.input_tokens)
    return _made(CountedHold, replace(bounded, priced=replace(priced, capped=capped)))


def sliced(bounded: BoundedCall, turn: Turn) -> BoundedCall:
    """Hold the input and the first slice of the output: the hold grows with what is seen."""
    return fixed(bounded, bound_within(bounded, min(SLICE_TOKENS, bounded.capped.cap.tokens)))


def counted_slices(bounded: BoundedCall, turn: Turn) -> BoundedCall:
    """As `sliced`, with the input as the vendor counts it, always."""
    usage_bound, of_model = bounded.resolved.usage_bound, bounded.resolved.model
    tokens = bounds.counted_tokens_at_most(usage_bound, of_model, counted=turn.input_tokens)
    nearer = replace(bounded, input_tokens=min(bounded.input_tokens, tokens))
    return sliced(nearer, turn)


def known(bounded: BoundedCall, turn: Turn) -> BoundedCall:
    """Hold what the call will cost, which is not known before: the best that any hold can do."""
    return fixed(bounded, turn.cost_nanoeur())


def fixed(bounded: BoundedCall, bound_nanoeur: int) -> BoundedCall:
    """Return the call with this hold."""
    return _made(FixedHold, replace(bounded, bound_nanoeur=bound_nanoeur))


def _made(kind: type[BoundedCall], bounded: BoundedCall) -> BoundedCall:
    return kind(**{each.name: getattr(bounded, each.name) for each in fields(bounded)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to decide: what a call holds and whether that grows, and the terms of its policies."""

    name: str
    hold: Hold
    grows: bool = False
    wait_s: int = WAIT_S
    max_output_tokens: int | None = None


AT_ONCE: Final = Way(name="whole, refused at once", hold=whole, wait_s=0)
WAITING: Final = Way(name="whole, waits", hold=whole)
LOWERED: Final = Way(name="cap lowered, waits", hold=lowered)
COUNTED: Final = Way(name="the same, input counted", hold=counted)
CAPPED: Final = Way(name="the same, output at most 16,000", hold=counted, max_output_tokens=16_000)
SLICES: Final = Way(name="slices, wait", hold=sliced, grows=True)
COUNTED_SLICES: Final = Way(name="slices, input counted, wait", hold=counted_slices, grows=True)
KNOWN: Final = Way(name="(costs known before)", hold=known)
WAYS: Final = (AT_ONCE, WAITING, LOWERED, COUNTED, CAPPED, SLICES, COUNTED_SLICES, KNOWN)
