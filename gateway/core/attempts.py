"""Which model is asked next when a provider refused: an alias's models in order, with retries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from gateway.core.errors import NeverSent, NotConfigured, ProviderFailed, Unreachable

RETRIES_MAX: Final = 5
MODELS_MAX: Final = 10
# What all waits of one request may take together: a client waits for its answer meanwhile.
WAIT_MAX_S: Final = 20.0
BACKOFF_FIRST_S: Final = 0.25
# A request that is wrong stays wrong elsewhere.
_WRONG_ANYWHERE: Final = frozenset({400, 409, 411, 413, 415, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """An organization's own name for models, tried in order. `retries` are for each of them."""

    name: str
    models: tuple[str, ...]
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Ask the model at `place`, after a wait."""

    place: int
    wait_s: float = 0.0


@dataclass(slots=True)
class Trail:
    """The attempts of one request so far. `failed` is what its audit row says of them."""

    place: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
    failure: ProviderFailed | None = None
    _tries: int = 1
    _waited_s: float = 0.0

    def take(self, step: Step, failure: ProviderFailed, attempt: dict[str, Any]) -> None:
        """Note how an attempt ended, and that the next one is at `step`."""
        self.failed.append(attempt)
        self.failure = failure
        self._tries = self._tries + 1 if step.place == self.place else 1
        self._waited_s += step.wait_s
        self.place = step.place

    def next_step(self, failure: ProviderFailed | None, alias: Alias | None) -> Step | None:
        """Return what may be tried after `failure`, or None: nothing was billed for it so far.

        A refusal that may pass (429, 5xx, no connection) is tried again after the provider's
        Retry-After or a growing wait, `retries` times; then, and after any refusal that is not
        the request's own fault, the next model is asked.
        """
        if alias is None or failure is None or not may_be_tried_elsewhere(failure):
            return None
        if may_pass(failure) and self._tries <= alias.retries:
            backoff_s = BACKOFF_FIRST_S * 2 ** (self._tries - 1)
            wait_s = backoff_s if failure.retry_after_s is None else float(failure.retry_after_s)
            if self._waited_s + wait_s <= WAIT_MAX_S:
                return Step(self.place, wait_s)
        if self.place + 1 < len(alias.models):
            return Step(self.place + 1)
        return None


def may_be_tried_elsewhere(failure: ProviderFailed) -> bool:
    """Whether another model might answer: nothing was billed, and the request is not to blame."""
    if not failure.nothing_billed or isinstance(failure, NeverSent):
        return False
    return failure.provider_status not in _WRONG_ANYWHERE


def may_pass(failure: ProviderFailed) -> bool:
    """Whether the same model might answer a moment later."""
    if isinstance(failure, NotConfigured):
        return False
    status = failure.provider_status
    return isinstance(failure, Unreachable) or status == 429 or (status or 0) >= 500
