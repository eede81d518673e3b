"""The waiting room of a process: calls wait in it until there is room, or their time is over.

It learns of room by reading balances: after each settlement of this process, and now and then, for
those of others. Only a call whose turn has come asks the ledger, which alone decides. Of a waiting
call nothing is in the database. All of it is of the call loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final
from uuid import UUID

from costs.core.admission import Balance, Limit, Repeat, Repeated
from costs.core.rate_limits import RateLimit
from costs.ledger.balances import LiveBalances, live_balances
from gateway.call.call_stream import CallStream
from gateway.call.reads import SharedReads
from gateway.call.waiting.line import Need, Seen, Waiter, WaitingLine
from gateway.core.errors import HELD_CODE, NoRoom, Refused
from gateway.guards.policies import WAIT_MAX_S
from gateway.guards.rates import refusal_for_rate
from orgs.core.frozen import frozen

WAITING_MAX: Final = 1_000
OF_KEY_MAX: Final = 100
# How often balances are read for other processes' settlements; while none helps, up to so many
# times more rarely.
LOOK_EVERY_S: Final = 0.25
RARER_MAX: Final = 4
BALANCES: Final = "balances"
# Settlements within this time share a look.
LOOK_AT_MOST_EVERY_S: Final = 0.02

ReadBalances = Callable[
    [Mapping[UUID, Sequence[Limit]], Mapping[UUID, Sequence[RateLimit]]],
    Awaitable[Mapping[UUID, LiveBalances]],
]
# Of an organization that is gone: the ledger refuses its calls.
_GONE: Final = LiveBalances(config_version=0, is_enabled=False, balances={})

logger = logging.getLogger("pulse.gateway")


async def read_balances(
    reads: SharedReads,
    limits: Mapping[UUID, Sequence[Limit]],
    rates: Mapping[UUID, Sequence[RateLimit]],
) -> Mapping[UUID, LiveBalances]:
    """Return the balances of limits and the states of rates by organization, as they were read
    after this call.
    """
    function = partial(live_balances, limits, rates)
    return await reads.read(BALANCES, function, suffices=lambda _: False)


@frozen
class WaitingNow:
    """How many calls wait in a process, and since when, in seconds, the first of them."""

    count: int
    longest_s: float


class WaitingRoom:
    """The waiting calls of one process, by organization; `read` returns their balances.

    At most `waiting_max` calls wait, of them `of_key_max` of one key or person, and none longer
    than `wait_max_s`. Every `look_every_s` it looks for room that other processes have made.
    """

    def __init__(
        self,
        read: ReadBalances,
        *,
        waiting_max: int = WAITING_MAX,
        of_key_max: int = OF_KEY_MAX,
        wait_max_s: float = WAIT_MAX_S,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._read = read
        self.waiting_max = waiting_max
        self.of_key_max = of_key_max
        self.wait_max_s = wait_max_s
        self.look_every_s = look_every_s
        self._lines: dict[UUID, WaitingLine] = {}
        self._repeats: dict[str, Waiter] = {}
        self._due: set[UUID] = set()
        self._is_due = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def has_waiting(self, org_id: UUID) -> bool:
        """Whether calls of an organization wait."""
        return org_id in self._lines

    def in_front_of(self, org_id: UUID, scopes: Iterable[str]) -> Mapping[str, Balance | None]:
        """Return those limits in which a new call would be behind others, by scope.

        The balances are those seen last; None of a rate.
        """
        line = self._lines.get(org_id)
        return {} if line is None else line.in_front_of(scopes)

    def repeated(self, waiter: Waiter, repeat: Repeat | None) -> Repeated | None:
        """Return the other waiting request that has this Idempotency-Key, if there is one."""
        first = self._repeats.get(repeat.key_hash) if repeat else None
        if repeat is None or first is None or first is waiter or first.repeat is None:
            return None
        same_body = first.repeat.body_hash == repeat.body_hash
        return Repeated(
            request_id=first.request_id, same_body=same_body, running=True, cost_nanoeur=None
        )

    async def wait(
        self,
        waiter: Waiter,
        need: Need,
        stream: CallStream,
        *,
        seen: Seen,
        repeat: Repeat | None,
    ) -> None:
        """Wait until it is the call's turn, or its time is over: then it `is_over`.

        `seen` is what it has seen of its limits. If its client leaves, the process stops, too many
        wait, or those before it take all that its rates have meanwhile, that is its `refusal`.
        """
        now_s, is_new = time.monotonic(), waiter.since_s is None
        left_s = min(need.wait_s, self.wait_max_s) - (now_s - (waiter.since_s or now_s))
        waiter.is_over = left_s <= 0
        if waiter.is_over or not self._joins(waiter, now_s, repeat):
            return
        line = self._lines[waiter.org_id]
        line.see(seen, now_s=now_s)
        line.put(waiter, need)
        if is_new and (over := line.too_late(waiter, need, now_s=now_s)) is not None:
            self.leave(waiter)
            waiter.over, waiter.refusal = over, refusal_for_rate(over)
            return
        waiter.waited_for |= need.kept_out_by
        waiter.turn = asyncio.get_running_loop().create_future()
        stream.on_cut = waiter.wake
        if stream.is_cut():
            waiter.wake()
        await asyncio.wait([waiter.turn], timeout=left_s)
        stream.on_cut = None
        waiter.is_over, waiter.turn = not waiter.turn.done(), None
        waiter.refusal = stream.unsent()

    def leave(self, waiter: Waiter) -> None:
        """Let the call go, which is admitted or refused; one that never waited has no place."""
        line = self._lines.get(waiter.org_id)
        if waiter.since_s is None or line is None:
            return
        line.remove(waiter)
        waiter.waited_s, waiter.since_s = time.monotonic() - waiter.since_s, None
        if waiter.repeat is not None:
            del self._repeats[waiter.repeat.key_hash]
        if not len(line):
            del self._lines[waiter.org_id]
        self._look_at(waiter.org_id)

    def settled(self, org_id: UUID) -> None:
        """Look for room: a call of the organization has ended."""
        if org_id in self._lines:
            self._look_at(org_id)

    def waiting_now(self, org_id: UUID) -> WaitingNow | None:
        """Return what waits here of an organization, or None. Safe to call from any thread."""
        line = self._lines.get(org_id)
        since_s = [waiter.since_s for waiter, _ in line if waiter.since_s] if line else []
        if not since_s:
            return None
        return WaitingNow(count=len(since_s), longest_s=time.monotonic() - min(since_s))

    def _joins(self, waiter: Waiter, now_s: float, repeat: Repeat | None) -> bool:
        """Whether the call has a place in its line now; without one it is checked again."""
        if waiter.since_s is not None:
            return True
        if self.repeated(waiter, repeat) is not None:
            return False
        line = self._lines.get(waiter.org_id) or WaitingLine()
        # An organization gets no more places than it leaves free: never all of them.
        left = self.waiting_max - sum(map(len, self._lines.values()))
        if line.count_of(waiter.key) >= self.of_key_max or len(line) >= left:
            sentence = "Too many requests wait for calls in flight; retry the request"
            waiter.refusal = NoRoom(HELD_CODE, sentence, is_held=True, retry_after_s=1)
            return False
        self._lines[waiter.org_id] = line
        waiter.since_s, waiter.repeat = now_s, repeat
        if repeat is not None:
            self._repeats[repeat.key_hash] = waiter
        self._look_at(waiter.org_id)
        return True

    # --- looking ------------------------------------------------------------------------------

    def _look_at(self, org_id: UUID) -> None:
        self._due.add(org_id)
        self._is_due.set()
        if self._watching is None and self._lines:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """Look for room while calls wait: where it is due, and in every line now and then."""
        look_every_s, look_at_s = self.look_every_s, 0.0
        while self._lines:
            now_s = time.monotonic()
            is_for_all = now_s >= look_at_s
            due = self._lines.keys() if is_for_all else self._due & self._lines.keys()
            self._due = set()
            self._is_due.clear()
            found = await self._look([*due])
            if is_for_all:
                rarer_s = min(2 * look_every_s, RARER_MAX * self.look_every_s)
                look_every_s = self.look_every_s if found else rarer_s
                look_at_s = now_s + look_every_s
            look_at_s = min([look_at_s, *(line.ready_at_s for line in self._lines.values())])
            await asyncio.sleep(LOOK_AT_MOST_EVERY_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, look_at_s - time.monotonic())):
                    await self._is_due.wait()
        self._watching = None

    async def _look(self, org_ids: Collection[UUID]) -> bool:
        """Read the balances of some lines and give turns. Return whether it was anyone's."""
        try:
            lines = {org_id: self._lines[org_id] for org_id in org_ids}
            limits = {org_id: line.limits() for org_id, line in lines.items()}
            rates = {org_id: line.rate_limits() for org_id, line in lines.items()}
            live = await self._read(limits, rates) if lines else {}
            now_s = time.monotonic()
            turns = [
                waiter
                for org_id in org_ids
                if (line := self._lines.get(org_id)) is not None
                for waiter in line.turns(live.get(org_id, _GONE), now_s=now_s)
            ]
        except Refused:  # the database is away, as each call will hear when its time is over
            return False
        except Exception:  # a bug: the next look may succeed, and each call's time will end
            logger.exception("balances could not be read for calls that wait")
            return False
        for waiter in turns:
            waiter.wake()
        return bool(turns)
