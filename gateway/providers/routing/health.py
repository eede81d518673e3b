"""The state of each provider, as this process sees it: its breaker, its calls in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from gateway.core.calls import Completion
from gateway.core.errors import ProviderFailed
from gateway.providers.routing.breaker import Breaker, CallOutcome, outcome_of
from orgs.core.frozen import frozen

# Rows come and go while a process runs; those that were called longest ago are forgotten.
PROVIDERS_MAX: Final = 1_000


@frozen
class HealthReport:
    """A provider as this process sees it."""

    in_flight: int
    answered_s_ago: float | None
    opens_in_s: float | None  # None while it is closed; 0 if it is being tried


@dataclass(slots=True)
class ProviderHealth:
    """The state of one provider. `in_flight` are this process's calls."""

    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    answered_at_s: float | None = None

    def record(self, ended: Completion | ProviderFailed, *, began_s: float, now_s: float) -> None:
        """Record how a call ended."""
        outcome = outcome_of(ended)
        failure = ended if isinstance(ended, ProviderFailed) else None
        self.breaker.record(
            outcome,
            began_s=began_s,
            now_s=now_s,
            retry_after_s=failure.retry_after_s if failure else None,
        )
        if outcome is CallOutcome.ANSWERED:
            self.answered_at_s = now_s

    def report(self, *, now_s: float) -> HealthReport:
        """Return its state."""
        until_s, answered_at_s = self.breaker.open_until_s, self.answered_at_s
        return HealthReport(
            in_flight=self.in_flight,
            answered_s_ago=None if answered_at_s is None else now_s - answered_at_s,
            opens_in_s=None if until_s is None else max(0.0, until_s - now_s),
        )


class Health:
    """The health of all providers, by name. Used on the call loop alone.

    A request has a place at the provider that it calls, from the choice to the call's end.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_name: dict[str, ProviderHealth] = {}
        # By request: where it is, and whether it tries a half-open provider.
        self._places: dict[UUID, tuple[ProviderHealth, bool]] = {}

    def failing_until_s(self, name: str) -> float | None:
        """Return until when calls should go elsewhere first, in monotonic seconds; None if not."""
        found = self._by_name.get(name)
        if found is None or not found.breaker.is_failing(now_s=self._clock()):
            return None
        return found.breaker.open_until_s

    def enter(self, name: str, request_id: UUID, *, most: int | None = None) -> bool:
        """Give a request a place, instead of the one that it has; return False without any left.

        It tries a half-open provider if no other does. The provider has at most `most` calls of
        this process at once.
        """
        self.leave(request_id)
        health = self._of(name)
        if most is not None and health.in_flight >= most:
            return False
        health.in_flight += 1
        self._places[request_id] = health, health.breaker.tries(now_s=self._clock())
        return True

    def leave(self, request_id: UUID) -> None:
        """Let another request have the place of this one, if it has any."""
        health, is_try = self._places.pop(request_id, (None, False))
        if health is None:
            return
        health.in_flight -= 1
        if is_try:
            health.breaker.tried()

    def record(self, name: str, ended: Completion | ProviderFailed, *, took_s: float) -> None:
        """Record how a call ended that took so long."""
        now_s = self._clock()
        self._of(name).record(ended, began_s=now_s - took_s, now_s=now_s)

    def reports(self, names: Iterable[str]) -> dict[str, HealthReport]:
        """Return the state of each of these providers."""
        now_s, unseen = self._clock(), ProviderHealth()
        return {name: self._by_name.get(name, unseen).report(now_s=now_s) for name in names}

    def _of(self, name: str) -> ProviderHealth:
        health = self._by_name.pop(name, None) or ProviderHealth()
        self._by_name[name] = health  # at the end: it was called last
        if len(self._by_name) > PROVIDERS_MAX:
            del self._by_name[next(iter(self._by_name))]
        return health
