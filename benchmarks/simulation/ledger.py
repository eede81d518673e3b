"""The ledger of the simulation, in memory: it decides as the product's does on its database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from benchmarks.simulation.prices import DAY
from costs.core.admission import (
    Admitted,
    Balance,
    InsufficientRoom,
    Limit,
    ReserveRequest,
    ReserveResult,
    place_without_room,
    room_of,
)
from costs.core.rate_limits import RateLimit
from costs.ledger.balances import LiveBalances

VERSION: Final = 1
NEVER_ENDS: Final = DAY + timedelta(days=2)


@dataclass(slots=True)
class MemoryLedger:
    """Charges and holds by scope in place of a database: RESERVE decides as the ledger does.

    `seconds` is the clock. `held_max_nanoeur` is the most that was held; `passed_nanoeur` is by how
    much a limit was passed at most.
    """

    seconds: Callable[[], float]
    limits: dict[str, int] = field(default_factory=dict)
    charged: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    held_now_nanoeur: int = 0
    held_max_nanoeur: int = 0
    passed_nanoeur: int = 0
    _held_nanoeur_s: float = 0.0
    _first_at_s: float | None = None
    _last_at_s: float = 0.0

    @property
    def held_mean_nanoeur(self) -> int:
        """What was held on average, from the first hold to the end of the last one."""
        return int(self._held_nanoeur_s / (self._last_at_s - (self._first_at_s or 0.0)))

    def balance(self, limit: Limit) -> Balance:
        """Return the balance of a limit now."""
        return Balance(
            limit_nanoeur=limit.limit_nanoeur,
            charged_nanoeur=self.charged[limit.scope],
            held_nanoeur=self.held[limit.scope],
            ends_at=NEVER_ENDS,
        )

    async def reserve(self, request: ReserveRequest) -> ReserveResult:
        """Hold the amount in all limits, or in none."""
        amount_nanoeur = request.amount_nanoeur or 0
        now = DAY + timedelta(seconds=self.seconds())
        before = tuple(map(self.balance, request.limits))
        full = place_without_room(before, amount_nanoeur)
        if full is not None:
            return InsufficientRoom(
                now=now,
                limit=request.limits[full],
                balance=before[full],
                before=before,
                is_held=not before[full].is_too_full_for(amount_nanoeur),
            )
        self._hold(request.limits, amount_nanoeur)
        return Admitted(now=now, before=before, period_ids=())

    def room(self, limits: Sequence[Limit]) -> int:
        """Return what the tightest of the limits leaves."""
        return room_of([self.balance(limit) for limit in limits])

    def grow(self, limits: Sequence[Limit], more_nanoeur: int) -> bool:
        """Hold more for a call that has a hold, if all limits have room for it."""
        if more_nanoeur > self.room(limits):
            return False
        self._hold(limits, more_nanoeur)
        return True

    def settle(self, limits: Sequence[Limit], held_nanoeur: int, cost_nanoeur: int) -> None:
        """Charge the cost and end the hold."""
        self._hold(limits, -held_nanoeur)
        for limit in limits:
            self.charged[limit.scope] += cost_nanoeur
            self._check(limit)

    async def read(
        self,
        limits: Mapping[UUID, Sequence[Limit]],
        rates: Mapping[UUID, Sequence[RateLimit]],
    ) -> Mapping[UUID, LiveBalances]:
        """Return balances as the waiting room reads them."""
        return {
            org_id: LiveBalances(
                config_version=VERSION,
                is_enabled=True,
                balances={limit.scope: self.balance(limit) for limit in of_org},
            )
            for org_id, of_org in limits.items()
        }

    def _hold(self, limits: Sequence[Limit], change_nanoeur: int) -> None:
        now_s = self.seconds()
        if self._first_at_s is None:
            self._first_at_s = now_s
        self._held_nanoeur_s += self.held_now_nanoeur * (now_s - self._last_at_s)
        self._last_at_s = now_s
        self.held_now_nanoeur += change_nanoeur
        self.held_max_nanoeur = max(self.held_max_nanoeur, self.held_now_nanoeur)
        for limit in limits:
            self.held[limit.scope] += change_nanoeur
            self._check(limit)

    def _check(self, limit: Limit) -> None:
        if limit.limit_nanoeur is not None:
            self.limits[limit.scope] = limit.limit_nanoeur
            used = self.charged[limit.scope] + self.held[limit.scope]
            self.passed_nanoeur = max(self.passed_nanoeur, used - limit.limit_nanoeur)
