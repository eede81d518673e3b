"""What one connection remembers: the last response of each lane, with all that led to it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.body_budget import (
    CONVERSATIONS_OF_CALLER_MAX_BYTES,
    CONVERSATIONS_OF_ORGANIZATION_MAX_BYTES,
    BodyBudget,
    shares_of,
)
from gateway.core.calls import Principal


@dataclass(frozen=True, slots=True)
class Remembered:
    """A response and its conversation: input and output items as JSON, joined by commas."""

    response_id: str
    items: bytes


class Conversations:
    """The conversations of one connection, counted in the budget until they are forgotten."""

    def __init__(self, budget: BodyBudget, principal: Principal) -> None:
        self._budget = budget
        self._shares = shares_of(
            principal,
            organization=CONVERSATIONS_OF_ORGANIZATION_MAX_BYTES,
            caller=CONVERSATIONS_OF_CALLER_MAX_BYTES,
        )
        self._kept: dict[str | None, Remembered] = {}

    def items_of(self, response_id: str) -> bytes | None:
        """Return the conversation up to a response, or None if it is not remembered."""
        found = (kept.items for kept in self._kept.values() if kept.response_id == response_id)
        return next(found, None)

    def keep(self, lane: str | None, response_id: str, items: bytes) -> None:
        """Remember a response in place of its lane's last one; without room only forget that."""
        self._forget(lane)
        if self._budget.take(len(items), self._shares):
            self._kept[lane] = Remembered(response_id, items)

    def forget_all(self) -> None:
        """Forget everything, since the connection ends."""
        for lane in [*self._kept]:
            self._forget(lane)

    def _forget(self, lane: str | None) -> None:
        if (kept := self._kept.pop(lane, None)) is not None:
            self._budget.give_back(len(kept.items), self._shares)
