"""The calls of one organization that wait for room, and whose turn it is: no clock, no database.

They wait for limits of money, by their scopes, and for each kind of a rate (`rate_key`).

One line serves all limits of the organization, but each has its own order in it: a call that does
not fit in a limit keeps those behind it out of that limit, and of no other. In a line for each
limit two calls could stand behind each other for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from math import inf
from typing import Final
from uuid import UUID

from costs.core.admission import Balance, Limit, Repeat
from costs.core.rate_limits import OverRate, RateKind, RateLimit, RateState, over_rate
from costs.ledger.balances import LiveBalances
from gateway.core.errors import GatewayError
from orgs.core.frozen import frozen

# How many calls of an organization may ask the ledger after one look: a change of configuration
# has all of them checked again.
TURNS_AT_ONCE_MAX: Final = 16


# Between the scope of a rate and its kind; no scope of a limit of money has it.
OF: Final = "/"
COUNTED: Final = (RateKind.REQUESTS, RateKind.CONCURRENT)


def rate_key(scope: str, kind: RateKind) -> str:
    """Return what stands for one kind of a rate among the scopes of limits."""
    return f"{scope}{OF}{kind.value}"


def is_rate_of(scope: str, key: str) -> bool:
    """Whether a key is that of one kind of this rate."""
    return key.startswith(scope + OF)


@frozen
class Need:
    """What a call waits for: room for its lowest bound in all of its `limits`, and a request and
    `tokens` of its `rates`.

    `config_version` is what it was checked on. `kept_out_by` are the scopes of those that keep it
    out, `wait_s` is the shortest time that they let a call wait. `by_scope` is what it takes of
    each limit, and of each kind of a rate.
    """

    config_version: int
    amount_nanoeur: int
    limits: tuple[Limit, ...]
    kept_out_by: frozenset[str]
    wait_s: float
    rates: tuple[RateLimit, ...] = ()
    tokens: int = 0
    by_scope: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        takes = {limit.scope: self.amount_nanoeur for limit in self.limits} | {
            rate_key(rate.scope, kind): self.tokens if kind is RateKind.TOKENS else 1
            for rate in self.rates
            for kind in rate.kinds
        }
        # Once, since each look reads it several times of each call.
        self.by_scope = {  # type: ignore[misc]  # it is set nowhere else
            scope: amount for scope, amount in takes.items() if amount
        }

    def is_spent(self, balances: Mapping[str, Balance]) -> bool:
        """Whether it would not fit either if no call were in flight."""
        return any(
            (limit.limit_nanoeur or 0) - balances[limit.scope].charged_nanoeur < self.amount_nanoeur
            for limit in self.limits
            if limit.scope in balances
        )

    def lacking(self, left: Mapping[str, int], taken: Mapping[str, int]) -> set[str]:
        """Return the scopes without room for it beside what is `taken`: also those not seen yet."""
        return {
            scope
            for scope, amount in self.by_scope.items()
            if left.get(scope, 0) < amount + taken.get(scope, 0)
        }

    def over_rate(
        self, states: Mapping[str, RateState], taken: Mapping[str, int]
    ) -> OverRate | None:
        """Return the rate that is the last to have what it needs beside what is `taken`."""
        after = [
            states[rate.scope].after(
                requests=max(taken.get(rate_key(rate.scope, kind), 0) for kind in COUNTED),
                tokens=taken.get(rate_key(rate.scope, RateKind.TOKENS), 0),
            )
            for rate in self.rates
            if rate.scope in states
        ]
        return over_rate(after, self.tokens)


@frozen
class Seen:
    """What a call has seen of its limits: balances by scope, and the states of rates."""

    balances: Mapping[str, Balance] = field(default_factory=dict)
    rates: Sequence[RateState] = ()


@dataclass(slots=True, eq=False)
class Waiter:
    """A call that may come to wait; calls of one `key` are served one after the other.

    `since_s` is when it came, on the monotonic clock, None if it does not wait: it keeps its place
    while it asks the ledger. `waited_s` is how long it has waited in all, `waited_for` are the
    scopes of the limits that kept it out, `repeat` is the Idempotency-Key that it has meanwhile.
    When its time `is_over` it asks once more; `refusal` is why it may not even do that: it may be
    `over` a rate.
    """

    org_id: UUID
    key: Hashable
    request_id: UUID
    since_s: float | None = None
    waited_s: float = 0.0
    waited_for: frozenset[str] = frozenset()
    repeat: Repeat | None = None
    turn: asyncio.Future[None] | None = None
    is_over: bool = False
    refusal: GatewayError | None = None
    over: OverRate | None = None

    @property
    def is_asking(self) -> bool:
        """Whether it has its turn."""
        return self.turn is None or self.turn.done()

    @property
    def waits_for_money(self) -> bool:
        """Whether limits of money have kept it out."""
        return self.since_s is not None and any(OF not in scope for scope in self.waited_for)

    def wake(self) -> None:
        """Give it its turn."""
        if self.turn is not None and not self.turn.done():
            self.turn.set_result(None)


@dataclass(slots=True, eq=False)
class WaitingLine:
    """The waiting calls of one organization.

    `balances` and `rates` are those seen last, by scope, the latter at `seen_at_s`. At `ready_at_s`
    a rate will have what the first of its calls waits for.
    """

    balances: dict[str, Balance] = field(default_factory=dict)
    rates: Mapping[str, RateState] = field(default_factory=dict)
    seen_at_s: float = 0.0
    ready_at_s: float = inf
    _of_keys: OrderedDict[Hashable, dict[Waiter, Need]] = field(default_factory=OrderedDict)
    _kept_out_by: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return sum(map(len, self._of_keys.values()))

    def __iter__(self) -> Iterator[tuple[Waiter, Need]]:
        """Yield the calls in their order: of each key in turn the one that came first."""
        of_keys = [[*of_key.items()] for of_key in [*self._of_keys.values()]]
        for several in zip_longest(*of_keys):
            yield from (each for each in several if each is not None)

    def count_of(self, key: Hashable) -> int:
        """Return how many calls of a key wait."""
        return len(self._of_keys.get(key, ()))

    def limits(self) -> Sequence[Limit]:
        """Return the limits in which calls wait, one for each scope."""
        return tuple({limit.scope: limit for _, need in self for limit in need.limits}.values())

    def rate_limits(self) -> Sequence[RateLimit]:
        """Return the rates in which calls wait, one for each scope."""
        return tuple({rate.scope: rate for _, need in self for rate in need.rates}.values())

    def in_front_of(self, scopes: Iterable[str]) -> Mapping[str, Balance | None]:
        """Return those limits in which a new call would be behind others, with their balances:
        None of a rate.
        """
        return {
            scope: balance
            for scope in scopes
            if self._kept_out_by[scope] > 0
            and ((balance := self.balances.get(scope)) is not None or OF in scope)
        }

    def see(self, seen: Seen, *, now_s: float) -> None:
        """Take in what a call has seen; of rates, what the first one has."""
        self.balances.update(seen.balances)
        if seen.rates and not self.rates:
            self.rates, self.seen_at_s = {each.limit.scope: each for each in seen.rates}, now_s

    def too_late(self, newcomer: Waiter, need: Need, *, now_s: float) -> OverRate | None:
        """Return the rate of which those before a call take all that there is in its time.

        Tokens may come back when they end.
        """
        before: Counter[str] = Counter()
        for waiter, other in self:
            if waiter is newcomer:
                break
            before.update(other.by_scope)
        over = need.over_rate(self.rates, before)
        if over is None:
            return None
        passed_s = now_s - self.seen_at_s
        if over.least_wait_s - passed_s <= need.wait_s:
            return None
        return replace(over, wait_s=over.wait_s - passed_s)

    def put(self, waiter: Waiter, need: Need) -> None:
        """Take in a call behind the others of its key; one that has a place keeps it."""
        of_key = self._of_keys.setdefault(waiter.key, {})
        if waiter in of_key:
            self._kept_out_by.subtract(of_key[waiter].kept_out_by)
        self._kept_out_by.update(need.kept_out_by)
        of_key[waiter] = need

    def remove(self, waiter: Waiter) -> None:
        """Let a call go."""
        of_key = self._of_keys[waiter.key]
        self._kept_out_by.subtract(of_key.pop(waiter).kept_out_by)
        if not of_key:
            del self._of_keys[waiter.key]

    def turns(self, live: LiveBalances, *, now_s: float = 0.0) -> Sequence[Waiter]:
        """Return whose turn it is: those for which there is room, each beside those before it.

        It is also the turn of calls that are to be checked again, since the organization has
        changed, and of those that are to be refused, since a limit is spent.
        """
        self._forget_others(live)
        left = self._left(live)
        ready_in_s = [inf]
        taken = Counter[str]()
        for need in [need for waiter, need in self if waiter.is_asking]:
            taken.update(need.by_scope)
        blocked: set[str] = set()
        turns: list[Waiter] = []
        for waiter, need in [each for each in self if not each[0].is_asking]:
            if len(turns) == TURNS_AT_ONCE_MAX:
                break
            has_changed = not live.is_enabled or live.config_version != need.config_version
            if has_changed or need.is_spent(live.balances):
                turns.append(waiter)
                continue
            lacking = need.lacking(left, taken)
            if lacking - blocked:  # the first of those that lack it
                over = need.over_rate(live.rates, taken)
                ready_in_s.append(over.wait_s if over and over.wait_s else inf)
            blocked |= lacking
            kept_out_by = blocked & need.by_scope.keys()
            if kept_out_by:
                if kept_out_by != need.kept_out_by:
                    self.put(waiter, replace(need, kept_out_by=frozenset(kept_out_by)))
            else:
                taken.update(need.by_scope)
                turns.append(waiter)
                self._of_keys.move_to_end(waiter.key)
        self.seen_at_s, self.ready_at_s = now_s, now_s + min(ready_in_s)
        return turns

    def _left(self, live: LiveBalances) -> Mapping[str, int]:
        """Return what can be taken of each limit that was seen, and of each kind of a rate."""
        left = {
            limit.scope: (limit.limit_nanoeur or 0) - each.charged_nanoeur - each.held_nanoeur
            for limit in self.limits()
            if (each := live.balances.get(limit.scope)) is not None
        }
        for state in live.rates.values():
            for kind in state.limit.kinds:
                left[rate_key(state.limit.scope, kind)] = state.left(kind) or 0
        return left

    def _forget_others(self, live: LiveBalances) -> None:
        """Keep the balances of limits in which calls wait: callers may choose new ones for ever."""
        seen = {**self.balances, **live.balances}
        scopes = [limit.scope for limit in self.limits()]
        self.balances = {scope: seen[scope] for scope in scopes if scope in seen}
        self.rates = live.rates
        self._kept_out_by = +self._kept_out_by
