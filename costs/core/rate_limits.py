"""Rates: requests and tokens per minute, and requests at once. Values in, values out.

A bucket holds what a minute allows and is refilled continuously. What is taken of it is counted in
`UNITS` of a sixty-millionth, of which a limit of one per minute refills one in each microsecond: so
every figure is an exact integer, whatever the limit is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Final, Protocol
from uuid import UUID

from orgs.core.frozen import frozen

UNITS: Final = 60_000_000
_MICROSECOND: Final = timedelta(microseconds=1)


class RateKind(StrEnum):
    """What a rate limits."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"


@frozen
class RateLimit:
    """How much calls of one `scope` may take: None limits nothing.

    A call that is over it may wait for its turn, for at most `wait_s`. A watched limit counts the
    calls that it would let pass, and keeps out none. `name` is whose limit it is, `figures` are the
    limits that there are.
    """

    scope: str
    name: str = ""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    wait_s: float = 0.0
    is_watched: bool = False

    figures: Mapping[RateKind, int] = field(init=False)

    def __post_init__(self) -> None:
        given = (self.requests_per_minute, self.tokens_per_minute, self.concurrent_requests)
        # Once, since each call reads it a dozen times.
        self.figures = {  # type: ignore[misc]  # it is set nowhere else
            kind: most for kind, most in zip(RateKind, given, strict=True) if most is not None
        }

    @property
    def kinds(self) -> Iterable[RateKind]:
        """What it limits."""
        return self.figures.keys()

    def most(self, kind: RateKind) -> int | None:
        """Return the limit of a kind, or None."""
        return self.figures.get(kind)

    def tokens_of(self, tokens: int) -> int:
        """Return the tokens that a call takes: what a minute has at most.

        One that needs more is refused, or has a lower output cap: a watched limit writes none.
        """
        return min(tokens, self.tokens_per_minute or 0)


@frozen
class TakenRate:
    """What a hold took of a bucket: a request and, where these are limited, its `tokens`.

    The figures per minute are those at its admission.
    """

    bucket_id: UUID
    tokens: int
    requests_per_minute: int | None
    tokens_per_minute: int | None

    def unused_tokens(self, used: int, *, elapsed: timedelta) -> int:
        """Return the units to give back when the call has used so many tokens; negative for more.

        What was refilled since is not given back: a full bucket takes no more, and others may have
        had it. So by what calls used, no minute has more than the bucket and its refill.
        """
        return _unused(self.tokens, used, per_minute=self.tokens_per_minute, elapsed=elapsed)

    def unused_request(self, *, elapsed: timedelta) -> int:
        """Return the units to give back of a request that does not count."""
        return _unused(1, 0, per_minute=self.requests_per_minute, elapsed=elapsed)


def _unused(taken: int, used: int, *, per_minute: int | None, elapsed: timedelta) -> int:
    if per_minute is None:
        return 0
    unused = (taken - used) * UNITS
    return min(unused, max(0, taken * UNITS - elapsed // _MICROSECOND * per_minute))


@frozen
class RateState:
    """A rate limit, and what is taken of it at a moment: units of requests and of tokens."""

    limit: RateLimit
    requests_taken: int = 0
    tokens_taken: int = 0
    in_flight: int = 0

    def used(self, kind: RateKind) -> int:
        """Return how much of a limit is taken: more than it allows if it was lowered since."""
        return -(-self._taken(kind) // UNITS)

    def left(self, kind: RateKind) -> int | None:
        """Return what can be taken now, or None without a limit."""
        most = self.limit.most(kind)
        return None if most is None else max(0, most - self.used(kind))

    def wait_s(self, kind: RateKind, amount: int) -> float | None:
        """Return the seconds until an amount can be taken, or None if it can now.

        When a call in flight ends is not known: 0.
        """
        most = self.limit.most(kind)
        if most is None or not amount:
            return None
        missing = self._taken(kind) + (amount - most) * UNITS
        if missing <= 0:
            return None
        return 0.0 if kind is RateKind.CONCURRENT else missing / most / 1e6

    def full_in_s(self, kind: RateKind) -> float:
        """Return the seconds until nothing of a limit per minute is taken; 0 without one."""
        most = self.limit.most(kind)
        return self._taken(kind) / most / 1e6 if most else 0.0

    def lacking(self, tokens: int) -> Iterator[tuple[RateKind, float]]:
        """Yield what keeps out a call of so many tokens, with the seconds until it would not."""
        for kind in self.limit.figures:
            needed = self.limit.tokens_of(tokens) if kind is RateKind.TOKENS else 1
            wait_s = self.wait_s(kind, needed)
            if wait_s is not None:
                yield kind, wait_s

    def after(self, *, requests: int, tokens: int) -> RateState:
        """Return the state after so many more calls, which need so many tokens together."""
        return replace(
            self,
            requests_taken=self.requests_taken + requests * UNITS,
            tokens_taken=self.tokens_taken + tokens * UNITS,
            in_flight=self.in_flight + requests,
        )

    def _taken(self, kind: RateKind) -> int:
        if kind is RateKind.REQUESTS:
            return self.requests_taken
        return self.tokens_taken if kind is RateKind.TOKENS else self.in_flight * UNITS


@frozen
class OverRate:
    """Which rate keeps out a call of so many tokens: of several, the one that does the longest.

    `wait_s` are the seconds until its turn comes by refilling, `least_wait_s` those until it can
    come: calls in flight may give tokens back. It may wait at most `wait_max_s`.
    """

    state: RateState
    kind: RateKind
    tokens: int
    wait_s: float
    least_wait_s: float
    wait_max_s: float

    @property
    def may_wait(self) -> bool:
        """Whether its turn can come while it may wait."""
        return 0 < self.wait_max_s >= self.least_wait_s

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until it is of use to try again."""
        return max(1, ceil(self.wait_s))


def over_rate(states: Sequence[RateState], tokens: int) -> OverRate | None:
    """Return what keeps out a call of so many tokens, or None."""
    lacking = [
        (wait_s, state, kind)
        for state in states
        if not state.limit.is_watched
        for kind, wait_s in state.lacking(tokens)
    ]
    if not lacking:
        return None
    wait_s, state, kind = max(lacking, key=lambda each: each[0])
    known_s = (
        wait_s for wait_s, each, of in lacking if not (of is RateKind.TOKENS and each.in_flight)
    )
    return OverRate(
        state=state,
        kind=kind,
        tokens=tokens,
        wait_s=wait_s,
        least_wait_s=max(known_s, default=0.0),
        wait_max_s=min(each.limit.wait_s for _, each, _ in lacking),
    )


class TakenFigures(Protocol):
    """What is taken of a bucket, as it was at `refilled_at`."""

    requests_taken: int
    tokens_taken: int
    in_flight: int
    refilled_at: datetime


def state_at(now: datetime, limit: RateLimit, bucket: TakenFigures | None) -> RateState:
    """Return the state of a rate now; of a bucket that does not exist nothing is taken."""
    if bucket is None:
        return RateState(limit=limit)
    elapsed = max(0, (now - bucket.refilled_at) // _MICROSECOND)
    return RateState(
        limit=limit,
        requests_taken=_refilled(bucket.requests_taken, limit.requests_per_minute, elapsed),
        tokens_taken=_refilled(bucket.tokens_taken, limit.tokens_per_minute, elapsed),
        in_flight=bucket.in_flight,
    )


def _refilled(taken: int, per_minute: int | None, elapsed_us: int) -> int:
    return 0 if per_minute is None else max(0, taken - elapsed_us * per_minute)
