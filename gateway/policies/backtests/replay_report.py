"""The report of a replay: sums, the people and apps affected most, a few examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final
from uuid import UUID

from gateway.core.errors import Refused
from gateway.policies.backtests.replay import PastRequest
from orgs.core.spelling import folded

EXAMPLES_MAX: Final = 5
# People and apps that are counted one by one; a caller can name any number of them.
NAMES_MAX: Final = 10_000
NAMES_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A request that the policy would have refused."""

    request_id: UUID
    occurred_at: datetime
    model: str
    code: str
    sentence: str
    cost_nanoeur: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A person or an app and what the policy would have refused of theirs."""

    value: str
    requests: int
    nanoeur: int


@dataclass(slots=True, kw_only=True)
class DayOutcome:
    """One replayed day. `spent` is what the let-through requests of that day cost in fact."""

    on: date
    requests: int = 0
    refused: int = 0
    spent_nanoeur: int = 0
    not_spent_nanoeur: int = 0


@dataclass(slots=True)
class _Hits:
    """Counts by name, in the spelling of the first request and in bounded memory."""

    requests: Counter[str] = field(default_factory=Counter)
    nanoeur: Counter[str] = field(default_factory=Counter)
    spellings: dict[str, str] = field(default_factory=dict)

    def add(self, value: str | None, nanoeur: int) -> None:
        if not value:
            return
        name = folded(value)
        if name in self.spellings or len(self.spellings) < NAMES_MAX:
            value = self.spellings.setdefault(name, value)
            self.requests[value] += 1
            self.nanoeur[value] += nanoeur

    def top(self) -> tuple[Hit, ...]:
        most = self.requests.most_common(NAMES_SHOWN)
        return tuple(
            Hit(value=value, requests=count, nanoeur=self.nanoeur[value]) for value, count in most
        )


@dataclass(slots=True, kw_only=True)
class Backtest:
    """What the policy would have done. `days` has the newest first; without `is_complete` the
    time was over before all days were replayed, and the oldest are missing. A policy that
    `names_calls` was judged on those alone."""

    asked_days: int
    names_calls: bool = False
    days: list[DayOutcome] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    is_complete: bool = True
    took_s: float = 0.0
    _users: _Hits = field(default_factory=_Hits)
    _apps: _Hits = field(default_factory=_Hits)

    @property
    def requests(self) -> int:
        """How many let-through requests were judged."""
        return sum(day.requests for day in self.days)

    @property
    def refused(self) -> int:
        """How many of them the policy would have refused."""
        return sum(day.refused for day in self.days)

    @property
    def spent_nanoeur(self) -> int:
        """Cost of all evaluated requests."""
        return sum(day.spent_nanoeur for day in self.days)

    @property
    def not_spent_nanoeur(self) -> int:
        """Cost of the refused requests: what would have been saved."""
        return sum(day.not_spent_nanoeur for day in self.days)

    @property
    def user_count(self) -> int:
        """How many people were hit, NAMES_MAX at most."""
        return len(self._users.requests)

    @property
    def app_count(self) -> int:
        """How many apps were hit, NAMES_MAX at most."""
        return len(self._apps.requests)

    @property
    def users(self) -> tuple[Hit, ...]:
        """The people hit most."""
        return self._users.top()

    @property
    def apps(self) -> tuple[Hit, ...]:
        """The apps hit most."""
        return self._apps.top()

    def refuse(self, past: PastRequest, refusal: Refused, *, request_id: UUID) -> None:
        """Count a request that the policy would have refused."""
        day = self.days[-1]
        day.refused += 1
        day.not_spent_nanoeur += past.cost_nanoeur
        self.codes[refusal.code] += 1
        self._users.add(past.dimensions.user_id, past.cost_nanoeur)
        self._apps.add(past.dimensions.app_id, past.cost_nanoeur)
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(
                Example(
                    request_id=request_id,
                    occurred_at=past.occurred_at,
                    model=past.named,
                    code=refusal.code,
                    sentence=refusal.message,
                    cost_nanoeur=past.cost_nanoeur,
                )
            )
