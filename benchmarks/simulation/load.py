"""What developers and their agents do on a working day: drawn once, the same for every way to hold.

Published: Claude Code costs 13 USD a developer and active day on average, below 30 for 90 % of
them (https://code.claude.com/docs/en/costs). An exponential distribution with this mean has 90 %
below 29.9, so the developers' days are its quantiles, and each has turns until his day is reached.
All else is assumed, where no source is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import Final

from benchmarks.simulation.prices import cost_of, nanoeur

MEAN_USD: Final = 13.0
HOUR_S: Final = 3600.0
# Working hours from midnight, and a lunch: each developer has some of his own.
BEGINS_S: Final = (8.5 * HOUR_S, 10 * HOUR_S)
WORKS_S: Final = 8.5 * HOUR_S
LUNCH_S: Final = (12 * HOUR_S, 13 * HOUR_S)
# Every 12 USD of a day are the work of one more agent beside the others.
USD_PER_AGENT: Final = 12.0
AGENTS_MAX: Final = 4
# A session is some tasks, each a prompt that takes some turns: a model's answer and tools each.
TASKS_MEAN: Final = 5.0
TURNS_MEAN: Final = 14.0
# Subagents at once, of some tasks; each has a context of its own.
SUBAGENTS_SHARE: Final = 0.15
SUBAGENTS: Final = (2, 5)
SUBAGENT_TURNS_MEAN: Final = 9.0
# Tokens: of the first request (tools, system prompt, project files), then what each turn adds.
FIRST_TOKENS: Final = 24_000
SUBAGENT_FIRST_TOKENS: Final = 13_000
COMPACTED_AT_TOKENS: Final = 165_000  # of a context of 200,000
COMPACTED_TO_TOKENS: Final = 32_000
UNCACHED_TOKENS: Final = 6
CACHED_S: Final = 300.0  # Anthropic's default: 5 minutes
# (median, sigma) of log-normal distributions.
RESULT_TOKENS: Final = (700.0, 1.2)
TEXT_TOKENS: Final = (260.0, 0.9)
THINKING_TOKENS: Final = (500.0, 1.2)
THINKING_SHARE: Final = 0.5
ANSWER_MAX_TOKENS: Final = 32_000
TOOL_S: Final = (3.0, 1.2)
PROMPT_S: Final = (90.0, 1.0)
FIRST_TOKEN_S: Final = (1.8, 0.5)
TOKENS_PER_S: Final = (65.0, 0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request of an agent, sent `pause_s` after the one before it, and its usage.

    Its answer takes `first_s`, then `output_tokens` at a rate. When it has ended, `subagents` work
    at once, each its turns, before the next turn.
    """

    pause_s: float
    read_tokens: int
    written_tokens: int
    output_tokens: int
    messages: int
    first_s: float
    tokens_per_s: float
    uncached_tokens: int = UNCACHED_TOKENS
    subagents: tuple[tuple[Turn, ...], ...] = ()

    @property
    def input_tokens(self) -> int:
        """All tokens of the input."""
        return self.read_tokens + self.written_tokens + self.uncached_tokens

    def cost_nanoeur(self, output_tokens: int | None = None) -> int:
        """Return what it costs, also if its output ends before."""
        output = self.output_tokens if output_tokens is None else output_tokens
        return cost_of(self.read_tokens, self.written_tokens, self.uncached_tokens, output)


@dataclass(frozen=True, slots=True)
class AgentSession:
    """The turns of one session, which begins at a time of the day, in seconds."""

    starts_s: float
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Developer:
    """The sessions of each agent of a developer, one after the other, and what they cost."""

    agents: tuple[tuple[AgentSession, ...], ...]
    cost_nanoeur: int


def working_day(*, developers: int, seed: int) -> tuple[Developer, ...]:
    """Return the day of so many developers."""
    random = Random(seed)  # noqa: S311  a simulation
    quantiles = [(each + 0.5) / developers for each in range(developers)]
    return tuple([_developer(random, -MEAN_USD * log(1 - each)) for each in quantiles])


def turns_of(turns: tuple[Turn, ...]) -> Iterator[Turn]:
    """Yield turns with those of their subagents."""
    for turn in turns:
        yield turn
        for subagent in turn.subagents:
            yield from turns_of(subagent)


def all_turns(developer: Developer) -> Iterator[Turn]:
    """Yield every turn of a developer."""
    for sessions in developer.agents:
        for session in sessions:
            yield from turns_of(session.turns)


def _developer(random: Random, day_usd: float) -> Developer:
    agents = min(AGENTS_MAX, 1 + int(day_usd / USD_PER_AGENT))
    begins_s = random.uniform(*BEGINS_S)
    each = nanoeur(day_usd / agents)
    worked = tuple([_agent(random, each, begins_s) for _ in range(agents)])
    made = Developer(worked, 0)
    return Developer(worked, sum(turn.cost_nanoeur() for turn in all_turns(made)))


def _agent(random: Random, until_nanoeur: int, begins_s: float) -> tuple[AgentSession, ...]:
    """Return sessions at random times that cost so much together; the last one ends there."""
    sessions: list[tuple[Turn, ...]] = []
    cost = 0
    while cost < until_nanoeur:
        turns: list[Turn] = []
        for turn in _session(random):
            turns.append(turn)
            cost += sum(each.cost_nanoeur() for each in turns_of((turn,)))
            if cost >= until_nanoeur:
                break
        sessions.append(tuple(turns))
    starts_s = sorted(_working_moment(random, begins_s) for _ in sessions)
    return tuple(map(AgentSession, starts_s, sessions))


def _working_moment(random: Random, begins_s: float) -> float:
    while True:
        moment = begins_s + random.random() * WORKS_S
        if not LUNCH_S[0] <= moment < LUNCH_S[1]:
            return moment


def _session(random: Random) -> Iterator[Turn]:
    context, cached = FIRST_TOKENS, 0
    messages = 0
    for _ in range(_geometric(random, TASKS_MEAN)):
        pause_s = _drawn(random, PROMPT_S)
        has_subagents = random.random() < SUBAGENTS_SHARE
        turns = _geometric(random, TURNS_MEAN)
        for number in range(turns):
            subagents: tuple[tuple[Turn, ...], ...] = ()
            if has_subagents and number == 0:
                count = random.randint(*SUBAGENTS)
                subagents = tuple([tuple(_subagent(random)) for _ in range(count)])
            turn = _turn(
                random,
                pause_s=pause_s if number == 0 else _drawn(random, TOOL_S),
                context=context,
                cached=cached,
                messages=messages,
                subagents=subagents,
            )
            yield turn
            context, cached = _grown(random, context, turn)
            messages += 2


def _subagent(random: Random) -> Iterator[Turn]:
    context, cached = SUBAGENT_FIRST_TOKENS, 0
    for number in range(_geometric(random, SUBAGENT_TURNS_MEAN)):
        pause_s = _drawn(random, TOOL_S)
        turn = _turn(random, pause_s=pause_s, context=context, cached=cached, messages=2 * number)
        yield turn
        context, cached = _grown(random, context, turn)


def _grown(random: Random, context: int, turn: Turn) -> tuple[int, int]:
    """Return the next context and what of it is cached; a large one is compacted before."""
    grown = context + turn.output_tokens + int(_drawn(random, RESULT_TOKENS))
    return (COMPACTED_TO_TOKENS, 0) if grown > COMPACTED_AT_TOKENS else (grown, context)


def _turn(  # noqa: PLR0913  keyword-only; each is a size of its own
    random: Random,
    *,
    pause_s: float,
    context: int,
    cached: int,
    messages: int,
    subagents: tuple[tuple[Turn, ...], ...] = (),
) -> Turn:
    output = _drawn(random, TEXT_TOKENS)
    if random.random() < THINKING_SHARE:
        output += _drawn(random, THINKING_TOKENS)
    read = 0 if pause_s > CACHED_S else cached
    return Turn(
        pause_s=pause_s,
        read_tokens=read,
        written_tokens=context - read,
        output_tokens=min(ANSWER_MAX_TOKENS, 1 + int(output)),
        messages=messages,
        first_s=_drawn(random, FIRST_TOKEN_S),
        tokens_per_s=_drawn(random, TOKENS_PER_S),
        subagents=subagents,
    )


def _drawn(random: Random, distribution: tuple[float, float]) -> float:
    median, sigma = distribution
    return median * exp(random.gauss(0, sigma))


def _geometric(random: Random, mean: float) -> int:
    """Return a number of at least one with this mean."""
    return 1 + int(log(1 - random.random()) / log(1 - 1 / mean))
