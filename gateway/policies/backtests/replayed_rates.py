"""Replay a policy's rates: when past requests would have had their turn.

Inferred, since rows do not keep it: a day begins with full buckets and without calls in flight;
each admitted request is one request, also if it was never sent; what it used are the input and
output tokens of its row; requests have their turn in the order in which they arrived, whichever
key they have.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from math import ceil
from typing import Final
from uuid import UUID

from costs.core.rate_limits import OverRate, RateLimit, RateState, TakenRate, over_rate, state_at

_NO_BUCKET: Final = UUID(int=0)  # there is none in the ledger


def _later(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(microseconds=ceil(seconds * 1e6))


@dataclass(order=True, slots=True)
class _RatedCall:
    """A call in flight: when it ends and was admitted, the tokens it took, and used if known."""

    ends_at: datetime
    admitted_at: datetime
    tokens: int
    used: int | None = field(compare=False)


@dataclass(slots=True)
class ReplayedRates:
    """What is taken of a policy's rates as the day goes on."""

    limit: RateLimit
    refilled_at: datetime
    requests_taken: int = 0
    tokens_taken: int = 0
    in_flight: int = 0
    _running: list[_RatedCall] = field(default_factory=list)

    def turn(self, arrived_at: datetime, tokens: int) -> datetime | OverRate:
        """Return when a request of so many tokens has its turn, not before those that came earlier;
        or the rate that keeps it out for longer than it may wait.
        """
        until = arrived_at + timedelta(seconds=self.limit.wait_s)
        moment = max(arrived_at, self.refilled_at)
        while (over := over_rate([self._at(moment)], tokens)) is not None:
            # What a minute refills has its time; of what calls in flight have, the next end is
            # waited for.
            in_time = _later(moment, over.wait_s)
            events = [call.ends_at for call in self._running[:1]] + [in_time] * bool(over.wait_s)
            if _later(moment, over.least_wait_s) > until or min(events) > until:
                return over
            moment = min(events)
        return moment

    def take(self, moment: datetime, tokens: int, *, ends_at: datetime, used: int | None) -> None:
        """Admit a request that has its turn."""
        state = self._at(moment)
        self._keep(state.after(requests=1, tokens=tokens), moment)
        heappush(self._running, _RatedCall(ends_at, moment, tokens, used))

    def _at(self, moment: datetime) -> RateState:
        """Return the state at a moment, after what ended before it."""
        while self._running and self._running[0].ends_at <= moment:
            call = heappop(self._running)
            state = state_at(call.ends_at, self.limit, self)
            tokens_taken = max(0, state.tokens_taken - self._unused(call))
            ended = replace(state, tokens_taken=tokens_taken, in_flight=state.in_flight - 1)
            self._keep(ended, call.ends_at)
        state = state_at(moment, self.limit, self)
        self._keep(state, moment)
        return state

    def _unused(self, call: _RatedCall) -> int:
        taken = TakenRate(
            bucket_id=_NO_BUCKET,
            tokens=call.tokens,
            requests_per_minute=self.limit.requests_per_minute,
            tokens_per_minute=self.limit.tokens_per_minute,
        )
        used = call.tokens if call.used is None else call.used
        return taken.unused_tokens(used, elapsed=call.ends_at - call.admitted_at)

    def _keep(self, state: RateState, moment: datetime) -> None:
        self.requests_taken, self.tokens_taken = state.requests_taken, state.tokens_taken
        self.in_flight, self.refilled_at = state.in_flight, moment
