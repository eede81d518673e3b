"""Play a day's turns against an organization with limits, and count what becomes of them."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from typing import Final
from uuid import UUID

from benchmarks.simulation.gate import AdmittedCall, Gate
from benchmarks.simulation.holds import Way
from benchmarks.simulation.ledger import MemoryLedger
from benchmarks.simulation.load import AgentSession, Developer, Turn
from benchmarks.simulation.prices import EUR, ORG_ID, call_of, model, recorded_bytes
from benchmarks.simulation.virtual_time import run
from costs.core.admission import ORG_SCOPE
from gateway.call.judgement import bound_within
from gateway.call.slices.choice import SLICE_TOKENS
from gateway.call.slices.sliced_hold import STOPPED_WITHIN_S
from gateway.core.calls import Dimensions, Principal
from gateway.guards.policies import Rule, applies_to

# Bytes of a body for each of Anthropic's tokens. Python, prose and HTML of this repository have
# 4.3, 3.7 and 3.6 for each of cl100k_base, of which Anthropic's are up to 1.65, 1.43 and 1.55 times
# as many (`gateway/providers/catalog.toml`).
BYTES_PER_TOKEN: Final = 2.8
# After a refusal a person reads it; each turn of the day is asked for once.
AFTER_REFUSAL_S: Final = 60.0
# A hold in slices grows when half of one is left; without room for all of it, by what there is, and
# again as more comes. The stream is ended before what was seen reaches the end of its hold.
DUE_TOKENS: Final = SLICE_TOKENS // 2
AGAIN_TOKENS: Final = SLICE_TOKENS // 8
# A refused turn costs some cents.
MUCH_NANOEUR: Final = EUR


MakeRules = Callable[[Sequence[Principal], Way], list[Rule]]


@dataclass(slots=True)
class Counts:
    """What became of the turns of a day.

    `early` are those refused while MUCH_NANOEUR were not spent of any of their limits, `cut` those
    that ended before their output did. `held_nanoeur` are all holds together, as admitted, and
    `refused_nanoeur` is what refused turns would have cost, by the scopes of their limits.
    """

    turns: int = 0
    refused: int = 0
    early: int = 0
    cut: int = 0
    waits_s: list[float] = field(default_factory=list)
    held_nanoeur: int = 0
    cost_nanoeur: int = 0
    refused_nanoeur: Counter[str] = field(default_factory=Counter)
    lowest_hold_nanoeur: int | None = None

    def wait_s(self, percent: int) -> float:
        """Return the time that so many percent of those that waited did not exceed."""
        if len(self.waits_s) < 2:
            return max(self.waits_s, default=0.0)
        return quantiles(self.waits_s, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True)
class Played:
    """A day that is over. `wanted_nanoeur` is what was left and could have paid refused turns."""

    counts: Counts
    ledger: MemoryLedger
    wanted_nanoeur: int


@dataclass(slots=True)
class Player:
    """The agents of a day at one gate."""

    gate: Gate
    way: Way
    counts: Counts = field(default_factory=Counts)

    async def developer(self, principal: Principal, developer: Developer) -> None:
        """Work through a day."""
        await asyncio.gather(*(self._agent(principal, each) for each in developer.agents))

    async def _agent(self, principal: Principal, sessions: Sequence[AgentSession]) -> None:
        loop = asyncio.get_running_loop()
        for session in sessions:
            await asyncio.sleep(max(0.0, session.starts_s - loop.time()))
            await self._turns(principal, session.turns)

    async def _turns(self, principal: Principal, turns: Sequence[Turn]) -> None:
        for turn in turns:
            await asyncio.sleep(turn.pause_s)
            if not await self.turn(principal, turn):
                await asyncio.sleep(AFTER_REFUSAL_S)
            if turn.subagents:
                await asyncio.gather(*(self._turns(principal, each) for each in turn.subagents))

    async def turn(self, principal: Principal, turn: Turn) -> bool:
        """Send a turn and wait for its end. Return whether it was answered."""
        added = int(turn.input_tokens * BYTES_PER_TOKEN) - recorded_bytes()
        call = call_of(added_bytes=added, messages=turn.messages)
        admitted, waited_s = await self.gate.admit(principal, call, turn)
        counts = self.counts
        counts.turns += 1
        if waited_s > 0:
            counts.waits_s.append(waited_s)
        if admitted is None:
            self._refused(principal, turn)
            return False
        held = admitted.held_nanoeur
        counts.held_nanoeur += held
        counts.lowest_hold_nanoeur = min(held, counts.lowest_hold_nanoeur or held)
        output, held = await self._answer(admitted, turn)
        cost = turn.cost_nanoeur(output)
        counts.cut += output < turn.output_tokens
        counts.cost_nanoeur += cost
        self.gate.settle(admitted, held_nanoeur=held, cost_nanoeur=cost)
        return True

    async def _answer(self, admitted: AdmittedCall, turn: Turn) -> tuple[int, int]:
        """Let the vendor answer. Return the output tokens, and what the call holds at the end."""
        output = min(turn.output_tokens, admitted.cap_tokens)
        await asyncio.sleep(turn.first_s)
        if self.way.grows:
            return await self._sliced_answer(admitted, turn, output)
        await asyncio.sleep(output / turn.tokens_per_s)
        return output, admitted.held_nanoeur

    async def _sliced_answer(
        self, admitted: AdmittedCall, turn: Turn, output: int
    ) -> tuple[int, int]:
        held, tokens, seen = admitted.held_nanoeur, SLICE_TOKENS, 0
        stops = math.ceil(STOPPED_WITHIN_S * model().tokens_per_s)
        due = tokens - DUE_TOKENS
        while True:
            until = min(due, output)
            await asyncio.sleep((until - seen) / turn.tokens_per_s)
            seen = until
            if seen == output:
                return output, held
            grown = self._grown(admitted, held, tokens)
            if grown > tokens:
                held, tokens = bound_within(admitted.bounded, grown), grown
                due = max(seen, tokens - DUE_TOKENS)
            elif seen < tokens - stops:
                due = min(seen + AGAIN_TOKENS, tokens - stops)
            else:
                await asyncio.sleep(STOPPED_WITHIN_S)
                more = math.ceil(STOPPED_WITHIN_S * turn.tokens_per_s)
                return min(output, seen + more), held

    def _grown(self, admitted: AdmittedCall, held_nanoeur: int, tokens: int) -> int:
        """Let a hold of so many tokens grow by a slice, or by what is left, and return its own."""
        ledger, limits = self.gate.ledger, admitted.limits
        amount_of = partial(bound_within, admitted.bounded)
        rooms = range(tokens, tokens + SLICE_TOKENS + 1)
        room_nanoeur = held_nanoeur + ledger.room(limits)
        most = rooms[bisect_right(rooms, room_nanoeur, key=amount_of) - 1]
        if most - tokens < AGAIN_TOKENS:
            return tokens
        return most if ledger.grow(limits, amount_of(most) - held_nanoeur) else tokens

    def _refused(self, principal: Principal, turn: Turn) -> None:
        limits, charged = limits_of(self.gate.rules, principal), self.gate.ledger.charged
        self.counts.refused += 1
        self.counts.early += all(
            limit - charged[scope] >= MUCH_NANOEUR for scope, limit in limits.items()
        )
        for scope in limits:
            self.counts.refused_nanoeur[scope] += turn.cost_nanoeur()

    def wanted_nanoeur(self) -> int:
        """Return what is left of the limits, as far as turns that they refused would have cost."""
        left = {
            rule.cost_scope: (rule.max_cost_per_day_nanoeur or 0)
            - self.gate.ledger.charged[rule.cost_scope]
            for rule in self.gate.rules
        }
        refused = self.counts.refused_nanoeur
        return sum(max(0, min(left[scope], refused[scope])) for scope in left)


def limits_of(rules: Sequence[Rule], principal: Principal) -> dict[str, int]:
    """Return the limits of money in which a caller counts, by scope."""
    named = {"key_id": str(principal.key_id)}
    return {
        rule.cost_scope: rule.max_cost_per_day_nanoeur or 0
        for rule in rules
        if rule.applies_to.includes(named)
    }


def principals(count: int) -> list[Principal]:
    """Return a principal with a key for each developer."""
    return [
        Principal(
            org_id=ORG_ID,
            fixed=Dimensions(user_id=f"developer-{number}"),
            channel="messages",
            key_id=UUID(int=number + 1),
        )
        for number in range(count)
    ]


def of_organization(limit_nanoeur: int) -> MakeRules:
    """Return what makes one policy for all calls."""

    def rules(_: Sequence[Principal], way: Way) -> list[Rule]:
        return [_rule("1", way, limit_nanoeur, {}, ORG_SCOPE)]

    return rules


def of_each_key(limit_nanoeur: int) -> MakeRules:
    """Return what makes a policy for each key."""

    def rules(callers: Sequence[Principal], way: Way) -> list[Rule]:
        return [
            _rule(
                str(number),
                way,
                limit_nanoeur,
                {"key_id": [str(caller.key_id)]},
                f"policy:{number}:1",
            )
            for number, caller in enumerate(callers)
        ]

    return rules


def _rule(
    name: str, way: Way, limit_nanoeur: int, named: Mapping[str, Sequence[str]], scope: str
) -> Rule:
    return Rule(
        id=name,
        name=name,
        applies_to=applies_to(named),
        cost_scope=scope,
        max_cost_per_day_nanoeur=limit_nanoeur,
        max_output_tokens=way.max_output_tokens,
        wait_s=way.wait_s,
    )


def played(day: Sequence[Developer], way: Way, rules: MakeRules) -> Played:
    """Play a day to its end: all calls have ended."""
    callers = principals(len(day))

    async def play() -> Played:
        loop = asyncio.get_running_loop()
        gate = Gate(MemoryLedger(loop.time), rules(callers, way), way.hold)
        player = Player(gate, way)
        works = (player.developer(*each) for each in zip(callers, day, strict=True))
        await asyncio.gather(*works)
        return Played(player.counts, gate.ledger, player.wanted_nanoeur())

    return run(play())
