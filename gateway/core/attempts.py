"""Choose the next attempt after a failure: an alias's models in order, with retries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.core.errors import (
    ConversationLocked,
    CredentialsRefused,
    NeverSent,
    NotConfigured,
    ProviderFailed,
    Unreachable,
)

RETRIES_MAX: Final = 5
MODELS_MAX: Final = 10
# With the rows of each model: checking one takes a millisecond.
ROWS_MAX: Final = 20
# All waits of one request together: its client is waiting for the answer meanwhile.
WAIT_MAX_S: Final = 20.0
BACKOFF_FIRST_S: Final = 0.25
# The request itself is invalid, for any provider.
_WRONG_ANYWHERE: Final = frozenset({400, 409, 411, 413, 415, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """An organization's own name for models, tried in order. `retries` are for each of them.

    For one request, each model stands once for each provider that shares its calls, as one without
    an alias does: of the first model those are the first `first_rows`. The rest of its
    `conversation` goes where it is answered.
    """

    name: str
    models: tuple[str, ...]
    retries: int = 0
    first_rows: int = 1
    conversation: str | None = None


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """Call the model at `place`, after a wait."""

    place: int
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PastAttempts:
    """The attempts of one request before the current one, as its audit row stores them.

    `own` is the attempt that the row itself describes at that time, `earlier` came before it, and
    `passed` are the models skipped since.
    """

    earlier: tuple[Mapping[str, Any], ...] = ()
    own: Mapping[str, Any] | None = None
    passed: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_nothing_held(self) -> bool:
        """Whether no attempt was made, so that there is no row yet."""
        return self.own is None

    def behind(self, *, a_new_attempt: bool) -> tuple[Mapping[str, Any], ...]:
        """Return all attempts but the one the row itself describes: a new one, else still `own`."""
        own = (self.own,) if self.own is not None and a_new_attempt else ()
        return (*self.earlier, *own, *self.passed)

    def passing(self, *models: Mapping[str, Any]) -> PastAttempts:
        """Return the past with these models skipped."""
        return replace(self, passed=(*self.passed, *models)) if models else self


NOTHING_TRIED: Final = PastAttempts()


@dataclass(slots=True)
class Trail:
    """The progress of one request. It keeps the alias by which it was first admitted.

    Its models are checked against what is in force at each attempt; only their order is kept.
    """

    started_s: float = 0.0
    alias: Alias | None = None
    place: int = 0
    past: PastAttempts = NOTHING_TRIED
    failure: ProviderFailed | None = None
    _tries: int = 1
    _waited_s: float = 0.0

    def admit(self, alias: Alias | None, place: int, past: PastAttempts) -> None:
        """Record that the model at `place` may be called."""
        if place != self.place:
            self._tries = 1
        self.alias, self.place, self.past = alias, place, past

    def take(self, step: NextAttempt, failure: ProviderFailed, attempt: Mapping[str, Any]) -> None:
        """Record how the attempt ended, and that the next one is at `step`."""
        self.past = PastAttempts(earlier=self.past.behind(a_new_attempt=True), own=attempt)
        self.failure = failure
        self._tries = self._tries + 1 if step.place == self.place else 1
        self._waited_s += step.wait_s
        self.place = step.place

    def pass_over(self, attempt: Mapping[str, Any]) -> bool:
        """Skip a fallback for which there is no room; return False if there is no other."""
        if self.alias is None or self.failure is None or self.place + 1 >= len(self.alias.models):
            return False
        self.past = self.past.passing(attempt)
        self.place, self._tries = self.place + 1, 1
        return True

    def next_step(self, failure: ProviderFailed | None) -> NextAttempt | None:
        """Return the next attempt after `failure`, or None. Nothing was billed so far.

        A transient failure (429, 5xx, no connection) is retried after the provider's Retry-After
        or with exponential backoff, `retries` times; then, and after any failure that the request
        did not cause, the next model is called.
        """
        alias = self.alias
        if alias is None or failure is None or not may_be_tried_elsewhere(failure):
            return None
        if may_pass(failure) and self._tries <= alias.retries:
            backoff_s = BACKOFF_FIRST_S * 2 ** (self._tries - 1)
            wait_s = backoff_s if failure.retry_after_s is None else float(failure.retry_after_s)
            if self._waited_s + wait_s <= WAIT_MAX_S:
                return NextAttempt(self.place, wait_s)
        if self.place + 1 < len(alias.models):
            return NextAttempt(self.place + 1)
        return None


def may_be_tried_elsewhere(failure: ProviderFailed) -> bool:
    """Whether another model might answer: nothing was billed, and the request is not the cause."""
    if not failure.nothing_billed or isinstance(failure, NeverSent | ConversationLocked):
        return False
    # Google answers an invalid key with 400.
    is_of_key = isinstance(failure, CredentialsRefused)
    return is_of_key or failure.provider_status not in _WRONG_ANYWHERE


def may_pass(failure: ProviderFailed) -> bool:
    """Whether the same model might answer a moment later."""
    if isinstance(failure, NotConfigured):
        return False
    status = failure.provider_status
    return isinstance(failure, Unreachable) or status == 429 or (status or 0) >= 500
