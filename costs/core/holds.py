"""Hold states: what each outcome does to a hold, its periods and its cost events.

held    -> settled    usage is known: its price
held    -> released   proof that nothing was billed: 0
held    -> unknown    sent, and no usable usage: the whole hold
unknown -> settled    late usage: the difference, as a second event
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
    CORRECTION = "correction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The changes of one transition, in nano-euro. `event_nanoeur` is None without an event."""

    state: State
    charged_nanoeur: int
    held_change: int
    settled_change: int
    overrun_change: int
    event_kind: EventKind | None = None
    event_nanoeur: int | None = None


def move(
    *, state: State, amount_nanoeur: int, outcome: State, cost_nanoeur: int | None
) -> Move | None:
    """Return what `outcome` does to a hold of `amount_nanoeur` in `state`; None for nothing.

    `cost_nanoeur` is the cost of the usage; only a settled outcome has one.
    """
    if state is State.HELD and outcome is State.SETTLED:
        return _charge(amount_nanoeur, _known(cost_nanoeur), EventKind.USAGE)
    if state is State.HELD and outcome is State.RELEASED:
        return Move(
            state=State.RELEASED,
            charged_nanoeur=0,
            held_change=-amount_nanoeur,
            settled_change=0,
            overrun_change=0,
        )
    if state is State.HELD and outcome is State.UNKNOWN:
        return _charge(amount_nanoeur, amount_nanoeur, EventKind.BOUND, State.UNKNOWN)
    if state is State.UNKNOWN and outcome in (State.SETTLED, State.RELEASED):
        # Late proof that nothing was billed counts as late usage that costs nothing.
        cost = _known(cost_nanoeur) if outcome is State.SETTLED else 0
        return Move(
            state=State.SETTLED,
            charged_nanoeur=cost,
            held_change=0,
            settled_change=min(cost, amount_nanoeur) - amount_nanoeur,
            overrun_change=max(0, cost - amount_nanoeur),
            event_kind=EventKind.CORRECTION,
            event_nanoeur=cost - amount_nanoeur,
        )
    return None


def _charge(
    amount_nanoeur: int, cost_nanoeur: int, kind: EventKind, state: State = State.SETTLED
) -> Move:
    return Move(
        state=state,
        charged_nanoeur=cost_nanoeur,
        held_change=-amount_nanoeur,
        settled_change=min(cost_nanoeur, amount_nanoeur),
        overrun_change=max(0, cost_nanoeur - amount_nanoeur),
        event_kind=kind,
        event_nanoeur=cost_nanoeur,
    )


def _known(cost_nanoeur: int | None) -> int:
    if cost_nanoeur is None:
        raise ValueError("a settled hold needs its cost; unknown is never zero")
    return cost_nanoeur
