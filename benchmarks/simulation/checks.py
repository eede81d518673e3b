"""Turns of Claude Code at once on little money, as `tests/system/test_waiting.py` has them.

What was measured there with the product, its database and a provider of 0.4 s is what the
simulation must come near to (`docs/decisions/16-waiting-room.md`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from benchmarks.simulation.gate import Gate
from benchmarks.simulation.holds import Way
from benchmarks.simulation.ledger import MemoryLedger
from benchmarks.simulation.load import Turn
from benchmarks.simulation.play import Counts, Player, of_organization, principals
from benchmarks.simulation.virtual_time import run
from costs.core.admission import ORG_SCOPE

AGENTS: Final = 30
# Of the recorded turn, as that test bills it.
RECORDED_TURN: Final = Turn(
    pause_s=0.0,
    read_tokens=0,
    written_tokens=0,
    uncached_tokens=8_500,
    output_tokens=280,
    messages=0,
    first_s=0.4,
    tokens_per_s=float("inf"),
)


@dataclass(frozen=True, slots=True)
class AtOnce:
    """What became of turns that were sent at once."""

    counts: Counts
    left_nanoeur: int
    seconds: float


def at_once(limit_nanoeur: int, way: Way, *, until_refused: bool = False) -> AtOnce:
    """Send the turn by each agent of one key, once or until one is refused."""
    [caller] = principals(1)

    async def play() -> AtOnce:
        loop = asyncio.get_running_loop()
        rules = of_organization(limit_nanoeur)([caller], way)
        gate = Gate(MemoryLedger(loop.time), rules, way.hold)
        player = Player(gate, way)

        async def agent() -> None:
            while await player.turn(caller, RECORDED_TURN) and until_refused:
                pass

        await asyncio.gather(*(agent() for _ in range(AGENTS)))
        left = limit_nanoeur - gate.ledger.charged[ORG_SCOPE]
        return AtOnce(player.counts, left, loop.time())

    return run(play())
