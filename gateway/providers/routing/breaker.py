"""A circuit breaker: it shows when a provider fails, so that calls go elsewhere first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.core.attempts import may_pass
from gateway.core.calls import Completion
from gateway.core.errors import (
    Broken,
    CredentialsRefused,
    FailedAnswer,
    GatewayError,
    ProviderFailed,
    TimedOut,
)

# A provider that works fails now and then; five failures without an answer between them are an
# outage. Envoy's default, too:
# https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
FAILURES_MAX: Final = 5
# Most outages are shorter than a minute. A probe costs one client a second attempt, no more.
OPEN_FIRST_S: Final = 5.0
# So that a provider that works again is used again soon, also if it asked for a longer time:
# vendors answer a spent quota with a Retry-After of a day.
OPEN_MAX_S: Final = 300.0


class CallOutcome(Enum):
    """What the end of a call shows of its provider."""

    ANSWERED = "answered"  # also with an error that the request caused
    FAILED = "failed"
    NOTHING = "nothing"


def outcome_of(ended: Completion | ProviderFailed) -> CallOutcome:
    """Return what the end of a call shows of its provider.

    Its own failures are no connection, no answer in time, a broken answer, 5xx, 429, and that it
    refuses our key. Other 4xx are about the request. A client that disconnects, and a call that was
    not sent, show nothing.
    """
    if isinstance(ended, Completion | FailedAnswer):
        return CallOutcome.ANSWERED
    if isinstance(ended, TimedOut | Broken | CredentialsRefused) or may_pass(ended):
        return CallOutcome.FAILED
    return CallOutcome.NOTHING if ended.provider_status is None else CallOutcome.ANSWERED


def fails_provider(failure: GatewayError | None) -> bool:
    """Whether an error is the provider's own failure."""
    return isinstance(failure, ProviderFailed) and outcome_of(failure) is CallOutcome.FAILED


@dataclass(slots=True)
class Breaker:
    """Closed while its provider answers, open for a time after failures, then half-open: one call
    at a time tries it, whose end closes it or opens it again for twice as long.

    It refuses no call: it says whether one should go elsewhere first. `open_until_s` is None while
    it is closed. All times are monotonic seconds.
    """

    open_until_s: float | None = None
    _failures: int = 0  # in a row, while it is closed
    _next_open_s: float = OPEN_FIRST_S
    _is_tried: bool = False
    _changed_s: float = -math.inf

    def is_failing(self, *, now_s: float) -> bool:
        """Whether calls should go elsewhere first: it is open, or half-open and being tried."""
        return self.open_until_s is not None and (self._is_tried or now_s < self.open_until_s)

    def tries(self, *, now_s: float) -> bool:
        """Let one call try a half-open provider until `tried`; return False if this is not it."""
        if self.open_until_s is None or self.is_failing(now_s=now_s):
            return False
        self._is_tried = True
        return True

    def tried(self) -> None:
        """Let another call try the provider: the one that did has ended, or was not sent."""
        self._is_tried = False

    def record(
        self,
        outcome: CallOutcome,
        *,
        began_s: float,
        now_s: float,
        retry_after_s: float | None = None,
    ) -> None:
        """Record how a call ended that began at `began_s`.

        It is open for `retry_after_s` if the provider asked for it. Calls that began before the
        last change show nothing of the provider since then.
        """
        is_open = self.open_until_s is not None and began_s < self.open_until_s
        if outcome is CallOutcome.FAILED and retry_after_s is not None:
            self._open(min(retry_after_s, OPEN_MAX_S), now_s=now_s)
        elif outcome is CallOutcome.NOTHING or began_s < self._changed_s:
            return
        elif outcome is CallOutcome.ANSWERED:
            self._close(now_s=now_s)
        elif not is_open:
            self._failures += 1
            if self.open_until_s is not None or self._failures >= FAILURES_MAX:
                self._open(self._next_open_s, now_s=now_s)
                self._next_open_s = min(2 * self._next_open_s, OPEN_MAX_S)

    def _open(self, for_s: float, *, now_s: float) -> None:
        self.open_until_s = max(now_s + for_s, self.open_until_s or -math.inf)
        self._failures, self._changed_s = 0, now_s

    def _close(self, *, now_s: float) -> None:
        self._failures, self._next_open_s = 0, OPEN_FIRST_S
        if self.open_until_s is not None:
            self.open_until_s, self._changed_s = None, now_s
