"""Hold states: what each outcome does to a hold, its periods and its cost events.

held    -> settled    usage is known: its price
held    -> released   proof that nothing was billed: 0
held    -> unknown    sent, and no usable usage: what it can have cost, else the whole hold
unknown -> settled    late usage: the difference, as a second event
settled -> settled    once, priced by the hour: the difference to its share of the hour, as an event
anything else         nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The state of a hold."""

    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    UNKNOWN = "unknown"


class EventKind(StrEnum):
    """Why a cost event was written."""

    USAGE = "usage"
    BOUND = "bound"
    ESTIMATE = "estimate"
    CORRECTION = "correction"
    ADJUSTMENT = "adjustment"


@dataclass(frozen=True, slots=True)
class HoldCharge:
    """What a hold has reserved and what it has charged so far, in nano-euro."""

    state: State
    amount_nanoeur: int
    charged_nanoeur: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The changes of one transition, in nano-euro. `event_nanoeur` is None without an event.

    `estimated_change` is how much of it is an estimate.
    """

    state: State
    charged_nanoeur: int
    held_change: int
    settled_change: int
    overrun_change: int
    event_kind: EventKind | None = None
    event_nanoeur: int | None = None
    estimated_change: int = 0


def move(
    hold: HoldCharge, *, outcome: State, cost_nanoeur: int | None, is_estimate: bool = False
) -> Move | None:
    """Return what `outcome` does to a hold; None for nothing.

    `cost_nanoeur` is the cost of the usage, of an unknown outcome what it can have cost at most,
    which is above the hold only where that grows with the answer; None is then the whole hold. A
    cost `is_estimate` if something had no price of its own.
    """
    state, amount_nanoeur, charged = hold.state, hold.amount_nanoeur, hold.charged_nanoeur
    if state is State.HELD and outcome is State.SETTLED:
        return _charge(amount_nanoeur, known(cost_nanoeur), EventKind.USAGE, is_estimate)
    if state is State.HELD and outcome is State.RELEASED:
        return Move(
            state=State.RELEASED,
            charged_nanoeur=0,
            held_change=-amount_nanoeur,
            settled_change=0,
            overrun_change=0,
        )
    if state is State.HELD and outcome is State.UNKNOWN:
        kind = EventKind.BOUND if cost_nanoeur is None else EventKind.ESTIMATE
        cost = amount_nanoeur if cost_nanoeur is None else cost_nanoeur
        return _charge(amount_nanoeur, cost, kind, True, State.UNKNOWN)
    if state is State.UNKNOWN and outcome in (State.SETTLED, State.RELEASED):
        # Late proof that nothing was billed counts as late usage that costs nothing.
        cost = known(cost_nanoeur) if outcome is State.SETTLED else 0
        return Move(
            state=State.SETTLED,
            charged_nanoeur=cost,
            held_change=0,
            settled_change=min(cost, amount_nanoeur) - min(charged, amount_nanoeur),
            overrun_change=max(0, cost - amount_nanoeur) - max(0, charged - amount_nanoeur),
            event_kind=EventKind.CORRECTION,
            event_nanoeur=cost - charged,
            estimated_change=(cost if is_estimate else 0) - charged,
        )
    return None


def adjust(hold: HoldCharge, *, cost_nanoeur: int) -> Move | None:
    """Return what a share of an hour does to a hold that is settled at an estimate; None for
    nothing. The caller knows that it was not adjusted before.

    What it adds is overrun: what was not charged has been left to other calls meanwhile, and what
    is settled and held must stay within the limit.
    """
    if hold.state is not State.SETTLED:
        return None
    amount_nanoeur, charged = hold.amount_nanoeur, hold.charged_nanoeur
    settled, settled_before = (
        min(cost_nanoeur, charged, amount_nanoeur),
        min(charged, amount_nanoeur),
    )
    return Move(
        state=State.SETTLED,
        charged_nanoeur=cost_nanoeur,
        held_change=0,
        settled_change=settled - settled_before,
        overrun_change=(cost_nanoeur - settled) - (charged - settled_before),
        event_kind=EventKind.ADJUSTMENT,
        event_nanoeur=cost_nanoeur - charged,
        estimated_change=-charged,
    )


def _charge(
    amount_nanoeur: int,
    cost_nanoeur: int,
    kind: EventKind,
    is_estimate: bool,
    state: State = State.SETTLED,
) -> Move:
    return Move(
        state=state,
        charged_nanoeur=cost_nanoeur,
        held_change=-amount_nanoeur,
        settled_change=min(cost_nanoeur, amount_nanoeur),
        overrun_change=max(0, cost_nanoeur - amount_nanoeur),
        event_kind=kind,
        event_nanoeur=cost_nanoeur,
        estimated_change=cost_nanoeur if is_estimate else 0,
    )


def known(cost_nanoeur: int | None) -> int:
    """Return a cost that must be known. Raises ValueError."""
    if cost_nanoeur is None:
        raise ValueError("a settled hold needs its cost; unknown is never zero")
    return cost_nanoeur
